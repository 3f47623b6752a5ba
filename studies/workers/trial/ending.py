"""End a trial: complete, pruned, diverged, killed, failed, or out of memory."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from optuna.trial import FrozenTrial

from caviar.epoch import last_values
from caviar.limits import NUMBER
from caviar.storage.curves import read_curve
from caviar.storage.events import read_events
from caviar.storage.history import BEST
from caviar.storage.states import EventKind
from caviar.studies.metric import DIVERGED, OUT_OF_MEMORY, of_missing, worst_of
from caviar.studies.workers.context import WorkerContext
from caviar.studies.workers.lease import HeldLease
from caviar.studies.workers.trial.checkpoints import stage
from caviar.studies.workers.trial.decision import Next, Verdict
from caviar.studies.workers.trial.early_end import end_if_reached
from caviar.studies.workers.trial.failures import describe, missing_of, stop_if_hopeless
from caviar.studies.workers.trial.training import TrialTraining
from caviar.text import storable

_DIVERGED, _OUT_OF_MEMORY = {DIVERGED: 1.0}, {OUT_OF_MEMORY: 1.0}


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
            self.diverge(verdict.why, epoch)
            return
        value, bounds = self._last_value(), self._context.study.constraints
        measured = self._last_metrics(epoch) if value is None or bounds else {}
        constraints = violations(bounds, measured)
        if verdict.next is Next.PRUNE:
            self._end("PRUNED", value, verdict.why, epoch, constraints=constraints)
        elif value is None or constraints.keys() < bounds.keys():
            self._end_without_result(measured, epoch)
        else:
            self._complete(value, constraints, verdict.why, training)

    def _complete(self, value: float, constraints: Mapping[str, float], why: str, training: TrialTraining) -> None:
        may_win = all(violation <= 0 for violation in constraints.values()) and self._may_win(value)
        weights = stage(self._context, self._held, training) if may_win else None
        self._end("COMPLETE", value, why, training.epoch, constraints=constraints, weights=weights)
        if weights and (fallen := self._context.history.fallen()):
            self._context.outage.insist(lambda: self._context.checkpoints.drop(fallen))

    def _end_without_result(self, measured: Mapping[str, float], epoch: int) -> None:
        """Fail a trial that never measured what its study needs."""
        study = self._context.study
        missing = [name for name in (study.metric, *study.constraints) if name not in measured]
        error = f"no result: it never measured {of_missing(missing, measured, 'it measured')}"
        self._fail(epoch, {"error": error, "place": "", "traceback": ""}, missing)

    def _last_value(self) -> float | None:
        """Return the last value of the study's metric, which not every epoch need have; None if none has."""
        curve = self._trial.intermediate_values
        return curve[max(curve)] if curve else None

    def _last_metrics(self, epoch: int) -> dict[str, float]:
        """Return the last value of each metric until an epoch; all of them are written."""
        engine, study_id, number = self._context.engine, self._context.record.study_id, self._held.number
        curve = self._context.outage.insist(lambda: read_curve(engine, study_id, number))
        return last_values(one for one in curve if one.epoch <= epoch)

    def time_out(self, why: str, epoch: int) -> None:
        """End a trial that has taken too long after `epoch`, in the middle of the next: pruned with its last value, if
        it has one."""
        value, bounds = self._last_value(), self._context.study.constraints
        if value is None:
            self._fail(epoch, {"error": why, "place": "", "traceback": ""})
        else:
            constraints = violations(bounds, self._last_metrics(epoch) if bounds else {})
            self._end("PRUNED", value, why, epoch, constraints=constraints)

    def close(self, state: str, value: float | None, why: str, epoch: int) -> None:
        """End a trial in an Optuna state, such as `PRUNED`, which its own code decided."""
        self._end(state, value, why, epoch)

    def diverge(self, why: str, epoch: int) -> None:
        """End a trial as complete, with the worst value and a constraint that it violates."""
        self._end("COMPLETE", worst_value(self._context), why, epoch, constraints=_DIVERGED)

    def fail(self, error: Exception, epoch: int) -> None:
        """End a trial whose training code raised after `epoch`; one that ran out of memory gets one more try."""
        failure = describe(error)
        if output := self._context.output.last_lines(self._held.number):
            failure["output"] = storable(output)
        context = self._context
        if not isinstance(error, torch.OutOfMemoryError):
            self._fail(epoch, failure, missing_of(error))
        elif context.outage.insist(self._ran_out_before):
            self._end("COMPLETE", worst_value(context), failure["error"], epoch, constraints=_OUT_OF_MEMORY)
        else:  # another worker, or another time, may have more memory
            context.record_event(EventKind.OUT_OF_MEMORY, self._held.lease, error=failure["error"])
            context.ledger.avoided.add(self._held.number)
            context.release(self._held.lease)

    def _fail(self, epoch: int, failure: Mapping[str, str], missing: Sequence[str] = ()) -> None:
        context = self._context
        self._end("FAIL", None, failure["error"], epoch, failure=failure)
        context.outage.insist(lambda: stop_if_hopeless(context.engine, context.record.study_id, failure, missing))

    def _end(self, state: str, value: float | None, why: str, epoch: int, **more: Any) -> None:
        ended: dict[str, Any] = {"attributes": {"epochs": epoch, "why it stopped": why}, "epoch": epoch, **more}
        context, lease, trial_id = self._context, self._held.lease, self._trial._trial_id
        context.outage.insist(lambda: context.log.finish(lease, trial_id, state, value, **ended))
        context.checkpoints.tidy(lease.slot.number, more.get("weights"))
        end_if_reached(context)

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
    """Return the value of a trial that has none: the worst of all sound trials and of guessing.

    Only sound trials count: one that explodes before it diverges would stretch the scale of all others.
    """
    maximize, data, values = context.study.maximize, context.bench.data, context.history.sound_values()
    if data is not None and (guess := context.study.guess(data.classes)) is not None:
        values.append(guess)
    return worst_of(values, maximize=maximize)


def violations(bounds: Mapping[str, float], measured: Mapping[str, float]) -> dict[str, float]:
    """Return how far metrics are above their bounds, those that were measured; what is no number is far above."""
    over = {name: measured[name] - bound for name, bound in bounds.items() if name in measured}
    return {name: NUMBER if math.isnan(by) else min(max(by, -NUMBER), NUMBER) for name, by in over.items()}
