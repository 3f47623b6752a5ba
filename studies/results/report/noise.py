"""How much the value of one configuration varies from training to training, by the best evidence that a study has.

Trainings of one configuration with other seeds show it. Where there are none, two things bound it from below: how much
the curves of good trials vary at their ends, and that a validation set is a sample of all examples.
"""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from caviar.models.data_sets import DATA_SETS

_TOP = 5  # trials whose curves are looked at
_LAST = 4  # epochs of them
_FREEDOM = 4  # degrees, for a standard deviation that means something: of two trainings it may be anything


@dataclass(frozen=True)
class Noise:
    """The standard deviation of one training's value, above 0, and what shows it."""

    deviation: float
    source: str


def noise_of(facts: dict[str, Any], best: Sequence[dict[str, Any]]) -> Noise | None:
    """Return the noise of a study's values; None where nothing shows it.

    Args:
        facts: of caviar.studies.results.report.facts.
        best: the complete, sound trials, the best one first.
    """
    confirmed = facts["winner"]["confirmation"]
    if confirmed and (found := _pooled([confirmed["winner_values"], confirmed["runner_up_values"]])):
        return Noise(found, "as fresh trainings of the best two show")
    if found := _pooled(_repeated(best)):
        return Noise(found, "as configurations that were trained more than once show")
    at_least = {
        "as the last epochs of the best trials show": _of_epochs(best[:_TOP]),
        f"as {_validation(facts) or 0:,} validation examples alone make it": _of_sample(facts, best),
    }
    source, deviation = max(at_least.items(), key=lambda item: item[1])
    return Noise(deviation, source) if deviation > 0 else None


def _pooled(groups: Iterable[Sequence[float]]) -> float:
    """Return the standard deviation within groups; 0 where they are too few."""
    several = [group for group in groups if len(group) > 1]
    freedom = sum(len(group) - 1 for group in several)
    squares = sum(statistics.variance(group) * (len(group) - 1) for group in several)
    return math.sqrt(squares / freedom) if freedom >= _FREEDOM else 0.0


def _repeated(trials: Iterable[dict[str, Any]]) -> Iterable[list[float]]:
    values: dict[tuple[tuple[str, Any], ...], list[float]] = defaultdict(list)
    for t in trials:
        values[tuple(sorted(t["hyperparameters"].items()))].append(t["value"])
    return values.values()


def _of_epochs(trials: Iterable[dict[str, Any]]) -> float:
    ends = [[value for _, value in t["curve"][-_LAST:] if value is not None] for t in trials]
    spreads = [statistics.stdev(end) for end in ends if len(end) >= 3]
    return statistics.median(spreads) if spreads else 0.0


def _of_sample(facts: dict[str, Any], best: Sequence[dict[str, Any]]) -> float:
    """Return the binomial error of the best accuracy; 0 for a loss, or where the number of examples is not known.

    Of no wrong example one half is taken: that there is none among a few does not make it certain.
    """
    examples = _validation(facts)
    if examples is None or facts["study"]["metric"] != "accuracy":
        return 0.0
    least = 0.5 / examples
    rate = min(max(best[0]["value"], least), 1 - least)
    return math.sqrt(rate * (1 - rate) / examples)


def _validation(facts: dict[str, Any]) -> int | None:
    """Return the number of validation examples; None for a data set that this machine does not know."""
    known = DATA_SETS.get(facts["study"]["data"])
    return known.validation if known else None
