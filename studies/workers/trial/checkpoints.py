"""Keeps the state of a trial that is not over: in the database, or on this machine while that is away."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from sqlalchemy.exc import SQLAlchemyError

from caviar.models.checkpoint import to_bytes
from caviar.models.training import Training
from caviar.storage.checkpoints import Staged
from caviar.storage.errors import CheckpointNotWritten
from caviar.storage.records import Lease
from caviar.storage.unsent import Unsent
from caviar.studies.workers.context import WorkerContext
from caviar.studies.workers.outbox import Outbox

_CHECKPOINT_SECONDS = 10.0  # between two checkpoints of a trial that goes on


def stage(context: WorkerContext, lease: Lease, training: Training) -> Staged | None:
    """Make a training's state ready to be kept; None, and an event, where that is not possible."""
    try:
        return context.checkpoints.stage(lease, training.epoch, to_bytes(training.state()))
    except CheckpointNotWritten as error:
        context.note("checkpoint not written", lease, reason=str(error))
        return None


def keep_here(trials: Mapping[int, Callable[[], bool]]) -> list[str]:
    """Keep on this machine what the database does not have of several trials; return what is to be said of it.

    Args:
        trials: by number, what keeps one of them, and says whether there was something to keep.
    """
    kept, told = [], []
    for number, keep in trials.items():
        try:
            if keep():
                kept.append(str(number))
        except OSError as error:
            told.append(f"trial {number} goes on from its last checkpoint, since no file can be written ({error})")
    if kept:
        which = f"trial{'s' if len(kept) > 1 else ''} {', '.join(kept)}"
        told.append(f"what was not written of {which} is kept on this machine")
    return told


class Keeper:
    """Keeps the state of one trial.

    Args:
        outbox: what waits in it of this trial is not in the database, and belongs to a state on this machine.
    """

    def __init__(self, context: WorkerContext, lease: Lease, outbox: Outbox) -> None:
        self._context = context
        self._lease = lease
        self._outbox = outbox
        self._kept = time.monotonic()
        self._clean: Unsent | None = None  # the last state that may be kept on this machine

    def found(self, unsent: Unsent) -> None:
        """Take the state that this machine has from before, until the database has it."""
        self._clean = unsent

    def after_epoch(self, training: Training) -> None:
        """Keep the state of a trial that goes on, if the last one is old."""
        waiting = self._outbox.waiting(self._lease)
        if not waiting:
            self._clean = None  # the database has all of it
        if time.monotonic() - self._kept < _CHECKPOINT_SECONDS:
            return
        if waiting:
            self.snapshot(training, sound=True)
        else:
            self.save(training)
        self._kept = time.monotonic()

    def snapshot(self, training: Training, *, sound: bool) -> None:
        """Remember the state, in case that the database stays away; not of a trial that diverged, which is better
        trained again."""
        state = Unsent(training.epoch, self._outbox.waiting(self._lease), to_bytes(training.state())) if sound else None
        self._clean = state

    def save(self, training: Training) -> None:
        """Replace the trial's checkpoint, if the database is there."""
        staged = stage(self._context, self._lease, training)
        try:
            if staged is not None:
                self._context.checkpoints.save(self._lease, staged)
        except SQLAlchemyError as error:
            self._context.outage.note(error)

    def give_back(self, training: Training) -> None:
        """Leave the trial to whoever comes, with its state.

        Raises:
            DatabaseAway: the patience is over.
        """
        staged = stage(self._context, self._lease, training)
        if staged is None:
            self._context.release(self._lease)
        else:
            self._context.outage.insist(lambda: self._context.checkpoints.save(self._lease, staged, release=True))

    def keep_here(self) -> bool:
        """Keep on this machine what the database could not be told; False where there is nothing to keep.

        Raises:
            OSError: no file can be written.
        """
        if self._clean is None:
            return False
        self._context.unsent.keep(self._lease.slot.number, self._clean)
        return True
