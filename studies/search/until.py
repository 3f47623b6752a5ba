"""The rule by which a search ends: with its budget, or before, when more trials are expected to bring too little."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from caviar.studies.errors import DefinitionError
from caviar.text import quoted

if TYPE_CHECKING:  # which loads numpy
    from caviar.studies.search.prospect import Prospect

BUDGET = "budget"  # the rule of a search that trains all of its trials
_RULE = re.compile(r"gain ?< ?(noise|[0-9]{0,12}\.?[0-9]{1,12}(?:e-?[0-9]{1,2})?)")
_ALLOWED = "until must be 'budget', 'gain < noise', or 'gain < NUMBER' with a number in the metric's unit above 0"


def check_until(rule: str) -> None:
    """Check a rule.

    Raises:
        DefinitionError: it is neither `budget`, nor `gain < noise`, nor `gain < NUMBER`.
    """
    if rule != BUDGET:
        _limit(rule)


def is_reached(rule: str, prospect: Prospect) -> bool:
    """Return whether even the upper end of what more trials are expected to bring is below the rule's limit."""
    if rule == BUDGET:
        return False
    limit = _limit(rule)
    return prospect.is_noise if limit is None else prospect.high < limit


def _limit(rule: str) -> float | None:
    """Return the number of a rule; None for the noise."""
    found = _RULE.fullmatch(rule.strip())
    if found is None or (found[1] != "noise" and float(found[1]) <= 0):
        raise DefinitionError(f"{_ALLOWED}; given {quoted(rule)}")
    return None if found[1] == "noise" else float(found[1])
