"""One day of a panda, under a lease: from the end of the day before, or from its own checkpoint, to its own end."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from optuna.trial import FrozenTrial
from sqlalchemy.exc import SQLAlchemyError

from caviar.epoch import Epoch
from caviar.models.checkpoint import from_bytes, to_bytes
from caviar.models.training import Training, evaluate
from caviar.storage.checkpoints import CheckpointStore, Staged
from caviar.storage.definitions import load_study
from caviar.storage.errors import CheckpointNotWritten, CheckpointUnreachable
from caviar.storage.events import log_event
from caviar.storage.nudges import NudgeRecord, read_nudges, take_nudges
from caviar.storage.pandas import BIRTH, DayRecord, PandaRecord
from caviar.storage.records import Lease
from caviar.storage.status import read_curve
from caviar.studies.panda.settings import Now, settings_at
from caviar.studies.workers.context import WorkerContext
from caviar.studies.workers.heartbeat import Heartbeat
from caviar.studies.workers.outbox import Outbox
from caviar.studies.workers.trial.build import assemble
from caviar.studies.workers.trial.decision import Next, Verdict, after_epoch
from caviar.studies.workers.trial.run import TrialRun, follows
from caviar.studies.workers.trial.training_errors import training_code

Heard = Callable[[DayRecord, Epoch], None]


class DayRun(TrialRun):
    """A day for as long as its lease is held.

    Args:
        panda: how long its days are, and where its random numbers come from.
        day: the day of the lease.
        hear: is told of each epoch.
    """

    def __init__(
        self,
        context: WorkerContext,
        lease: Lease,
        trial: FrozenTrial,
        heartbeat: Heartbeat,
        outbox: Outbox,
        *,
        panda: PandaRecord,
        day: DayRecord,
        hear: Heard | None = None,
    ) -> None:
        super().__init__(context, lease, trial, heartbeat, outbox)
        self._panda = panda
        self._day = day
        self._hear = hear
        self._nudges: list[NudgeRecord] = []
        self._now = Now(day.settings, day.decay_from)
        self._seconds = 0.0  # of this day's epochs

    def open(self, *, begun: bool) -> bool:
        """Take the day up where it was left, or where the day before ended; False where nothing is left to be trained.

        Raises:
            As `TrialRun.open` does; CheckpointUnreachable also where the state of the day before is not there.
        """
        context, number = self._context, self.lease.slot.number
        unsent = context.unsent.find(number) if begun else None
        if unsent is not None and not follows(unsent, self.lease.epoch):
            unsent = None
        own = from_bytes(unsent.state, self._device) if unsent else self._own_state() if begun else None
        state = own if own is not None else self._first_state()
        at = int(state["epoch"]) if state else 0
        # What waits takes effect here too; not before an epoch that was trained without it, and is trained again.
        if at >= self.lease.epoch and self._takes_nudges():
            context.outage.insist(lambda: take_nudges(context.engine, self.lease, at))
        self._nudges = context.outage.insist(lambda: read_nudges(context.engine, self.lease.study_id, number))
        self._now = settings_at(self._day, self._nudges, at)
        with training_code():
            self._training = self._assemble(state)
            if number == BIRTH and own is None:
                self._note_birth(self._training)
        if unsent is not None:
            self._send_kept(unsent, self._training)
        context.unsent.forget(number)
        written = context.outage.insist(lambda: read_curve(context.engine, self.lease.study_id, number))
        self._seconds = sum(e.seconds for e in written if e.epoch <= at)
        curve = self.trial.intermediate_values
        self.trial.intermediate_values = {e: value for e, value in curve.items() if e <= self._training.epoch}
        return not self._is_over(at)

    def take(self, result: Epoch) -> None:
        """Take an epoch that was trained, to be written."""
        super().take(result)
        if self._hear is not None:
            self._hear(self._day, result)

    def judge(self, result: Epoch, beside: Sequence[FrozenTrial]) -> Verdict:  # noqa: ARG002
        """Say what comes after an epoch that was taken.

        Raises:
            LeaseLost: another process has the day.
        """
        self._heartbeat.check(self.lease)
        self._seconds += result.seconds
        return after_epoch(
            epoch=result.epoch,
            last=result.epoch if self._is_over(result.epoch) else result.epoch + 1,
            losses=(result.training_loss, result.validation_loss),
            bad_curve=None,
            asked=self._outbox.asked(self.lease),
            stop_asked=self._context.stop.asked,
        )

    def go_on(self) -> None:
        """Keep the state now and then, and let what was nudged take effect."""
        super().go_on()
        training, context = self.training, self._context
        if self._takes_nudges():
            try:
                if take_nudges(context.engine, self.lease, training.epoch):
                    self._nudges = read_nudges(context.engine, self.lease.study_id, self._day.number)
            except SQLAlchemyError as error:
                context.outage.note(error)  # after the next epoch
        now = settings_at(self._day, self._nudges, training.epoch)
        if now != self._now:
            self._now = now
            with training_code():
                self._training = self._assemble(training.state())

    def finish(self, verdict: Verdict) -> None:
        """End the day with its state, or leave it to whoever comes.

        Raises:
            LeaseLost: another process has the day; nothing was written.
            DatabaseAway: the patience is over.
            CheckpointUnreachable: its state cannot be kept where the next day looks for it; it is kept on this machine.
        """
        if verdict.next is Next.GIVE_BACK:
            super().finish(verdict)
            return
        self._outbox.send()
        self._outbox.asked(self.lease)
        context, training = self._context, self.training
        curve = self.trial.intermediate_values
        diverged = verdict.next is Next.DIVERGE
        value = self._end.worst() if diverged else curve.get(training.epoch)
        weights = None if diverged else self._stage(training)
        attributes = {
            "epochs": len(curve),
            "why it stopped": "the day is over" if verdict.next is Next.COMPLETE else verdict.why,
            "why": "; ".join(n.why for n in self._nudges if n.why),
            "nudges": [
                {"after epoch": n.epoch, **n.settings, **({"why": n.why} if n.why else {})} for n in self._nudges
            ],
        }
        violated = "diverged" if diverged else None
        trial_id: int = self.trial._trial_id
        context.outage.insist(
            lambda: context.log.finish(
                self.lease, trial_id, "COMPLETE", value, attributes, violated=violated, weights=weights
            )
        )
        context.checkpoints.tidy(self.lease.slot.number, weights)

    def _stage(self, training: Training) -> Staged:
        """Make the state ready to be kept. Without it nothing could build on the day, and it has not ended."""
        try:
            return self._context.checkpoints.stage(self.lease, training.epoch, to_bytes(training.state()))
        except CheckpointNotWritten as error:
            raise CheckpointUnreachable(str(error)) from error

    def _takes_nudges(self) -> bool:
        return self._day.number != BIRTH and not self._day.is_look

    def _is_over(self, epoch: int) -> bool:
        if self._day.number == BIRTH:
            return True
        epochs = self._day.epochs or self._panda.day_epochs
        if epochs is not None:
            return epoch >= self._day.begins_at + epochs
        return self._seconds >= (self._panda.day_seconds or math.inf)

    def _assemble(self, state: Any) -> Training:
        training = assemble(self._context.study, self._panda.seed_number, self._now.settings, self._context.data, state)
        training.decay_from = self._now.decay_from
        return training

    def _own_state(self) -> Any:
        kept = self._load()
        if kept.refused:
            self._context.note("checkpoint refused", self.lease, reason=kept.refused)
        return from_bytes(kept.state, self._device) if kept.state is not None else None

    def _first_state(self) -> Any:
        """Return the state at the end of the day before; of the birth, that of the trial that it comes from."""
        context = self._context
        if self._day.parent is not None:
            store, number = context.checkpoints, self._day.parent
        elif self._panda.origin is not None:
            name = self._panda.origin["study"]
            record = context.outage.insist(lambda: load_study(context.engine, name))
            store, number = CheckpointStore(context.engine, record), self._panda.origin["trial"]
        else:
            return None
        state = context.outage.insist(lambda: store.load(number))
        if state is None:
            raise CheckpointUnreachable(f"the state that day {self._day.number} begins with is not kept any more")
        return from_bytes(state, self._device)

    @property
    def _device(self) -> Any:
        return self._context.data.training.y.device

    def _note_birth(self, training: Training) -> None:
        """Write how good the model is before anything is done to it."""
        data = self._context.data
        losses = [evaluate(training.model, part) for part in (data.training, data.validation)]
        epoch = Epoch(training.epoch, losses[0][0], *losses[1], training.learning_rate(), 0.0)
        self._outbox.add(self.lease, epoch, self._note(epoch))
        context, count = self._context, len(data.validation.y)

        def write() -> None:
            with context.engine.begin() as connection:
                log_event(connection, self.lease.study_id, "born", slot=BIRTH, validation_examples=count)

        context.outage.insist(write)
