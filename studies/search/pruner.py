"""What a pruner is: it decides after each epoch whether a trial with a bad learning curve is stopped early."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial

    from caviar.studies.space.base import BaseScale

WARM_UP = 3  # epochs that every trial gets


class PastTrials(Protocol):
    """The trials that have ended, to compare a curve with.

    A call may read from the database: a pruner that can decide without does not make it.
    """

    def complete(self, others: int) -> optuna.Study:
        """Return the study of the best complete trial and of at most so many others, spread over time, with curves."""

    def ended(self, others: int) -> optuna.Study:
        """Return the study of at most so many complete and pruned trials, spread over time, with curves."""


class Pruner(ABC):
    """Decides after each epoch whether a trial is stopped.

    A pruner keeps nothing between two calls, and changes none of the trials that it is given: other workers decide
    about other trials of the same study, and a trial may continue on another machine.

    Args:
        epochs: of a trial that is not stopped early; None if nobody knows.
        lengths: the scale of the hyperparameter `epochs`, where a study searches one: each trial has its own.
    """

    def __init__(self, epochs: int | None = None, lengths: BaseScale | None = None) -> None:
        self.epochs = epochs
        self.lengths = lengths

    @abstractmethod
    def reason_to_stop(self, past: PastTrials, trial: FrozenTrial, running: Sequence[FrozenTrial]) -> str | None:
        """Return why a trial should stop after the last epoch of its curve, or None if it should go on.

        Args:
            past: the trials that have ended.
            trial: the running trial; its intermediate values are the curve so far, 1 is the first epoch.
            running: other trials on the same worker, with their curves so far.
        """


def last_epoch(trial: FrozenTrial) -> int:
    """Return the last epoch of a trial's curve; 0 before the first."""
    return max(trial.intermediate_values, default=0)


def sound(study: optuna.Study) -> list[FrozenTrial]:
    """Return the complete trials with a value, that violate no constraint."""
    from caviar.storage.history import is_sound

    return [trial for trial in study.get_trials(deepcopy=False) if is_sound(trial)]
