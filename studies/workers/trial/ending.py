"""End a trial: complete, pruned, diverged, killed, failed, or out of memory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from optuna.trial import FrozenTrial

from caviar.storage.events import read_events
from caviar.storage.history import BEST
from caviar.storage.states import EventKind
from caviar.studies.workers.context import WorkerContext
from caviar.studies.workers.lease import HeldLease
from caviar.studies.workers.trial.checkpoints import stage
from caviar.studies.workers.trial.decision import Next, Verdict
from caviar.studies.workers.trial.failures import describe, stop_if_repeated
from caviar.studies.workers.trial.training import TrialTraining


class TrialEnd:
    """Writes how one trial, which has its curve, ended, and waits for the database as long as the patience allows."""

    def __init__(self, context: WorkerContext, held: HeldLease, trial: FrozenTrial) -> None:
        self._context = context
        self._held = held
        self._trial = trial

    def finish(self, verdict: Verdict, training: TrialTraining) -> None:
        """End a trial as its last epoch decided."""
        epoch = training.epoch
        if verdict.next is Next.DIVERGE:
            self._end("COMPLETE", worst_value(self._context), verdict.why, epoch, violated="diverged")
            return
        value = self._trial.intermediate_values[epoch]
        if verdict.next is Next.PRUNE:
            self._end("PRUNED", value, verdict.why, epoch)
        else:
            weights = stage(self._context, self._held, training) if self._may_win(value) else None
            self._end("COMPLETE", value, verdict.why, epoch, weights=weights)
            if weights and (fallen := self._context.history.fallen()):
                self._context.outage.insist(lambda: self._context.checkpoints.drop(fallen))

    def time_out(self, why: str) -> None:
        """End a trial that has taken too long in the middle of an epoch: pruned with its last value, if it has one."""
        epoch = max(self._trial.intermediate_values, default=0)
        if epoch:
            self._end("PRUNED", self._trial.intermediate_values[epoch], why, epoch)
        else:
            self._fail(epoch, {"error": why, "place": "", "traceback": ""})

    def fail(self, error: Exception) -> None:
        """End a trial whose training code raised; one that ran out of memory gets one more try."""
        failure = describe(error)
        message = failure["error"]
        epoch = max(self._trial.intermediate_values, default=0)
        context = self._context
        if not isinstance(error, torch.OutOfMemoryError):
            self._fail(epoch, failure)
        elif context.outage.insist(self._ran_out_before):
            self._end("COMPLETE", worst_value(context), message, epoch, violated="out_of_memory")
        else:  # another worker, or another time, may have more memory
            context.record_event(EventKind.OUT_OF_MEMORY, self._held.lease, error=message)
            context.ledger.avoided.add(self._held.number)
            context.release(self._held.lease)

    def _fail(self, epoch: int, failure: Mapping[str, str]) -> None:
        context = self._context
        self._end("FAIL", None, failure["error"], epoch, failure=failure)
        context.outage.insist(lambda: stop_if_repeated(context.engine, context.record.study_id, failure))

    def _end(self, state: str, value: float | None, why: str, epoch: int, **more: Any) -> None:
        attributes = {"epochs": epoch, "why it stopped": why}
        context, lease, trial_id = self._context, self._held.lease, self._trial._trial_id
        context.outage.insist(lambda: context.log.finish(lease, trial_id, state, value, attributes, **more))
        context.checkpoints.tidy(lease.slot.number, more.get("weights"))

    def _ran_out_before(self) -> bool:
        events = read_events(self._context.engine, self._context.record.study_id, EventKind.OUT_OF_MEMORY)
        return any(event.slot == self._held.number for event in events)

    def _may_win(self, value: float) -> bool:
        """Return True for one of the best three trials, whose weights are kept for the test at the end: the winner is
        the one with the best expected value, which need not be the best value."""
        sign = 1 if self._context.study.maximize else -1
        best = self._context.history.best()
        return len(best) < BEST or sign * value >= sign * (best[-1].value or 0.0)


def worst_value(context: WorkerContext) -> float:
    """Return the value of a trial that has none: the worst of all complete trials and of guessing.

    Only sound trials count: one that explodes before it diverges would stretch the scale of all others.
    """
    maximize, data, values = context.study.maximize, context.bench.data, context.history.sound_values()
    if data is not None and (guess := data.guess(context.study.metric)) is not None:
        values.append(guess)
    return (min if maximize else max)(values, default=0.0)
