"""Pruners: when a trial with a bad learning curve is stopped early.

A new pruner is a subclass of `Pruner` with its name in `PRUNERS`. Optuna is imported when a pruner is used, not before.
"""

from __future__ import annotations

import math
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING

from caviar.studies.errors import DefinitionError
from caviar.suggestions import did_you_mean

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial

    Complete = Callable[[int], optuna.Study]

# Trials that a curve is compared with, at most. The median of 1,000 is that of all, within 2 % of the ranks.
_COMPARED = 1000
_WARM_UP = 3  # epochs that every trial gets
_SLOWER = 2  # times as slow as the best trial
_SURE = 2  # running trials that must be better, if the best is one of them
_FIRST_TRIALS = 5  # complete before the median stops any
# Those of Optuna's pruners that decide from the curves of the running trial and of the complete ones. The others keep
# notes on all trials of a study, which workers do not write, or wrap another pruner.
_OPTUNAS = ("MedianPruner", "PercentilePruner", "ThresholdPruner", "WilcoxonPruner")
_ARGUMENT = r"(\w+)=([-.\de]+)"  # a number by name


class Pruner(ABC):
    """Decides after each epoch whether a trial is stopped.

    A pruner keeps nothing between two calls, and changes none of the trials that it is given: other workers decide
    about other trials of the same study, and a trial may continue on another machine.
    """

    @abstractmethod
    def reason_to_stop(self, complete: Complete, trial: FrozenTrial, running: Sequence[FrozenTrial]) -> str | None:
        """Return why a trial should stop after the last epoch of its curve, or None if it should go on.

        Args:
            complete: returns the study of the best complete trial and of at most as many others as it is called with,
                evenly spread over time, all with their curves. A call may read from the database: a pruner that can
                decide without does not call it.
            trial: the running trial; its intermediate values are the curve so far, 1 is the first epoch.
            running: other trials on the same worker, with their curves so far.
        """


class NoPruner(Pruner):
    """Stops no trial."""

    def reason_to_stop(self, complete: Complete, trial: FrozenTrial, running: Sequence[FrozenTrial]) -> None:  # noqa: ARG002
        return None


class PacePruner(Pruner):
    """Stops a trial that learns at less than half the pace of the best one, complete or running on the same worker.

    Its best value so far is below what that trial had after half as many epochs; nothing is stopped in the first three.
    It compares with the best, so the many good trials at the end of a search are not measured against one another; in
    time, so it needs no idea of how values spread; and with running trials, since the first ones of a search would
    otherwise all be trained to their ends. One of those may yet diverge: if only running trials are better, there must
    be two of them.
    """

    def reason_to_stop(self, complete: Complete, trial: FrozenTrial, running: Sequence[FrozenTrial]) -> str | None:
        epoch = _epoch(trial)
        if epoch <= _WARM_UP:
            return None
        study = complete(0)
        sign = 1 if study.direction.name == "MAXIMIZE" else -1

        def best_until(curve: Mapping[int, float], last: float) -> float:
            return max((sign * value for at, value in curve.items() if at <= last), default=-math.inf)

        def standing(other: FrozenTrial) -> float:
            return best_until(other.intermediate_values, math.inf) if other.value is None else sign * other.value

        early = math.ceil(epoch / _SLOWER)
        others = [other for other in (*_sound(study), *running) if other.intermediate_values]
        best = max(others, key=standing, default=None)
        own = best_until(trial.intermediate_values, epoch)
        # A curve that is worse again sets no pace by what it was.
        if best is None or own >= min(best_until(best.intermediate_values, early), standing(best)):
            return None
        if best.value is None and sum(standing(other) > own for other in others) < _SURE:
            return None
        return f"at epoch {epoch} not yet where trial {best.number}, the best, was at epoch {early}"


class OptunaPruner(Pruner):
    """One of Optuna's pruners, with its own rules for the first trials and epochs."""

    def __init__(self, pruner: optuna.pruners.BasePruner, reason: str) -> None:
        self._pruner, self._reason = pruner, reason

    def reason_to_stop(self, complete: Complete, trial: FrozenTrial, running: Sequence[FrozenTrial]) -> str | None:  # noqa: ARG002
        if not trial.intermediate_values or not self._pruner.prune(complete(_COMPARED), trial):
            return None
        return f"{self._reason} at epoch {_epoch(trial)}"


class MedianPruner(OptunaPruner):
    """Stops a trial whose best value is worse than the median of the complete ones at that epoch, as Optuna does.

    Nothing is stopped in the first three epochs, or before five trials are complete. It saves more epochs than
    `PacePruner`, and stops half of the good trials at the end of a search.
    """

    def __init__(self) -> None:
        from optuna.pruners import MedianPruner as Median

        super().__init__(Median(n_startup_trials=_FIRST_TRIALS, n_warmup_steps=_WARM_UP + 1), "worse than the median")

    def reason_to_stop(self, complete: Complete, trial: FrozenTrial, running: Sequence[FrozenTrial]) -> str | None:
        # Optuna counts diverged trials among the first ones, too.
        if _epoch(trial) <= _WARM_UP or len(_sound(complete(_COMPARED))) < _FIRST_TRIALS:
            return None
        return super().reason_to_stop(complete, trial, running)


PRUNERS: dict[str, Callable[[], Pruner]] = {"pace": PacePruner, "median": MedianPruner, "none": NoPruner}


@cache
def make_pruner(name: str) -> Pruner:
    """Return the pruner of that name: one of `PRUNERS`, or of Optuna's by its class and keyword arguments.

    Example:
        >>> type(make_pruner("PercentilePruner(percentile=25.0, n_warmup_steps=3)")).__name__
        'OptunaPruner'

    Raises:
        DefinitionError: there is no such pruner, or it takes no such arguments.
    """
    if name in PRUNERS:
        return PRUNERS[name]()
    call = re.fullmatch(rf"(\w+)(?:\((?:{_ARGUMENT}(?:,\s*{_ARGUMENT})*,?\s*)?\))?", name)
    if call is None or call[1] not in _OPTUNAS:
        raise DefinitionError(
            f"no pruner '{name}'; {did_you_mean(call[1] if call else name, [*PRUNERS, *_OPTUNAS])}there are: "
            f"{', '.join(PRUNERS)}, and Optuna's {', '.join(_OPTUNAS)}, with arguments such as percentile=25.0"
        )
    from optuna import pruners

    try:
        arguments = {key: int(value) if value.isdigit() else float(value) for key, value in re.findall(_ARGUMENT, name)}
        return OptunaPruner(getattr(pruners, call[1])(**arguments), call[1])
    except (TypeError, ValueError) as error:
        raise DefinitionError(f"pruner {name}: {error}") from None


def check_pruner(name: str) -> None:
    """Check that there is a pruner of that name, as `make_pruner` does."""
    if name not in PRUNERS:  # Optuna takes half a second to import
        make_pruner(name)


def _epoch(trial: FrozenTrial) -> int:
    return max(trial.intermediate_values, default=0)


def _sound(study: optuna.Study) -> list[FrozenTrial]:
    """Return the complete trials with a value, that violate no constraint."""
    from caviar.storage.history import is_sound

    return [trial for trial in study.get_trials(deepcopy=False) if is_sound(trial)]
