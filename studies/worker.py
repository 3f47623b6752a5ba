"""A worker: lease a slot, choose its values, train it epoch by epoch, write each epoch, finish or prune, next.

Training code is expected to fail in its own ways; whatever it raises ends its trial, not the worker. What the
database raises ends the worker: its leases expire, and others go on.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from optuna.distributions import BaseDistribution, distribution_to_json
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import Engine

from models.checkpoint import to_bytes
from models.data import Data
from models.training import EpochResult, Training
from storage.checkpoints import CheckpointStore
from storage.errors import LeaseLost
from storage.events import log_event, read_events
from storage.history import History, is_feasible
from storage.ledger import Ledger
from storage.records import EpochRecord, Lease, StudyRecord, WorkerRecord
from storage.trials import TrialLog
from studies.definition import Study
from studies.failures import describe, pause_if_repeated
from studies.plan import Slot
from studies.pruning import reason_to_stop
from studies.renewal import Renewal
from studies.resumption import Kept, load_checkpoint, resume
from studies.signals import Stop
from studies.strategies import propose
from studies.worker_state import Next, Verdict, after_epoch

_CHECKPOINT_SECONDS = 10.0  # between two checkpoints of a trial that goes on
OUT_OF_MEMORY = "out of memory"  # the event
_WAIT_SECONDS = 0.5  # between two looks for work that another worker may lose


class Worker:
    """Works on one study until nothing is left, it is paused, or the worker is asked to stop.

    Args:
        record: this process, registered already.
        data: on the device that trains.
        stop: read between epochs.
    """

    def __init__(
        self,
        engine: Engine,
        study_record: StudyRecord,
        study: Study,
        record: WorkerRecord,
        data: Data,
        stop: Stop,
        lease_seconds: float,
    ) -> None:
        self._engine = engine
        self._study_id = study_record.study_id
        self._study = study
        self._record = record
        self._data = data
        self._stop = stop
        self._ledger = Ledger(engine, study_record.study_id, record.worker_id, lease_seconds)
        self._log = TrialLog(engine, study_record.optuna_study_id, lease_seconds)
        self._checkpoints = CheckpointStore(engine, study_record.study_id)
        self._history = History(engine, study_record.optuna_study_id, maximize=study.maximize)

    def run(self) -> None:
        """Work until nothing is left to do. While others train what is left, wait: they may lose it."""
        while not self._stop.asked:
            lease = self._ledger.lease()
            if lease is not None:
                self._work_on(lease)
                continue
            standing = self._ledger.standing()
            if standing.control == "pause" or standing.open + standing.leased == 0:
                return
            time.sleep(_WAIT_SECONDS)

    def _work_on(self, lease: Lease) -> None:
        try:
            with Renewal(self._ledger, lease) as renewal:
                self._history.refresh()
                trial = self._begin(lease) if lease.trial_id is None else _copy(self._history.trial(lease.trial_id))
                self._train(lease, trial, renewal)
        except LeaseLost:
            return  # another worker goes on with this slot; nothing was written for it here

    def _begin(self, lease: Lease) -> FrozenTrial:
        """Choose the values of a slot and make its trial."""
        slot = Slot(lease.slot.number, lease.slot.tier, lease.slot.phase, lease.slot.free)
        self._history.notes.clear()
        stored = propose(self._study, slot, self._history.study(), _running(slot.number, -1, {}, {}, {}))
        distributions, values = self._study.distributions(), self._study.trained(stored)
        trial_id = self._log.begin(
            lease,
            {n: (d.to_internal_repr(stored[n]), distribution_to_json(d)) for n, d in distributions.items()},
            {
                "tier": slot.tier,
                "phase": slot.phase,
                "worker": f"{self._record.host}:{self._record.pid}",
                **{n: v for n, v in values.items() if n not in stored},  # momentum beside one_minus_momentum
                **self._history.notes,
            },
        )
        return _running(slot.number, trial_id, stored, distributions, {})

    def _train(self, lease: Lease, trial: FrozenTrial, renewal: Renewal) -> None:
        """Train a trial to its end, or until the worker is asked to stop."""
        values = self._study.trained(trial.params)
        kept = Kept() if lease.trial_id is None else load_checkpoint(self._checkpoints, lease.slot.number)
        saved = time.monotonic()
        try:
            with _training_code():
                training, refused = resume(self._study, lease.slot.number, values, self._data, kept)
                trial.intermediate_values = {e: v for e, v in trial.intermediate_values.items() if e <= training.epoch}
                epochs = training.epochs(self._study.epochs)
            if refused:
                self._note("checkpoint refused", lease, reason=refused)
            while True:
                with _training_code():
                    result = next(epochs)
                renewal.check()
                verdict = self._record_epoch(lease, trial, result)
                if verdict.next is Next.GIVE_BACK:
                    self._checkpoints.save(lease, training.epoch, to_bytes(training.state()), release=True)
                    return
                if verdict.next is not Next.GO_ON:
                    self._finish(lease, trial, verdict, training)
                    return
                if time.monotonic() - saved >= _CHECKPOINT_SECONDS:
                    self._checkpoints.save(lease, training.epoch, to_bytes(training.state()))
                    saved = time.monotonic()
        except _TrainingRaised as raised:
            self._fail(lease, trial, raised.error)

    def _record_epoch(self, lease: Lease, trial: FrozenTrial, result: EpochResult) -> Verdict:
        value = result.accuracy if self._study.metric == "accuracy" else result.validation_loss
        self._log.record(lease, EpochRecord(**vars(result)), value)
        if math.isfinite(value):
            trial.intermediate_values[result.epoch] = value
        self._history.refresh()
        again = result.epoch < lease.epoch  # trained once more after its worker died: that it goes on is decided
        return after_epoch(
            epoch=result.epoch,
            last=self._study.epochs,
            losses=(result.training_loss, result.validation_loss),
            bad_curve=None if again else reason_to_stop(self._study, self._history.study(), trial),
            stop_asked=self._stop.asked,
        )

    def _finish(self, lease: Lease, trial: FrozenTrial, verdict: Verdict, training: Training) -> None:
        epoch = training.epoch
        if verdict.next is Next.DIVERGE:
            self._end(lease, trial, "COMPLETE", self._worst(), verdict.why, epoch, violated="diverged")
        elif verdict.next is Next.PRUNE:
            self._end(lease, trial, "PRUNED", trial.intermediate_values[epoch], verdict.why, epoch)
        else:
            value = trial.intermediate_values[epoch]
            weights = to_bytes(training.state()) if self._is_best(value) else None
            self._end(lease, trial, "COMPLETE", value, verdict.why, epoch, weights=weights)

    def _fail(self, lease: Lease, trial: FrozenTrial, error: Exception) -> None:
        failure = describe(error)
        told = failure["error"]
        epoch = max(trial.intermediate_values, default=0)
        if isinstance(error, torch.OutOfMemoryError):
            before = [e for e in read_events(self._engine, self._study_id, OUT_OF_MEMORY) if e.slot == trial.number]
            if not before:  # one more try: another worker, or another time, may have more memory
                self._note(OUT_OF_MEMORY, lease, error=told)
                self._ledger.release(lease)
            else:
                self._end(lease, trial, "COMPLETE", self._worst(), told, epoch, violated="out_of_memory")
            return
        self._end(lease, trial, "FAIL", None, told, epoch, failure=failure)
        pause_if_repeated(self._engine, self._study_id, failure)

    def _end(
        self, lease: Lease, trial: FrozenTrial, state: str, value: float | None, why: str, epoch: int, **more: Any
    ) -> None:
        self._log.finish(
            lease, trial._trial_id, state, value, {"epochs": epoch, "why it stopped": why}, epoch=epoch, **more
        )

    def _is_best(self, value: float) -> bool:
        """Say whether no complete trial is better; then the weights are kept, for the test at the end."""
        sign = 1 if self._study.maximize else -1
        return all(sign * value >= sign * (t.value or 0.0) for t in self._feasible())

    def _worst(self) -> float:
        """Return the worst of the values that were seen and of guessing, as the value of a trial that has none.

        Only sound trials count: one that explodes before it diverges would stretch the scale of all others.
        """
        seen = [t.value for t in self._feasible() if t.value is not None]
        classes = self._data.classes
        return min([*seen, 1 / classes]) if self._study.maximize else max([*seen, math.log(classes)])

    def _feasible(self) -> list[FrozenTrial]:
        trials = self._history.study().get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        return [t for t in trials if is_feasible(t)]

    def _note(self, kind: str, lease: Lease, **detail: str) -> None:
        with self._engine.begin() as connection:
            log_event(
                connection, self._study_id, kind,
                slot=lease.slot.number, worker_id=self._record.worker_id, **detail,
            )  # fmt: skip


class _TrainingRaised(Exception):
    """Training code raised `error`, as distinct from whatever the database or this worker may raise."""

    def __init__(self, error: Exception) -> None:
        super().__init__(error)
        self.error = error


@contextmanager
def _training_code() -> Iterator[None]:
    try:
        yield
    except Exception as error:
        raise _TrainingRaised(error) from error


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
