"""One attempt at a trial: take it up where it was left, note each epoch, judge it, and end it.

Who trains it, alone or together with others, hands the epochs in. While the database is away the training goes on; past
the patience, what was not written is kept on this machine.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import replace

from optuna.trial import FrozenTrial
from sqlalchemy.exc import SQLAlchemyError

from caviar.epoch import Epoch
from caviar.models.training import Interrupted, Training
from caviar.storage.errors import CheckpointUnreachable
from caviar.storage.records import Lease
from caviar.storage.unsent import Unsent
from caviar.studies.search.pruners import make_pruner
from caviar.studies.workers.context import WorkerContext
from caviar.studies.workers.heartbeat import Heartbeat
from caviar.studies.workers.outbox import Outbox
from caviar.studies.workers.trial.checkpoints import Keeper
from caviar.studies.workers.trial.decision import Next, Verdict, after_epoch
from caviar.studies.workers.trial.ending import TrialEnd
from caviar.studies.workers.trial.resumption import Kept, load_checkpoint, resume
from caviar.studies.workers.trial.training_errors import training_code

_RETRY_SECONDS = 1.0  # between two tries to reach a checkpoint's file


class TrialRun:
    """A trial for as long as its lease is held.

    A kind of trial with rules of its own, such as a day of a panda, overrides `resume`, `is_over`, `reason_to_stop`,
    `record`, `next_training` and `end`, and nothing else; it may use `context`, `lease`, `trial` and `training`.

    Args:
        lease: which names the trial.
        trial: as Optuna has it, with a curve that this object may extend.
        heartbeat: which renews the lease.
        outbox: of all trials of the worker.
    """

    def __init__(
        self, context: WorkerContext, lease: Lease, trial: FrozenTrial, heartbeat: Heartbeat, outbox: Outbox
    ) -> None:
        self.lease = lease
        self.trial = trial
        self.context = context
        self._heartbeat = heartbeat
        self._outbox = outbox
        self._keeper = Keeper(context, lease, outbox)
        self._end = TrialEnd(context, lease, trial)
        self._training: Training | None = None
        self._sound = True

    @property
    def training(self) -> Training:
        assert self._training is not None, "the trial is not open"
        return self._training

    def open(self, *, begun: bool) -> bool:
        """Take the trial up where it was left, by whomever; False where no epoch is left to be trained.

        Args:
            begun: whether there may be an epoch already.

        Raises:
            TrainingRaised: the model or its training did.
            Interrupted: this worker is to stop, and the trial's checkpoint cannot be read now.
            CheckpointUnreachable: the patience with its place is over.
            DatabaseAway: the patience is over.
        """
        context, number = self.context, self.lease.slot.number
        unsent = context.unsent.find(number) if begun else None
        if unsent is not None and not follows(unsent, self.lease.epoch):
            unsent = None
        kept = Kept(unsent.state) if unsent is not None else self._load() if begun else Kept()
        training, refused = self.resume(kept)
        if refused:
            context.note("checkpoint refused", self.lease, reason=refused)
        curve = self.trial.intermediate_values
        self.trial.intermediate_values = {e: value for e, value in curve.items() if e <= training.epoch}
        self._training = training
        if unsent is not None and not refused:
            self._send_kept(unsent, training)
        context.unsent.forget(number)
        return not self.is_over(training.epoch)

    def resume(self, kept: Kept) -> tuple[Training, str | None]:
        """Return the training as it goes on from a checkpoint, and why the checkpoint was refused, if it was.

        Args:
            kept: the trial's own state; empty for a trial that begins.

        Raises:
            TrainingRaised: the model or its training did.
        """
        context, values = self.context, self.context.study.trained(self.trial.params)
        with training_code():
            return resume(context.study, self.lease.slot.number, values, context.data, kept)

    def is_over(self, epoch: int) -> bool:
        """Return True if `epoch` was the last one of this trial."""
        return epoch >= self.context.study.epochs

    def open_again(self) -> bool:
        """Go back to the last checkpoint, or to the beginning: an epoch was left in its middle.

        Raises:
            As `open` does.
        """
        self.drop()
        self._outbox.forget(self.lease)
        self.lease = replace(self.lease, epoch=max([self.lease.epoch, *self.trial.intermediate_values]))
        return self.open(begun=True)

    def drop(self) -> None:
        """An epoch was left in its middle: nothing of the state may be kept. Before anything else that can fail."""
        self._training = None

    def leave_epoch(self) -> None:
        """An epoch was left in its middle: the state is of no use, and the next worker goes on from the checkpoint.

        Raises:
            LeaseLost: another worker has the slot.
            DatabaseAway: the patience is over.
        """
        self.drop()
        self._heartbeat.check(self.lease)
        self._outbox.send()
        self.context.release(self.lease)

    def take(self, result: Epoch) -> None:
        """Take an epoch that was trained, to be written."""
        self._sound = math.isfinite(result.training_loss) and math.isfinite(result.validation_loss)
        self.record(result)

    def record(self, epoch: Epoch) -> None:
        """Add an epoch to the trial's curve and to what is sent to the database."""
        value = epoch.value(self.context.study.metric)
        if math.isfinite(value):
            self.trial.intermediate_values[epoch.epoch] = value
        self._outbox.add(self.lease, epoch, value)

    def judge(self, result: Epoch, beside: Sequence[FrozenTrial]) -> Verdict:
        """Say what comes after an epoch that was taken.

        Args:
            beside: the trials that the same worker trains, with their curves.

        Raises:
            LeaseLost: another worker has the slot.
        """
        self._heartbeat.check(self.lease)
        again = result.epoch < self.lease.epoch  # trained once more after its worker died: that it goes on is decided
        return after_epoch(
            epoch=result.epoch,
            last=result.epoch if self.is_over(result.epoch) else result.epoch + 1,
            losses=(result.training_loss, result.validation_loss),
            bad_curve=None if again else self.reason_to_stop(beside),
            asked=self._outbox.asked(self.lease),
            stop_asked=self.context.stop.asked,
        )

    def reason_to_stop(self, beside: Sequence[FrozenTrial]) -> str | None:
        """Return why the pruner would stop this trial now; None if it would not."""
        beside = [trial for trial in beside if trial is not self.trial]
        try:
            return make_pruner(self.context.study.pruner).reason_to_stop(
                self.context.history.complete, self.trial, beside
            )
        except SQLAlchemyError as error:  # the curves of others could not be read
            self.context.outage.note(error)
            return None

    def go_on(self) -> None:
        """Keep the state of a trial that goes on, now and then."""
        self._keeper.after_epoch(self.training)
        self._training = self.next_training(self.training)

    def next_training(self, training: Training) -> Training:
        """Return what trains the next epoch: `training` itself, or one with other settings."""
        return training

    def finish(self, verdict: Verdict) -> None:
        """End the trial, or leave it to the next worker, once everything of it is written.

        Raises:
            LeaseLost: another worker has the slot; nothing was written.
            DatabaseAway: the patience is over.
        """
        self._outbox.send()
        self._outbox.asked(self.lease)
        if verdict.next is Next.GIVE_BACK:
            self._keeper.give_back(self.training)
        else:
            self.end(verdict)

    def end(self, verdict: Verdict) -> None:
        """Write how the trial ended. All of its epochs are written."""
        self._end.finish(verdict, self.training)

    def fail(self, error: Exception) -> None:
        """End a trial whose training code raised.

        Raises:
            LeaseLost: another worker has the slot; nothing was written.
            DatabaseAway: the patience is over.
        """
        self.drop()
        self._outbox.send()
        self._outbox.asked(self.lease)
        self._end.fail(error)

    def keep_here(self) -> bool:
        """Keep on this machine what the database could not be told; False where there is nothing to keep.

        Raises:
            OSError: no file can be written.
        """
        if self._training is not None and self._training.epoch:
            self._keeper.snapshot(self._training, sound=self._sound)
        return self._keeper.keep_here()

    def _load(self) -> Kept:
        """Read the trial's checkpoint; a place of files that cannot be reached now is waited for, as the database is.

        Raises:
            CheckpointUnreachable: the patience is over.
            Interrupted: this worker is to stop.
        """
        context = self.context
        until = time.monotonic() + context.order.patience
        while True:
            try:
                return context.outage.insist(lambda: load_checkpoint(context.checkpoints, self.lease.slot.number))
            except CheckpointUnreachable as error:
                context.note("checkpoint out of reach", self.lease, reason=str(error))
                if time.monotonic() > until:
                    raise
                self._heartbeat.check(self.lease)
                if context.stop.asked or self._heartbeat.asked.control != "run":
                    raise Interrupted from error
                time.sleep(_RETRY_SECONDS)

    def _send_kept(self, unsent: Unsent, training: Training) -> None:
        self._keeper.found(unsent)
        for epoch in unsent.waiting:
            self.record(epoch)
        self._outbox.send()
        self._outbox.asked(self.lease)
        self.context.note("went on from this machine's own state", self.lease, epoch=unsent.epoch)
        self._keeper.save(training)


def follows(unsent: Unsent, written: int) -> bool:
    """Say whether a kept state, with its epochs, goes on where the database's epochs end."""
    first = unsent.waiting[0].epoch if unsent.waiting else unsent.epoch + 1
    return unsent.epoch >= written and first <= written + 1
