"""Pruners by their names: when a trial with a bad learning curve is stopped early.

A new pruner is a subclass of `Pruner` with its name in `PRUNERS`; any of Optuna's is one by its own name. Optuna is
imported when a pruner is used, not before.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import TYPE_CHECKING

from caviar.calls import parse_call
from caviar.studies.errors import DefinitionError
from caviar.studies.search.optuna_classes import PREFIX
from caviar.studies.search.optuna_pruners import MedianPruner, optuna_pruner
from caviar.studies.search.pace import PacePruner
from caviar.studies.search.pruner import PastTrials, Pruner
from caviar.suggestions import did_you_mean
from caviar.text import flaw, shown

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

    from caviar.studies.space.base import BaseScale

# What they were called before they had a prefix: studies in a database may have these names.
_WITHOUT_PREFIX = ("MedianPruner", "PercentilePruner", "ThresholdPruner", "WilcoxonPruner")


class NoPruner(Pruner):
    """Stops no trial."""

    def reason_to_stop(self, past: PastTrials, trial: FrozenTrial, running: Sequence[FrozenTrial]) -> None:  # noqa: ARG002
        return None


PRUNERS: dict[str, Callable[..., Pruner]] = {"pace": PacePruner, "median": MedianPruner, "none": NoPruner}


@cache
def make_pruner(name: str, epochs: int | None = None, lengths: BaseScale | None = None) -> Pruner:
    """Return the pruner of that name, which a study writes as it calls it: one of `PRUNERS`, or one of Optuna's.

    Example:
        >>> type(make_pruner("pace(free=10)", epochs=100)).__name__
        'PacePruner'
        >>> type(make_pruner("optuna:HyperbandPruner", epochs=27)).__name__
        'HalvingPruner'

    Args:
        name: such as `pace` or `optuna:PercentilePruner(percentile=25.0)`.
        epochs: of a trial that is not stopped early; None if nobody knows.
        lengths: the scale of the hyperparameter `epochs`, if the study searches it.

    Raises:
        DefinitionError: there is no such pruner, or it takes no such arguments.
    """
    call = None if flaw(name) else parse_call(name.removeprefix(PREFIX))
    if name.startswith(PREFIX) or (call and call.name in _WITHOUT_PREFIX):
        return optuna_pruner(name, epochs)
    if call is None or call.name not in PRUNERS:
        raise DefinitionError(
            f"no pruner '{shown(name)}'; {did_you_mean(call.name if call else name, PRUNERS)}there are: "
            f"{', '.join(PRUNERS)}, and Optuna's, such as {PREFIX}HyperbandPruner"
        )
    try:
        return PRUNERS[call.name](epochs, lengths, **call.arguments)
    except TypeError:
        raise DefinitionError(
            f"the pruner {call.name} cannot be given {', '.join(call.arguments)}; of the pruners here pace alone takes "
            f"an argument: pace(free=10) stops nothing in the first 10 epochs"
        ) from None


def check_pruner(name: str) -> None:
    """Check that there is a pruner of that name, as `make_pruner` does."""
    if name not in PRUNERS:  # Optuna takes half a second to import
        make_pruner(name)
