"""How a trial ends, and what is written of it: complete, pruned, diverged, killed, failed, or out of memory."""

from __future__ import annotations

import math
from typing import Any

import torch
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import Engine

from models.checkpoint import to_bytes
from models.training import Training
from storage.checkpoints import CheckpointStore, Staged
from storage.errors import CheckpointNotWritten
from storage.events import log_event, read_events
from storage.history import History, is_feasible
from storage.ledger import Ledger
from storage.outage import Outage
from storage.records import Lease, StudyRecord, WorkerRecord
from storage.trials import TrialLog
from studies.definition import Study
from studies.failures import describe, stop_if_repeated
from studies.worker_state import Next, Verdict

OUT_OF_MEMORY = "out of memory"  # the event


class TrialEnd:
    """Ends the trials of one worker. The database is waited for: there is nothing else to do with them.

    Args:
        classes: of the data; guessing among them is the worst that a trial can do.
    """

    def __init__(
        self,
        engine: Engine,
        record: StudyRecord,
        study: Study,
        worker: WorkerRecord,
        classes: int,
        ledger: Ledger,
        log: TrialLog,
        checkpoints: CheckpointStore,
        history: History,
        outage: Outage,
    ) -> None:
        self._engine = engine
        self._study_id = record.study_id
        self._study = study
        self._worker = worker
        self._classes = classes
        self._ledger = ledger
        self._log = log
        self._checkpoints = checkpoints
        self._history = history
        self._outage = outage

    def finish(self, lease: Lease, trial: FrozenTrial, verdict: Verdict, training: Training) -> None:
        """End a trial as its last epoch decided.

        Raises:
            LeaseLost: another worker has it; nothing was written.
            DatabaseAway: the patience is over.
        """
        epoch = training.epoch
        if verdict.next is Next.DIVERGE:
            self._end(lease, trial, "COMPLETE", self._worst(), verdict.why, epoch, violated="diverged")
        elif verdict.next is Next.PRUNE:
            self._end(lease, trial, "PRUNED", trial.intermediate_values[epoch], verdict.why, epoch)
        else:
            value = trial.intermediate_values[epoch]
            weights = self.stage(lease, training) if self._is_best(value) else None
            self._end(lease, trial, "COMPLETE", value, verdict.why, epoch, weights=weights)

    def fail(self, lease: Lease, trial: FrozenTrial, error: Exception) -> None:
        """End a trial whose training code raised; one that ran out of memory gets one more try.

        Raises:
            LeaseLost: another worker has it; nothing was written.
            DatabaseAway: the patience is over.
        """
        failure = describe(error)
        told = failure["error"]
        epoch = max(trial.intermediate_values, default=0)
        if isinstance(error, torch.OutOfMemoryError):
            if not self._outage.insist(lambda: self._ran_out_before(trial.number)):
                self.note(OUT_OF_MEMORY, lease, error=told)  # another worker, or another time, may have more memory
                self._outage.insist(lambda: self._ledger.release(lease))
            else:
                self._end(lease, trial, "COMPLETE", self._worst(), told, epoch, violated="out_of_memory")
            return
        self._end(lease, trial, "FAIL", None, told, epoch, failure=failure)
        self._outage.insist(lambda: stop_if_repeated(self._engine, self._study_id, failure))

    def stage(self, lease: Lease, training: Training) -> Staged | None:
        """Make a training's state ready to be kept; None, and an event, where that is not possible."""
        try:
            return self._checkpoints.stage(lease, training.epoch, to_bytes(training.state()))
        except CheckpointNotWritten as error:
            self.note("checkpoint not written", lease, reason=str(error))
            return None

    def note(self, kind: str, lease: Lease, **detail: Any) -> None:
        """Write an event about a trial; the same one twice is written once."""

        def write() -> None:
            known = read_events(self._engine, self._study_id, kind)
            if any(e.slot == lease.slot.number and e.detail == detail for e in known):
                return
            with self._engine.begin() as connection:
                log_event(
                    connection, self._study_id, kind,
                    slot=lease.slot.number, worker_id=self._worker.worker_id, **detail,
                )  # fmt: skip

        self._outage.insist(write)

    def _end(
        self, lease: Lease, trial: FrozenTrial, state: str, value: float | None, why: str, epoch: int, **more: Any
    ) -> None:
        attributes = {"epochs": epoch, "why it stopped": why}
        self._outage.insist(lambda: self._log.finish(lease, trial._trial_id, state, value, attributes, **more))
        self._checkpoints.tidy(lease.slot.number, more.get("weights"))

    def _ran_out_before(self, number: int) -> bool:
        return any(e.slot == number for e in read_events(self._engine, self._study_id, OUT_OF_MEMORY))

    def _is_best(self, value: float) -> bool:
        """Say whether no complete trial is better; then the weights are kept, for the test at the end."""
        sign = 1 if self._study.maximize else -1
        return all(sign * value >= sign * (t.value or 0.0) for t in self._feasible())

    def _worst(self) -> float:
        """Return the worst of the values that were seen and of guessing, as the value of a trial that has none.

        Only sound trials count: one that explodes before it diverges would stretch the scale of all others.
        """
        seen = [t.value for t in self._feasible() if t.value is not None]
        return min([*seen, 1 / self._classes]) if self._study.maximize else max([*seen, math.log(self._classes)])

    def _feasible(self) -> list[FrozenTrial]:
        trials = self._history.study().get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        return [t for t in trials if is_feasible(t)]
