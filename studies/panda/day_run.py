"""Train one day of a panda under a lease: from the end of the day before, or from its own checkpoint, to its end."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from optuna.trial import FrozenTrial
from sqlalchemy.exc import SQLAlchemyError

from caviar.epoch import Epoch
from caviar.models.checkpoint import from_bytes, to_bytes
from caviar.models.data import Data
from caviar.models.errors import BadCheckpoint
from caviar.models.measures import LOSS, Measures
from caviar.models.training import Training, as_metrics, evaluate
from caviar.storage.checkpoints import CheckpointStore, Staged
from caviar.storage.curves import read_curve
from caviar.storage.definitions import load_study
from caviar.storage.errors import CheckpointNotWritten, CheckpointUnreachable
from caviar.storage.events import log_event
from caviar.storage.nudges import NudgeRecord, read_nudges, take_nudges
from caviar.storage.pandas import BIRTH, DayRecord, PandaRecord
from caviar.storage.states import EventKind
from caviar.storage.unsent import Unsent
from caviar.studies.errors import TrialMisused
from caviar.studies.panda.settings import EpochSettings, settings_after
from caviar.studies.way import Way
from caviar.studies.workers.context import WorkerContext
from caviar.studies.workers.lease import HeldLease
from caviar.studies.workers.outbox import Outbox
from caviar.studies.workers.trial.build import assemble, make_training
from caviar.studies.workers.trial.decision import Next, Verdict
from caviar.studies.workers.trial.ending import worst_value
from caviar.studies.workers.trial.failures import training_code
from caviar.studies.workers.trial.resumption import LoadedCheckpoint
from caviar.studies.workers.trial.run import TrialRun
from caviar.studies.workers.trial.time_limit import TimeLimit
from caviar.studies.workers.trial.training import Ended, TrialTraining
from caviar.studies.workers.user.loop_training import LoopTraining

OnEpoch = Callable[[DayRecord, Epoch], None]


class DayRun(TrialRun):
    """A day for as long as its lease is held; `panda` says how long, and where its random numbers come from."""

    def __init__(
        self,
        context: WorkerContext,
        held: HeldLease,
        trial: FrozenTrial,
        outbox: Outbox,
        *,
        panda: PandaRecord,
        day: DayRecord,
        on_epoch: OnEpoch | None = None,
    ) -> None:
        super().__init__(context, held, trial, outbox)
        self._panda = panda
        self._day = day
        self._on_epoch = on_epoch
        self._nudges: list[NudgeRecord] = []
        self._now = EpochSettings(day.settings, day.decay_from)
        self._seconds: dict[int, float] = {}  # of this day's epochs

    def resume(self, checkpoint: LoadedCheckpoint) -> tuple[TrialTraining, str | None]:
        """Return the training as the day goes on from its own state, or else from the end of the day before."""
        context, number = self.context, self._day.number
        own, refused = self._read(checkpoint)
        state = own if own is not None else self._first_state()
        at = int(state["epoch"]) if state else 0
        self._nudges = context.outage.insist(self._read_nudges)
        if self._takes_nudges(at) and context.outage.insist(lambda: self._take_nudges(at)):
            self._nudges = context.outage.insist(self._read_nudges)
        written = context.outage.insist(lambda: read_curve(context.engine, self.lease.study_id, number))
        self._seconds = {epoch.epoch: epoch.seconds for epoch in written if epoch.epoch <= at}
        self._now = settings_after(self._day, self._nudges, at)
        with training_code():
            training = self._assemble(state)
            if training.state() is None:
                training.close(Ended.LOST)
                raise TrialMisused("a panda is saved after each day: call trial.keep(net=..., optimizer=...)")
        if number == BIRTH and own is None and isinstance(training, Training):
            self._measure_birth(training)
        return training, refused

    def is_over(self, epoch: int) -> bool:
        """Return True if `epoch` was the last one of this day."""
        if self._day.number == BIRTH or epoch >= self.context.study.last_epoch:
            return True
        epochs = self._day.epochs or self._panda.day_epochs
        if epochs is not None:
            return epoch >= self._day.begins_at + epochs
        return sum(self._seconds.values()) >= (self._panda.day_seconds or math.inf)

    def make_limit(self) -> TimeLimit:
        """Return no limit: a day has a length of its own."""
        return TimeLimit(None)

    def reason_to_stop(self, running: Sequence[FrozenTrial]) -> str | None:  # noqa: ARG002
        """Return None: no pruner stops a panda."""
        return None

    def record(self, epoch: Epoch) -> None:
        """Add an epoch to the day's curve and time, and to what is sent to the database."""
        super().record(epoch)
        self._seconds[epoch.epoch] = epoch.seconds

    def take(self, result: Epoch) -> None:
        """Take an epoch that was trained, to be written."""
        super().take(result)
        if self._on_epoch is not None:
            self._on_epoch(self._day, result)

    def next_training(self, training: TrialTraining) -> TrialTraining:
        """Return what trains the next epoch: `training` itself, or one with the settings that were nudged."""
        context = self.context
        if self._takes_nudges(training.epoch):
            try:
                if self._take_nudges(training.epoch):
                    self._nudges = self._read_nudges()
            except SQLAlchemyError as error:
                context.outage.failed(error)  # after the next epoch
        now = settings_after(self._day, self._nudges, training.epoch)
        if now == self._now:
            return training
        self._now = now
        if isinstance(training, LoopTraining):
            training.trial.values.update(now.settings)
            return training
        with training_code():
            return self._assemble(training.state())

    def end(self, verdict: Verdict) -> None:
        """Write how the day ended, and its state, which the next day begins with.

        Raises:
            CheckpointUnreachable: the state cannot be kept where the next day looks for it; it stays on this machine.
        """
        context, training, curve = self.context, self.training, self.trial.intermediate_values
        diverged = verdict.next is Next.DIVERGE
        value = worst_value(context) if diverged else curve.get(training.epoch)
        weights = None if diverged else self._stage(training)
        attributes = {
            "epochs": len(curve),
            "why it stopped": "the day is over" if verdict.next is Next.COMPLETE else verdict.why,
            "why": "; ".join(n.why for n in self._nudges if n.why),
            "nudges": [
                {"after epoch": n.epoch, **n.settings, **({"why": n.why} if n.why else {})} for n in self._nudges
            ],
        }
        constraints = {"diverged": 1.0} if diverged else None
        # At its birth a model of the user's own is not measured, and no complete trial of Optuna's is without value.
        state = "PRUNED" if value is None else "COMPLETE"
        trial_id: int = self.trial._trial_id
        context.outage.insist(
            lambda: context.log.finish(
                self.lease, trial_id, state, value, attributes, constraints=constraints, weights=weights
            )
        )
        context.checkpoints.tidy(self.lease.slot.number, weights)

    def _stage(self, training: TrialTraining) -> Staged:
        """Make the state ready to be kept. Without it nothing could build on the day, and it has not ended."""
        try:
            return self.context.checkpoints.stage(self.lease, training.epoch, to_bytes(training.state() or {}))
        except CheckpointNotWritten as error:
            raise CheckpointUnreachable(str(error)) from error

    def why_unusable(self, unsent: Unsent) -> str | None:
        """Return the nudge that took effect in this day while another machine trained it, and that a state lacks."""
        for nudge in self.context.outage.insist(self._read_nudges):
            if nudge.epoch is not None and nudge.epoch < unsent.epoch and nudge.nudge_id not in unsent.nudges:
                settings = ", ".join(f"{name}={value}" for name, value in nudge.settings.items())
                return f"its epochs after {nudge.epoch} were trained without a nudge of then: {settings}"
        return None

    @property
    def nudges(self) -> tuple[int, ...]:
        """The ids of the nudges that have taken effect in this day, as far as this process knows."""
        return tuple(nudge.nudge_id for nudge in self._nudges)

    def _takes_nudges(self, epoch: int) -> bool:
        """Return True if nudges may take effect after an epoch: not before one that was written without them."""
        return epoch >= self.lease.epoch and self._day.number != BIRTH and not self._day.is_look

    def _take_nudges(self, epoch: int) -> bool:
        return take_nudges(self.context.engine, self.lease, epoch, self.nudges)

    def _read_nudges(self) -> list[NudgeRecord]:
        return read_nudges(self.context.engine, self.lease.study_id, self._day.number)

    def _assemble(self, state: Any) -> TrialTraining:
        context = self.context
        if context.study.way is not Way.MODEL:
            return make_training(context.study, self._panda.seed_number, self._now.settings, context.bench, state)
        training = assemble(self.context.study, self._panda.seed_number, self._now.settings, self._data, state)
        training.decay_from = self._now.decay_from
        return training

    def _read(self, checkpoint: LoadedCheckpoint) -> tuple[Any, str | None]:
        """Return the day's own state, if it can be read, and why it was refused, if it was."""
        if checkpoint.state is None:
            return None, checkpoint.refused
        try:
            return from_bytes(checkpoint.state, self._device), None
        except BadCheckpoint as error:
            return None, str(error)

    def _first_state(self) -> Any:
        """Return the state at the end of the day before; of the birth, that of the trial that it comes from."""
        context = self.context
        if self._day.parent is not None:
            store, number = context.checkpoints, self._day.parent
        elif self._panda.origin is not None:
            name = self._panda.origin.study
            record = context.outage.insist(lambda: load_study(context.engine, name))
            store, number = CheckpointStore(context.engine, record), self._panda.origin.trial
        else:
            return None
        state = context.outage.insist(lambda: store.load(number))
        if state is None:
            raise CheckpointUnreachable(f"the state that day {self._day.number} begins with is not kept any more")
        return from_bytes(state, self._device)

    @property
    def _device(self) -> Any:
        return self.context.bench.device if self.context.study.way is Way.MODEL else "cpu"

    @property
    def _data(self) -> Data:
        assert self.context.bench.data is not None, "a panda has a model and data"
        return self.context.bench.data

    def _measure_birth(self, training: Training) -> None:
        """Write how good the model is before anything is done to it."""
        context, data = self.context, self._data
        with training_code():
            training_loss = evaluate(training.model, data.training, Measures(training.measures.loss))[LOSS]
            validation = evaluate(training.model, data.validation, training.measures)
        self.record(Epoch(training.epoch, as_metrics(training_loss, validation, training.learning_rate()), 0.0))

        def write() -> None:
            with context.engine.begin() as connection:
                count = len(data.validation.y)
                log_event(connection, self.lease.study_id, EventKind.BORN, slot=BIRTH, validation_examples=count)

        context.outage.insist(write)
