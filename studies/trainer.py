"""One leased slot: choose its values or take its trial up, train it epoch by epoch, and write each epoch.

Training code is expected to fail in its own ways; whatever it raises ends its trial, not the worker. While the
database is away the training goes on; past the patience, what was not written is kept on this machine.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Any

from optuna.distributions import BaseDistribution, distribution_to_json
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from models.checkpoint import to_bytes
from models.data import Data
from models.training import EpochResult, Interrupted, Training
from storage.checkpoints import CheckpointStore
from storage.errors import DatabaseAway, LeaseLost
from storage.files import CheckpointFiles
from storage.history import History
from storage.ledger import Ledger
from storage.outage import Outage
from storage.records import Asked, EpochRecord, Lease, StudyRecord, WorkerRecord
from storage.trials import TrialLog
from storage.unsent import Unsent, UnsentStates
from studies.definition import Study
from studies.heartbeat import Heartbeat
from studies.outbox import Outbox
from studies.plan import Slot
from studies.pruning import reason_to_stop
from studies.resumption import Kept, load_checkpoint, resume
from studies.signals import Stop
from studies.strategies import propose
from studies.trial_end import TrialEnd
from studies.worker_order import Order
from studies.worker_state import Next, Verdict, after_epoch

_CHECKPOINT_SECONDS = 10.0  # between two checkpoints of a trial that goes on


class Trainer:
    """Trains the slots that one worker leases.

    Args:
        worker: this process, registered already.
        data: on the device that trains.
        stop: read between batches and epochs.
        outage: shared by all that this worker does with the database.
    """

    def __init__(
        self,
        engine: Engine,
        record: StudyRecord,
        study: Study,
        worker: WorkerRecord,
        data: Data,
        stop: Stop,
        ledger: Ledger,
        outage: Outage,
        order: Order,
    ) -> None:
        self._study = study
        self._worker = worker
        self._data = data
        self._stop = stop
        self._ledger = ledger
        self._outage = outage
        self._order = order
        self._log = TrialLog(engine, record.version, order.lease_seconds)
        files = CheckpointFiles(order.settings.checkpoints) if order.settings.checkpoints else None
        self._checkpoints = CheckpointStore(engine, record, files)
        self._history = History(engine, record.optuna_study_id, maximize=study.maximize)
        self._unsent = UnsentStates(order.settings.home, record)
        self._clean: Unsent | None = None  # the last state that may be kept on this machine
        self._sender = ThreadPoolExecutor(1, thread_name_prefix="outbox")
        self._end = TrialEnd(
            engine, record, study, worker, data.classes,
            ledger, self._log, self._checkpoints, self._history, outage,
        )  # fmt: skip

    def work_on(self, lease: Lease) -> None:
        """Train a leased slot to its end, or until the worker is asked to stop.

        Raises:
            DatabaseAway: the patience is over; what was not written is kept on this machine.
        """
        try:
            with Heartbeat(self._ledger, lease, self._order.renew_seconds) as heartbeat:
                self._outage.insist(self._history.refresh)
                trial = self._begin(lease) if lease.trial_id is None else self._take_up(lease.trial_id)
                self._train(lease, trial, heartbeat)
        except LeaseLost:
            # Another worker goes on with this slot, or its study was changed; nothing was written for it here.
            self._outage.insist(lambda: self._ledger.release(lease))
        except DatabaseAway:
            raise
        except Exception:
            with suppress(SQLAlchemyError):  # at once, for another machine; else when the lease expires
                self._ledger.release(lease)
            raise

    def _take_up(self, trial_id: int) -> FrozenTrial:
        trial = self._history.trial(trial_id)
        if self._study.distributions().keys() - trial.params.keys():
            raise LeaseLost("the study was changed after this slot was leased")
        return _copy(trial)

    def _begin(self, lease: Lease) -> FrozenTrial:
        """Choose the values of a slot and make its trial."""
        slot = Slot(lease.slot.number, lease.slot.tier, lease.slot.phase, lease.slot.free)
        self._history.notes.clear()
        stored = propose(self._study, slot, self._history.study(), _running(slot.number, -1, {}, {}, {}))
        distributions, values = self._study.distributions(), self._study.trained(stored)
        parameters = {n: (d.to_internal_repr(stored[n]), distribution_to_json(d)) for n, d in distributions.items()}
        attributes = {
            "tier": slot.tier,
            "phase": slot.phase,
            "worker": f"{self._worker.host}:{self._worker.pid}",
            **{n: v for n, v in values.items() if n not in stored},  # momentum beside one_minus_momentum
            **self._history.notes,
        }
        trial_id = self._outage.insist(lambda: self._log.begin(lease, parameters, attributes))
        return _running(slot.number, trial_id, stored, distributions, {})

    def _train(self, lease: Lease, trial: FrozenTrial, heartbeat: Heartbeat) -> None:
        outbox = Outbox(
            self._log, self._ledger, lease, self._outage, self._sender,
            lambda seconds, epochs: self._end.note("database back", lease, seconds=round(seconds), epochs=epochs),
        )  # fmt: skip
        self._clean = None
        try:
            training = self._resume(lease, trial, outbox)
            self._train_on(lease, trial, training, outbox, heartbeat)
        except _TrainingRaised as raised:
            outbox.send()
            self._end.fail(lease, trial, raised.error)
        except DatabaseAway:
            self._keep_here(lease)
            raise

    def _train_on(
        self, lease: Lease, trial: FrozenTrial, training: Training, outbox: Outbox, heartbeat: Heartbeat
    ) -> None:
        try:
            verdict = self._iterate(lease, trial, training, outbox, heartbeat)
        except Interrupted:  # the state is of no use: the next worker goes on from the checkpoint before
            heartbeat.check()
            outbox.send()
            self._outage.insist(lambda: self._ledger.release(lease))
            return
        self._clean = _snapshot(training, outbox)
        outbox.send()
        if verdict.next is Next.GIVE_BACK:
            self._give_back(lease, training)
        else:
            self._end.finish(lease, trial, verdict, training)

    def _keep_here(self, lease: Lease) -> None:
        """Keep on this machine what the database could not be told."""
        if self._clean is None:
            return
        try:
            self._unsent.keep(lease.slot.number, self._clean)
        except OSError as error:
            raise DatabaseAway(
                f"the database was away for too long, and what was not written cannot be kept on this machine "
                f"({error}): trial {lease.slot.number} goes on from its last checkpoint there"
            ) from error

    def _give_back(self, lease: Lease, training: Training) -> None:
        staged = self._end.stage(lease, training)
        if staged is None:
            self._outage.insist(lambda: self._ledger.release(lease))
        else:
            self._outage.insist(lambda: self._checkpoints.save(lease, staged, release=True))

    def _resume(self, lease: Lease, trial: FrozenTrial, outbox: Outbox) -> Training:
        """Return a trial's training, where it was left, by whomever."""
        number = lease.slot.number
        unsent = self._unsent.find(number) if lease.trial_id is not None else None
        if unsent is not None and _follows(unsent, lease.epoch):
            kept = Kept(unsent.state)
        elif lease.trial_id is not None:
            unsent, kept = None, self._outage.insist(lambda: load_checkpoint(self._checkpoints, number))
        else:
            kept = Kept()
        values = self._study.trained(trial.params)
        with _training_code():
            training, refused = resume(self._study, number, values, self._data, kept)
        if refused:
            self._end.note("checkpoint refused", lease, reason=refused)
        trial.intermediate_values = {e: v for e, v in trial.intermediate_values.items() if e <= training.epoch}
        if unsent is not None and not refused:
            self._clean = unsent
            for epoch in unsent.waiting:
                outbox.add(epoch, self._take(trial, epoch))
            outbox.send()
            self._end.note("went on from this machine's own state", lease, epoch=unsent.epoch)
            self._save(lease, training)
        self._unsent.forget(number)
        return training

    def _iterate(
        self, lease: Lease, trial: FrozenTrial, training: Training, outbox: Outbox, heartbeat: Heartbeat
    ) -> Verdict:
        """Train until something ends it.

        Raises:
            Interrupted: that is in the middle of an epoch.
        """

        def leave() -> bool:
            now = heartbeat.asked
            return self._stop.overdue or heartbeat.error is not None or (now.at_once and now.control != "run")

        saved = time.monotonic()
        with _training_code():
            epochs = training.epochs(self._study.epochs, leave)
        while training.epoch < self._study.epochs:
            with _training_code():
                result = next(epochs)
            heartbeat.check()
            try:
                verdict = self._record(lease, trial, result, outbox)
            except DatabaseAway:
                self._clean = _snapshot(training, outbox)
                raise
            if not outbox.waiting:
                self._clean = None  # the database has all of it
            if verdict.next is not Next.GO_ON:
                return verdict
            if time.monotonic() - saved >= _CHECKPOINT_SECONDS:
                if outbox.waiting:
                    self._clean = _snapshot(training, outbox)
                else:
                    self._save(lease, training)
                saved = time.monotonic()
        return Verdict(Next.COMPLETE, "finished")  # its last epoch was trained, and not written, before

    def _record(self, lease: Lease, trial: FrozenTrial, result: EpochResult, outbox: Outbox) -> Verdict:
        epoch = EpochRecord(**vars(result))
        outbox.add(epoch, self._take(trial, epoch))
        asked = outbox.try_to_send()
        if asked is not None:
            self._see_others()
        again = result.epoch < lease.epoch  # trained once more after its worker died: that it goes on is decided
        return after_epoch(
            epoch=result.epoch,
            last=self._study.epochs,
            losses=(result.training_loss, result.validation_loss),
            bad_curve=None if again else reason_to_stop(self._study, self._history.study(), trial),
            asked=asked or Asked(),
            stop_asked=self._stop.asked,
        )

    def _take(self, trial: FrozenTrial, epoch: EpochRecord) -> float:
        """Add an epoch to a trial's curve, and return its value."""
        value = epoch.accuracy if self._study.metric == "accuracy" else epoch.validation_loss
        if math.isfinite(value):
            trial.intermediate_values[epoch.epoch] = value
        return value

    def _see_others(self) -> None:
        try:
            self._history.refresh()
        except SQLAlchemyError as error:
            self._outage.note(error)

    def _save(self, lease: Lease, training: Training) -> None:
        """Replace the trial's checkpoint, if the database is there."""
        staged = self._end.stage(lease, training)
        try:
            if staged is not None:
                self._checkpoints.save(lease, staged)
        except SQLAlchemyError as error:
            self._outage.note(error)


class _TrainingRaised(Exception):
    """Training code raised `error`, as distinct from whatever the database or this worker may raise."""

    def __init__(self, error: Exception) -> None:
        super().__init__(error)
        self.error = error


@contextmanager
def _training_code() -> Iterator[None]:
    try:
        yield
    except Interrupted:
        raise
    except Exception as error:
        raise _TrainingRaised(error) from error


def _snapshot(training: Training, outbox: Outbox) -> Unsent | None:
    """Return what can be kept on this machine; not of a trial that diverged, which is better trained again."""
    waiting = outbox.waiting
    if waiting and not all(map(math.isfinite, (waiting[-1].training_loss, waiting[-1].validation_loss))):
        return None
    return Unsent(training.epoch, waiting, to_bytes(training.state()))


def _follows(unsent: Unsent, written: int) -> bool:
    """Say whether a kept state, with its epochs, goes on where the database's epochs end."""
    first = unsent.waiting[0].epoch if unsent.waiting else unsent.epoch + 1
    return unsent.epoch >= written and first <= written + 1


def _running(
    number: int,
    trial_id: int,
    params: dict[str, Any],
    distributions: dict[str, BaseDistribution],
    curve: dict[int, float],
) -> FrozenTrial:
    return FrozenTrial(
        number=number, state=TrialState.RUNNING, value=None, datetime_start=None, datetime_complete=None,
        params=params, distributions=distributions, user_attrs={}, system_attrs={},
        intermediate_values=curve, trial_id=trial_id,
    )  # fmt: skip


def _copy(trial: FrozenTrial) -> FrozenTrial:
    """Return a trial whose curve this worker may extend; the history's own is shared with the samplers."""
    return _running(trial.number, trial._trial_id, trial.params, trial.distributions, dict(trial.intermediate_values))
