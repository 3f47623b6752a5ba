"""What a worker drives: the training of one trial, whoever's loop it is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from enum import StrEnum
from typing import Any, Protocol

from caviar.epoch import Epoch


class Ended(StrEnum):
    """Why a trial's training goes on no more in this process."""

    COMPLETE = "complete"  # its last epoch is trained
    DIVERGED = "diverged"  # the metric, or a loss, is not finite
    PRUNED = "pruned"  # its curve is bad, or somebody ended the trial
    GIVEN_BACK = "given back"  # paused, stopped, or left to another worker, which goes on with it
    LOST = "lost"  # another worker has the trial already, or another program ended it


class Leave(Protocol):
    """Asks whether an epoch is to be left where it is."""

    def __call__(self, alive: bool = True) -> bool:
        """Return True to leave it.

        Args:
            alive: whether the training has got on since the last question; a training that does not for long hangs.
        """
        ...


@contextmanager
def ended(training: TrialTraining) -> Iterator[None]:
    """Let a training come to its end in any case: a mode that its code has set would else be that of the next one."""
    try:
        yield
    except BaseException:
        with suppress(Exception):  # the first error is the one that counts
            training.close(Ended.LOST)
        raise
    training.close(Ended.COMPLETE)


class TrialTraining(Protocol):
    """The training of a trial. `caviar.models.training.Training` is one, and what `workers.user` has are others."""

    @property
    def epoch(self) -> int:
        """The last epoch that was trained; 0 before the first."""
        ...

    def epochs(self, last: int, leave: Leave) -> Iterator[Epoch]:
        """Train up to and including epoch `last`, and yield the result of each epoch.

        It may end before: then the training has come to its end by itself, and the trial is complete.

        Args:
            leave: to be asked now and then, such as between two batches; True asks to leave the epoch unfinished.

        Raises:
            Interrupted: `leave` returned True; this training is of no further use.
        """
        ...

    def state(self) -> dict[str, Any] | None:
        """Return what the next epoch depends on; None if nothing is saved, and an interrupted trial begins again."""
        ...

    def close(self, ended: Ended) -> None:
        """Let the training come to its end: it goes on no more in this process."""
        ...
