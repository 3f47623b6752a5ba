"""One attempt at a trial: take it up where it was left, train it epoch by epoch, write each epoch, and end it.

While the database is away the training goes on; past the patience, what was not written is kept on this machine.
"""

from __future__ import annotations

import math
import time
from concurrent.futures import Executor

from optuna.trial import FrozenTrial
from sqlalchemy.exc import SQLAlchemyError

from models.training import EpochResult, Interrupted, Training
from storage.errors import CheckpointUnreachable, DatabaseAway
from storage.records import Asked, EpochRecord, Lease
from storage.unsent import Unsent
from studies.heartbeat import Heartbeat
from studies.keeping import Keeper
from studies.outbox import Outbox
from studies.pruning import reason_to_stop
from studies.resumption import Kept, load_checkpoint, resume
from studies.trial_code import TrainingRaised, training_code
from studies.trial_end import TrialEnd
from studies.worker_context import WorkerContext
from studies.worker_state import Next, Verdict, after_epoch

_RETRY_SECONDS = 1.0  # between two tries to reach a checkpoint's file


class TrialRun:
    """Trains one trial for as long as its lease is held.

    Args:
        trial: as Optuna has it, with a curve that this object may extend.
        heartbeat: of the lease.
        sender: the thread in which epochs are written.
    """

    def __init__(
        self, context: WorkerContext, lease: Lease, trial: FrozenTrial, heartbeat: Heartbeat, sender: Executor
    ) -> None:
        self._context = context
        self._lease = lease
        self._trial = trial
        self._heartbeat = heartbeat
        self._outbox = Outbox(context, lease, sender)
        self._keeper = Keeper(context, lease, self._outbox)
        self._end = TrialEnd(context, lease, trial)

    def run(self) -> None:
        """Train until the trial ends, or until its slot is to be given back.

        Raises:
            LeaseLost: another worker has the slot.
            DatabaseAway: the patience is over; what was not written is kept on this machine.
        """
        try:
            self._train()
        except TrainingRaised as raised:
            self._outbox.send()
            self._end.fail(raised.error)
        except DatabaseAway as error:
            if self._keeper.keep_here():
                told = f"{error}; what was not written of trial {self._lease.slot.number} is kept on this machine"
                raise DatabaseAway(told) from error
            raise

    def _train(self) -> None:
        try:
            training = self._resume()
            verdict = self._iterate(training)
        except Interrupted:  # the state is of no use: the next worker goes on from the checkpoint before
            self._heartbeat.check()
            self._outbox.send()
            self._context.release(self._lease)
            return
        self._keeper.snapshot(training, sound=verdict.next is not Next.DIVERGE)
        self._outbox.send()
        if verdict.next is Next.GIVE_BACK:
            self._keeper.give_back(training)
        else:
            self._end.finish(verdict, training)

    def _resume(self) -> Training:
        """Return the trial's training, where it was left, by whomever."""
        context, number = self._context, self._lease.slot.number
        begun = self._lease.trial_id is not None
        unsent = context.unsent.find(number) if begun else None
        if unsent is not None and _follows(unsent, self._lease.epoch):
            kept = Kept(unsent.state)
        elif begun:
            unsent, kept = None, self._load()
        else:
            kept = Kept()
        values = context.study.trained(self._trial.params)
        with training_code():
            training, refused = resume(context.study, number, values, context.data, kept)
        if refused:
            context.note("checkpoint refused", self._lease, reason=refused)
        curve = self._trial.intermediate_values
        self._trial.intermediate_values = {e: value for e, value in curve.items() if e <= training.epoch}
        if unsent is not None and not refused:
            self._send_kept(unsent, training)
        context.unsent.forget(number)
        return training

    def _load(self) -> Kept:
        """Read the trial's checkpoint; a place of files that cannot be reached now is waited for, as the database is.

        Raises:
            CheckpointUnreachable: the patience is over.
            Interrupted: this worker is to stop.
        """
        context = self._context
        until = time.monotonic() + context.order.patience
        while True:
            try:
                return context.outage.insist(lambda: load_checkpoint(context.checkpoints, self._lease.slot.number))
            except CheckpointUnreachable as error:
                context.note("checkpoint out of reach", self._lease, reason=str(error))
                if time.monotonic() > until:
                    raise
                self._heartbeat.check()
                if context.stop.asked or self._heartbeat.asked.control != "run":
                    raise Interrupted from error
                time.sleep(_RETRY_SECONDS)

    def _send_kept(self, unsent: Unsent, training: Training) -> None:
        self._keeper.found(unsent)
        for epoch in unsent.waiting:
            self._outbox.add(epoch, self._take(epoch))
        self._outbox.send()
        self._context.note("went on from this machine's own state", self._lease, epoch=unsent.epoch)
        self._keeper.save(training)

    def _iterate(self, training: Training) -> Verdict:
        """Train until something ends it.

        Raises:
            Interrupted: that is in the middle of an epoch.
        """
        last = self._context.study.epochs
        with training_code():
            epochs = training.epochs(last, self._leave)
        while training.epoch < last:
            with training_code():
                result = next(epochs)
            self._heartbeat.check()
            try:
                verdict = self._record(result)
            except DatabaseAway:
                self._keeper.snapshot(training, sound=_is_sound(result))
                raise
            if verdict.next is not Next.GO_ON:
                return verdict
            self._keeper.after_epoch(training)
        return Verdict(Next.COMPLETE, "finished")  # its last epoch was trained, and not written, before

    def _leave(self) -> bool:
        """Say, between two batches, whether to leave the epoch where it is."""
        asked = self._heartbeat.asked
        at_once = asked.at_once and asked.control != "run"
        return self._context.stop.overdue or self._heartbeat.error is not None or at_once

    def _record(self, result: EpochResult) -> Verdict:
        study = self._context.study
        epoch = EpochRecord(**vars(result))
        self._outbox.add(epoch, self._take(epoch))
        asked = self._outbox.try_to_send()
        if asked is not None:
            self._see_others()
        again = result.epoch < self._lease.epoch  # trained once more after its worker died: that it goes on is decided
        return after_epoch(
            epoch=result.epoch,
            last=study.epochs,
            losses=(result.training_loss, result.validation_loss),
            bad_curve=None if again else self._reason_to_stop(),
            asked=asked or Asked(),
            stop_asked=self._context.stop.asked,
        )

    def _reason_to_stop(self) -> str | None:
        if self._context.study.pruner == "none":
            return None  # without reading any curves
        try:
            others = self._context.history.complete()
        except SQLAlchemyError as error:
            self._context.outage.note(error)
            return None
        return reason_to_stop(self._context.study, others, self._trial)

    def _take(self, epoch: EpochRecord) -> float:
        """Add an epoch to the trial's curve, and return its value."""
        value = epoch.accuracy if self._context.study.metric == "accuracy" else epoch.validation_loss
        if math.isfinite(value):
            self._trial.intermediate_values[epoch.epoch] = value
        return value

    def _see_others(self) -> None:
        try:
            self._context.history.refresh()
        except SQLAlchemyError as error:
            self._context.outage.note(error)


def _is_sound(result: EpochResult) -> bool:
    return math.isfinite(result.training_loss) and math.isfinite(result.validation_loss)


def _follows(unsent: Unsent, written: int) -> bool:
    """Say whether a kept state, with its epochs, goes on where the database's epochs end."""
    first = unsent.waiting[0].epoch if unsent.waiting else unsent.epoch + 1
    return unsent.epoch >= written and first <= written + 1
