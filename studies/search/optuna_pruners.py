"""Optuna's pruners, which decide by their own rules for the first trials and epochs."""

from __future__ import annotations

import copy
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from caviar.studies.search.optuna_classes import Kind, OptunaClass, find_class
from caviar.studies.search.pruner import WARM_UP, PastTrials, Pruner, last_epoch, sound

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial

# Trials that a curve is compared with, at most. The median of 1,000 is that of all, within 2 % of the ranks.
_COMPARED = 1000
_FIRST_TRIALS = 5  # complete before the median stops any
_BY_RUNGS = ("HyperbandPruner", "SuccessiveHalvingPruner")
_AUTO = "auto"  # what an argument of theirs is that follows from the length of the trials


class OptunaPruner(Pruner):
    """One of those that decide from the curve of a trial and from those of complete ones."""

    def __init__(self, found: OptunaClass, epochs: int | None = None) -> None:
        super().__init__(epochs)
        self._class = found

    def reason_to_stop(self, past: PastTrials, trial: FrozenTrial, running: Sequence[FrozenTrial]) -> str | None:  # noqa: ARG002
        if not trial.intermediate_values or not self._class.make().prune(past.complete(_COMPARED), trial):
            return None
        return f"{self._class.name} at epoch {last_epoch(trial)}"


class MedianPruner(Pruner):
    """Stops a trial whose best value is worse than the median of the complete ones at that epoch, as Optuna does.

    Nothing is stopped in the first three epochs, or before five trials are complete. It saves more epochs than
    `PacePruner`, and stops half of the good trials at the end of a search.
    """

    def reason_to_stop(self, past: PastTrials, trial: FrozenTrial, running: Sequence[FrozenTrial]) -> str | None:  # noqa: ARG002
        epoch = last_epoch(trial)
        # Optuna counts diverged trials among the first ones, too.
        if epoch <= WARM_UP or len(sound(past.complete(_COMPARED))) < _FIRST_TRIALS:
            return None
        from optuna.pruners import MedianPruner as Median

        median = Median(n_startup_trials=_FIRST_TRIALS, n_warmup_steps=WARM_UP + 1)
        return f"worse than the median at epoch {epoch}" if median.prune(past.complete(_COMPARED), trial) else None


class HalvingPruner(Pruner):
    """Optuna's SuccessiveHalvingPruner or HyperbandPruner: a trial stops where it is none of the best at its rung.

    Both keep what each trial had at its rungs in the storage of the study. Here it is read off the curves: of the
    trials that have ended, as this worker knows them, and of those that run on it.
    """

    def __init__(self, found: OptunaClass, epochs: int | None = None) -> None:
        super().__init__(epochs)
        given = {name: value for name, value in found.arguments.items() if value != _AUTO}
        self._class = replace(found, arguments=given)

    def reason_to_stop(self, past: PastTrials, trial: FrozenTrial, running: Sequence[FrozenTrial]) -> str | None:
        from caviar.storage.history import study_of

        epoch = last_epoch(trial)
        epochs = self.epochs or max(map(last_epoch, sound(past.complete(_COMPARED))), default=0)
        if not epoch or not epochs:  # nobody knows how far a trial goes
            return None
        pruner = self._class.make(**self._schedule(epochs))
        own = _rungs(pruner, trial)
        if all(at != epoch for at, _ in own.values()):
            return None
        ended = past.ended(_COMPARED)
        others = {
            one._trial_id: _with_attributes(one, {key: value for key, (_, value) in _rungs(pruner, one).items()})
            for one in (*ended.get_trials(deepcopy=False), *running)
        }
        seen = _with_attributes(trial, {key: value for key, (at, value) in own.items() if at < epoch})
        stops = pruner.prune(study_of(others, ended.direction), seen)
        return f"{self._class.name} at epoch {epoch}" if stops else None

    def looks_at(self, epochs: int) -> bool:
        """Return whether the first rung is one of so many epochs."""
        halving = _brackets(self._class.make(**self._schedule(epochs)))[:1]
        # No number of epochs is as large as the 64th power, and a larger one may take forever to compute.
        return any(
            one._min_resource * one._reduction_factor ** min(one._min_early_stopping_rate, 64) <= epochs
            for one in halving
        )

    def _schedule(self, epochs: int) -> Mapping[str, int]:
        """Return what the pruner would find out from the first complete trials."""
        if self._class.name == "HyperbandPruner":
            return {"max_resource": epochs}
        return {"min_resource": max(epochs // 100, 1)}


def optuna_pruner(text: str, epochs: int | None) -> Pruner:
    """Return one of Optuna's pruners by its class, such as `optuna:PercentilePruner(percentile=25.0)`.

    Raises:
        DefinitionError: there is no such class, no study can have it, or it takes no such arguments.
    """
    found = find_class(text, Kind.PRUNER)
    return (HalvingPruner if found.name in _BY_RUNGS else OptunaPruner)(found, epochs)


def _rungs(pruner: Any, trial: FrozenTrial) -> dict[str, tuple[int, float]]:
    """Return the epoch and the value of a trial at each rung that it has come to, by Optuna's name of the rung."""
    from optuna.pruners import HyperbandPruner
    from optuna.pruners._successive_halving import _completed_rung_key

    brackets = _brackets(pruner)
    if not brackets:  # its longest trial is shorter than its shortest
        return {}
    pruner = brackets[pruner._get_bracket_id(_nameless(), trial) if isinstance(pruner, HyperbandPruner) else 0]
    epochs, found = sorted(trial.intermediate_values), dict[str, tuple[int, float]]()
    while True:
        rung = pruner._min_resource * pruner._reduction_factor ** (pruner._min_early_stopping_rate + len(found))
        at = bisect_left(epochs, rung)
        if at == len(epochs):
            return found
        found[_completed_rung_key(len(found))] = epochs[at], trial.intermediate_values[epochs[at]]


def _brackets(pruner: Any) -> list[Any]:
    """Return the successive halvings that a pruner consists of, the one that looks first at the beginning."""
    from optuna.pruners import HyperbandPruner

    if not isinstance(pruner, HyperbandPruner):
        return [pruner]
    if not pruner._pruners:
        pruner._try_initialization(_nameless())
    return list(pruner._pruners)


def _nameless() -> optuna.Study:
    from optuna.study import StudyDirection

    from caviar.storage.history import study_of

    return study_of({}, StudyDirection.MINIMIZE)


def _with_attributes(trial: FrozenTrial, attributes: Mapping[str, Any]) -> FrozenTrial:
    changed = copy.copy(trial)
    changed.system_attrs = dict(attributes)
    return changed
