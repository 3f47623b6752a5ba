"""One attempt at a trial: resume it from its checkpoint, record each epoch, decide what comes next, and end it.

The caller trains it, alone or in a cohort, and passes in each finished epoch. While the database is away the training
goes on; when the patience is over, what was not written is saved on this machine.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from optuna.trial import FrozenTrial
from sqlalchemy.exc import SQLAlchemyError

from caviar.epoch import Epoch
from caviar.models.training import Interrupted
from caviar.storage.curves import trained_seconds
from caviar.storage.errors import CheckpointUnreachable, DamagedCheckpoint
from caviar.storage.records import Lease
from caviar.storage.states import Control, EventKind
from caviar.storage.unsent import Unsent
from caviar.studies.search.other_programs import check_stored
from caviar.studies.search.pace import EPOCHS
from caviar.studies.search.pruners import make_pruner
from caviar.studies.workers.context import WorkerContext
from caviar.studies.workers.lease import HeldLease
from caviar.studies.workers.outbox import Outbox
from caviar.studies.workers.trial.checkpoints import CheckpointKeeper
from caviar.studies.workers.trial.decision import BY_ITSELF, Next, Verdict, after_epoch
from caviar.studies.workers.trial.ending import TrialEnd
from caviar.studies.workers.trial.failures import TrainingRaised, describe, training_code
from caviar.studies.workers.trial.resumption import LoadedCheckpoint, load_checkpoint, resume
from caviar.studies.workers.trial.time_limit import TimeLimit
from caviar.studies.workers.trial.training import Ended, TrialTraining

_ENDED = {
    Next.COMPLETE: Ended.COMPLETE, Next.DIVERGE: Ended.DIVERGED, Next.PRUNE: Ended.PRUNED,
    Next.GIVE_BACK: Ended.GIVEN_BACK,
}  # fmt: skip
_RETRY_SECONDS = 1.0  # between two tries to reach a checkpoint's file


class TrialRun:
    """An attempt at a trial, for as long as its lease is held; `trial` is a copy, whose curve it extends.

    What writes raises `LeaseLost` if another worker has the slot, and nothing is written then; what waits for the
    database raises `DatabaseAway` when the patience is over.

    A kind of trial with rules of its own, such as a day of a panda, overrides `resume`, `is_over`, `reason_to_stop`,
    `make_limit`, `take`, `record`, `next_training`, `end`, `why_unusable` and `nudges`, and nothing else; it may use
    `context`, `lease`, `trial` and `training`.

    Attributes:
        limit: how long the trial may train.
    """

    def __init__(self, context: WorkerContext, held: HeldLease, trial: FrozenTrial, outbox: Outbox) -> None:
        self.context = context
        self.held = held
        self.trial = trial
        self._outbox = outbox
        self._keeper = CheckpointKeeper(context, held, outbox)
        self._end = TrialEnd(context, held, trial)
        self._training: TrialTraining | None = None
        self._trained = held.lease.epoch  # the last epoch of the trial's curve
        self._diverged = False
        self.limit = TimeLimit(None)  # until the trial is open
        self._ended = Ended.LOST  # until it is written how the trial ended

    @property
    def lease(self) -> Lease:
        return self.held.lease

    @property
    def training(self) -> TrialTraining:
        assert self._training is not None, "the trial is not open"
        return self._training

    def open(self, *, begun: bool) -> bool:
        """Resume the trial where its last worker left it, if it was begun; return False if no epoch is left to train.

        Raises:
            TrainingRaised: the model or its training did.
            Interrupted: this worker is to stop, and the trial's checkpoint cannot be read, or its ranks still build.
            CheckpointUnreachable: the patience with its place is over.
        """
        if not (begun and self._resume_unsent()):
            training, refused = self.resume(self._load() if begun else LoadedCheckpoint())
            if refused:
                self.context.record_event(EventKind.CHECKPOINT_REFUSED, self.lease, reason=refused)
            self._take_up(training)
        self.context.unsent.forget(self.held.number)
        self.limit = self.make_limit()
        return not self.is_over(self.training.epoch)

    def _resume_unsent(self) -> bool:
        """Resume the trial from this machine's own state of it; return False if there is none that can be used.

        One that cannot be used leaves an event: it has epochs which the database will never get.
        """
        try:
            unsent = self.context.unsent.find(self.held.number)
        except DamagedCheckpoint as error:
            return self._drop_unsent(str(error))
        if unsent is None:
            return False
        why = unsent.why_unusable(self.lease.epoch) or self.why_unusable(unsent)
        if why is not None:
            return self._drop_unsent(why)
        training, refused = self.resume(LoadedCheckpoint(unsent.state))
        if refused:
            return self._drop_unsent(refused)
        self._take_up(training)
        self._send_unsent(unsent, training)
        return True

    def _drop_unsent(self, why: str) -> bool:
        self.context.record_event(EventKind.LOCAL_STATE_DROPPED, self.lease, reason=why)
        return False

    def _take_up(self, training: TrialTraining) -> None:
        curve = self.trial.intermediate_values
        self.trial.intermediate_values = {e: value for e, value in curve.items() if e <= training.epoch}
        self._training, self._trained = training, training.epoch

    def why_unusable(self, unsent: Unsent) -> str | None:  # noqa: ARG002
        """Return why this machine's own state, which goes on where the database ends, cannot be used even so."""
        return None

    @property
    def nudges(self) -> tuple[int, ...]:
        """The ids of the nudges that have taken effect in this trial, if it is a panda's day."""
        return ()

    def resume(self, checkpoint: LoadedCheckpoint) -> tuple[TrialTraining, str | None]:
        """Return the training as it goes on from a checkpoint, and why the checkpoint was refused, if it was."""
        context, params = self.context, self.trial.params
        bench = context.bench._replace(leave=partial(context.asks_to_leave, [self.held]))
        context.output.follow(self.held.number)
        with training_code(context.pulse):
            check_stored(context.study, params)
            values = context.study.trained(params)
            return resume(context.study, self.held.number, values, bench, checkpoint)

    def make_limit(self) -> TimeLimit:
        """Return how long the trial may train, and has trained."""
        context, seconds, spent = self.context, self.context.study.trial_timeout, 0.0
        if seconds is not None and self.lease.epoch:  # an interruption's lost epochs are not the trial's fault
            study_id, number, last = self.lease.study_id, self.held.number, self.training.epoch
            spent = context.outage.insist(lambda: trained_seconds(context.engine, study_id, number, last))
        # An EpochStream, which measures the epochs of a command, knows of stops.
        return TimeLimit(seconds, spent, leaves_out=context.study.command is not None)

    def is_over(self, epoch: int) -> bool:
        """Return True if `epoch` was the last one of this trial."""
        return epoch >= self.context.study.last_epoch

    def reopen(self) -> bool:
        """Go back to the last checkpoint, or to the beginning, after an epoch was left in its middle."""
        self.drop()
        self._outbox.forget(self.held)
        self.held.lease = replace(self.lease, epoch=max(self.lease.epoch, self._trained))
        return self.open(begun=True)

    def close(self) -> None:
        """Let the training come to its end, once the trial has left this worker; nothing of it counts any more."""
        training, self._training = self._training, None
        if training is None:
            return
        self.context.output.follow(self.held.number)
        try:
            with training_code(self.context.pulse):
                training.close(self._ended)
        except TrainingRaised as raised:
            reason = describe(raised.error)["error"]
            self.context.record_event(EventKind.RAISED_AFTER_END, self.lease, ended=str(self._ended), error=reason)

    def drop(self) -> None:
        """Drop the state of an epoch that was left in its middle, before anything else that can fail may save it.

        Code of the user's own that stands in it is let out: a mode that it has set, such as autocast, would be that of
        the next trial, too.
        """
        self.close()

    def leave_epoch(self) -> None:
        """Give the trial back in the middle of an epoch: the next worker goes on from the last checkpoint."""
        self.drop()
        self._outbox.send(self.held)
        self.context.release(self.lease)

    def take(self, result: Epoch) -> None:
        """Take an epoch that was trained, to be written."""
        self._diverged = not result.is_finite(self.context.study.metric)
        self.record(replace(result, seconds=self.limit.add(result.seconds)))

    def record(self, epoch: Epoch) -> None:
        """Add an epoch to the trial's curve and to what is sent to the database."""
        value = epoch.value(self.context.study.metric)
        if value is not None and math.isfinite(value):
            self.trial.intermediate_values[epoch.epoch] = value
        self._trained = epoch.epoch
        self._outbox.add(self.held, epoch, value)

    def judge(self, result: Epoch, running: Sequence[FrozenTrial]) -> Verdict:
        """Decide what comes after an epoch that was taken; the same worker trains the trials `running`, too."""
        self.held.check()
        # Trained once more after its worker died: that the trial goes on was decided the first time.
        repeated = result.epoch < self.lease.epoch
        is_judged = not repeated and result.value(self.context.study.metric) is not None
        is_last = result.is_last or self.is_over(result.epoch)
        verdict = after_epoch(
            epoch=result.epoch,
            last=result.epoch if is_last else result.epoch + 1,
            losses=result.losses(self.context.study.metric),
            bad_curve=self.reason_to_stop(running) if is_judged else None,
            asked=self.held.requested,
            stop_asked=self.context.is_leaving or not self.context.time.has_epoch(result.seconds),
            overtime=self.limit.why if self.limit.is_over else None,
        )
        return BY_ITSELF if result.is_last and verdict.next is Next.COMPLETE else verdict

    def reason_to_stop(self, running: Sequence[FrozenTrial]) -> str | None:
        """Return why the pruner would stop this trial now; None if it would not."""
        running = [trial for trial in running if trial is not self.trial]
        try:
            study = self.context.study
            pruner = make_pruner(study.pruner, study.epochs, study.scales().get(EPOCHS))
            return pruner.reason_to_stop(self.context.history, self.trial, running)
        except SQLAlchemyError as error:  # the curves of others could not be read
            self.context.outage.failed(error)
            return None

    def go_on(self) -> None:
        """Save the state of a trial that goes on, now and then, and get ready for its next epoch."""
        self._keeper.after_epoch(self.training)
        self._training = self.next_training(self.training)

    def next_training(self, training: TrialTraining) -> TrialTraining:
        """Return what trains the next epoch: `training` itself, or one with other settings."""
        return training

    def finish(self, verdict: Verdict) -> None:
        """End the trial, or leave it to the next worker, once everything of it is written."""
        self._outbox.send(self.held)
        if verdict.next is Next.GIVE_BACK:
            self._keeper.give_back(self.training)
        else:
            self.end(verdict)
        self._ended = _ENDED[verdict.next]

    def end(self, verdict: Verdict) -> None:
        """Write how the trial ended. All of its epochs are written."""
        self._end.finish(verdict, self.training)

    def time_out(self) -> None:
        """End a trial that has taken too long, in the middle of an epoch: with its last value, if it has one."""
        self.drop()
        self._outbox.send(self.held)
        self._end.time_out(self.limit.why, self._trained)

    def fail(self, error: Exception) -> None:
        """End a trial whose training code raised."""
        self.drop()
        self._outbox.send(self.held)
        self._end.fail(error, self._trained)

    def save_on_this_machine(self) -> bool:
        """Save on this machine what the database does not have; return False if there is nothing to save."""
        if self._training is not None and self._training.epoch:
            self._keeper.snapshot(self._training, diverged=self._diverged)
        return self._keeper.save_on_this_machine(self.nudges)

    def _load(self) -> LoadedCheckpoint:
        """Read the trial's checkpoint, and wait for a place of files that cannot be reached as for the database."""
        context = self.context
        until = time.monotonic() + context.options.patience
        while True:
            try:
                return context.outage.insist(lambda: load_checkpoint(context.checkpoints, self.held.number))
            except CheckpointUnreachable as error:
                context.record_event(EventKind.CHECKPOINT_OUT_OF_REACH, self.lease, reason=str(error))
                if time.monotonic() > until:
                    raise
                self.held.check()
                requested = self.held.requested
                if context.is_leaving or requested.leave or requested.control != Control.RUN:
                    raise Interrupted from error
                time.sleep(_RETRY_SECONDS)

    def _send_unsent(self, unsent: Unsent, training: TrialTraining) -> None:
        self._keeper.adopt(unsent)
        for epoch in unsent.waiting:
            self.record(epoch)
        self._outbox.send(self.held)
        self.context.record_event(EventKind.LOCAL_STATE_USED, self.lease, epoch=unsent.epoch)
        self._keeper.save(training)
