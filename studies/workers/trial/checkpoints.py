"""Save the state of a trial that is not over: in the database, or on this machine while the database is away."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import replace
from typing import Any

from sqlalchemy.exc import SQLAlchemyError

from caviar.models.checkpoint import to_bytes
from caviar.storage.checkpoints import Staged
from caviar.storage.errors import CheckpointNotWritten
from caviar.storage.states import EventKind
from caviar.storage.unsent import Unsent
from caviar.studies.workers.context import WorkerContext
from caviar.studies.workers.lease import HeldLease
from caviar.studies.workers.outbox import Outbox
from caviar.studies.workers.trial.failures import TrainingRaised, describe, training_code
from caviar.studies.workers.trial.training import TrialTraining

_CHECKPOINT_SECONDS = 10.0  # between two checkpoints of a trial that goes on


def stage(context: WorkerContext, held: HeldLease, training: TrialTraining) -> Staged | None:
    """Make a training's state ready to be saved; return None where it has none, or, with an event, where that is not
    possible.

    Raises:
        TrainingRaised: the training's own code did, which says what its state is.
    """
    try:
        state = _state(context, training)
        return None if state is None else context.checkpoints.stage(held.lease, training.epoch, to_bytes(state))
    except CheckpointNotWritten as error:
        context.record_event(EventKind.CHECKPOINT_NOT_WRITTEN, held.lease, reason=str(error))
        return None


def _state(context: WorkerContext, training: TrialTraining) -> dict[str, Any] | None:
    try:
        with training_code(context.pulse):
            return training.state()
    except TrainingRaised as raised:
        if isinstance(raised.error, CheckpointNotWritten):  # the folder of a command has something else than files, say
            raise raised.error from None
        raise


def save_on_this_machine(trials: Iterable[tuple[int, Callable[[], bool]]]) -> list[str]:
    """Save on this machine what the database does not have of several trials; return sentences about it.

    `trials` has their numbers with functions that save one, and return False if there was nothing to save.
    """
    saved, sentences = [], []
    for number, save in trials:
        try:
            if save():
                saved.append(str(number))
        except OSError as error:
            sentences.append(f"trial {number} goes on from its last checkpoint, since no file can be written ({error})")
        except TrainingRaised as raised:
            reason = describe(raised.error)["error"]
            sentences.append(f"trial {number} goes on from its last checkpoint, since it has no state ({reason})")
    if saved:
        which = f"trial{'s' if len(saved) > 1 else ''} {', '.join(saved)}"
        sentences.append(f"what was not written of {which} is kept on this machine")
    return sentences


class CheckpointKeeper:
    """Saves the state of one trial now and then; what waits in the outbox belongs to a state on this machine."""

    def __init__(self, context: WorkerContext, held: HeldLease, outbox: Outbox) -> None:
        self._context = context
        self._held = held
        self._outbox = outbox
        self._saved_at = time.monotonic()
        self._unsent: Unsent | None = None  # the last state that may be saved on this machine

    def adopt(self, unsent: Unsent) -> None:
        """Take a state that this machine has from before, until the database has it."""
        self._unsent = unsent

    def after_epoch(self, training: TrialTraining) -> None:
        """Save the state of a trial that goes on, if the last checkpoint is old."""
        unwritten = self._outbox.unwritten(self._held)
        if not unwritten:
            self._unsent = None  # the database has all of it
        if time.monotonic() - self._saved_at < _CHECKPOINT_SECONDS:
            return
        if unwritten:
            self.snapshot(training)
        else:
            self.save(training)
        self._saved_at = time.monotonic()

    def snapshot(self, training: TrialTraining, *, diverged: bool = False) -> None:
        """Copy the state in case the outage lasts. A trial that diverged has none: it is better trained again."""
        epochs, state = self._outbox.unwritten(self._held), None
        with suppress(CheckpointNotWritten):  # the event of which the database would not get now
            state = None if diverged else _state(self._context, training)
        self._unsent = None if state is None else Unsent(training.epoch, epochs, to_bytes(state))

    def save(self, training: TrialTraining) -> None:
        """Replace the trial's checkpoint, if the database is there."""
        staged = stage(self._context, self._held, training)
        try:
            if staged is not None:
                self._context.checkpoints.save(self._held.lease, staged)
        except SQLAlchemyError as error:
            self._context.outage.failed(error)

    def give_back(self, training: TrialTraining) -> None:
        """Give the trial back for the next worker, with its state."""
        staged = stage(self._context, self._held, training)
        if staged is None:
            self._context.release(self._held.lease)
        else:
            self._context.outage.insist(lambda: self._context.checkpoints.save(self._held.lease, staged, release=True))

    def save_on_this_machine(self, nudges: tuple[int, ...]) -> bool:
        """Save what the database does not have on this machine; return False if there is nothing to save.

        Args:
            nudges: the ids of those that have taken effect in the trial, if it is a panda's day.

        Raises:
            OSError: no file can be written.
        """
        if self._unsent is None:
            return False
        self._context.unsent.keep(self._held.number, replace(self._unsent, nudges=nudges))
        return True
