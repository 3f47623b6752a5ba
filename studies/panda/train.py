"""Train a panda's days one after the other, or several candidates as one program, in this process."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

from optuna.distributions import distribution_to_json
from optuna.trial import FrozenTrial
from sqlalchemy import Engine

from caviar.storage.errors import DatabaseAway, PandaBusy
from caviar.storage.events import read_events
from caviar.storage.pandas import DayRecord, Life, NewDay, open_days, read_life
from caviar.storage.records import Lease, StudyRecord
from caviar.storage.states import EventKind, SlotState, TrialState
from caviar.storage.workers import end_worker
from caviar.studies.definition import Study
from caviar.studies.errors import WorkersFailed
from caviar.studies.panda.day_run import DayRun, OnEpoch
from caviar.studies.panda.lineage import kept_days
from caviar.studies.panda.planning import next_day
from caviar.studies.workers.context import WorkerContext, begin_work
from caviar.studies.workers.lease import HeldLease
from caviar.studies.workers.local.devices import visible_gpus
from caviar.studies.workers.local.options import WorkerOptions
from caviar.studies.workers.local.signals import Stop
from caviar.studies.workers.trainer import Trainer
from caviar.studies.workers.trial.assignment import running


@contextmanager
def panda_worker(engine: Engine, record: StudyRecord, options: WorkerOptions, stop: Stop) -> Iterator[WorkerContext]:
    """Be a panda's worker, on this machine's first GPU or else on one core, from `with` to its end."""
    context = begin_work(engine, record, options, "cuda:0" if visible_gpus() else "cpu", stop)
    try:
        yield context
    finally:
        with suppress(DatabaseAway):  # then its silence tells that it has left
            context.outage.insist(lambda: end_worker(engine, context.process.worker_id))


def train_days(context: WorkerContext, count: int, on_epoch: OnEpoch | None = None) -> bool:
    """Train some days, an unfinished one first; return False if this process or the panda was asked to stop."""
    left = count
    while left > 0:
        trained = train(context, partial(next_day, study=context.study), on_epoch)
        if any(day.state == SlotState.OPEN for day in trained):
            return False
        left -= any(day.number and not day.is_look for day in trained)  # a birth or candidates that were left are none
    return True


def train(
    context: WorkerContext,
    plan: Callable[[Life], Sequence[NewDay]] | None = None,
    on_epoch: OnEpoch | None = None,
    *,
    finish_first: bool = True,
) -> list[DayRecord]:
    """Train the days that `plan` opens to their end, or until this process or the panda is asked to stop; return them.

    With `finish_first` unfinished days are trained instead of the planned ones; otherwise they are an error.

    Raises:
        PandaBusy: another process trains it now.
        UnknownDay: there are unfinished days, or `plan` can build on no day.
        WorkersFailed: the model or its training raised.
        DatabaseAway, CheckpointUnreachable: the patience is over; what was not written is kept on this machine.
    """
    open_ = partial(open_days, context.engine, context.record, plan, finish_first=finish_first)
    numbers = context.outage.insist(open_)
    while not context.is_leaving:
        lease = context.outage.insist(context.ledger.lease)
        if lease is None:
            break
        life = context.outage.insist(lambda: read_life(context.engine, context.record))
        Trainer(context, _DayAssignment(context, life), partial(_day_run, life, on_epoch)).work_on(lease)
    life = context.outage.insist(lambda: read_life(context.engine, context.record))
    if not life.panda.keeps_all:
        wanted = kept_days(life, maximize=context.study.maximize)
        context.checkpoints.drop([day.number for day in life.days if day.number not in wanted])
    days = [life.days[number] for number in numbers]
    _raise_failures(context, days)
    return days


def _raise_failures(context: WorkerContext, days: Sequence[DayRecord]) -> None:
    """Raise an error if another process was quicker, or if a day failed or was ended by another Optuna program."""
    name = context.record.name
    for day in days:
        if day.holder is not None:
            raise PandaBusy(f"'{name}': {day.holder} was quicker, and trains day {day.number}")
        back = f"caviar panda back {name} --to {day.parent}" if day.parent is not None else f"caviar delete {name}"
        if day.state == SlotState.ENDED_ELSEWHERE:
            raise WorkersFailed(f"day {day.number} of '{name}' was ended by another Optuna program; go on with: {back}")
        if day.ended == TrialState.FAIL:
            events = read_events(context.engine, context.record.study_id, EventKind.TRIAL_FAILED)
            failure = next((event.detail for event in reversed(events) if event.slot == day.number), {})
            raise WorkersFailed(
                f"day {day.number} of '{name}' failed: {failure.get('error', 'no reason is known')} "
                f"({failure.get('place', '?')}); mend that, then: {back}"
            )


def _day_run(life: Life, on_epoch: OnEpoch | None, context: WorkerContext, held: HeldLease, *others: Any) -> DayRun:
    day = life.days[held.number]
    return DayRun(context, held, *others, panda=life.panda, day=day, on_epoch=on_epoch)


class _DayAssignment:
    """Assigns trials to days: a trial's parameters are the settings that its day begins with."""

    def __init__(self, context: WorkerContext, life: Life) -> None:
        self._context = context
        self._life = life

    def assign(self, lease: Lease, partner: FrozenTrial | None) -> FrozenTrial:  # noqa: ARG002
        """Return the trial of a day, which is begun if it is not yet."""
        context, day = self._context, self._life.days[lease.slot.number]
        if lease.trial_id is not None:
            context.outage.insist(lambda: context.history.refresh(lease.trial_id))
            begun = context.history.trial(lease.trial_id)
            return running(begun.number, lease.trial_id, curve=begun.intermediate_values)
        parameters, others = _optuna_parameters(context.study, day.settings)
        why = [n.why for n in self._life.nudges if n.day == day.number and n.epoch == day.begins_at and n.why]
        attributes = {
            "day": day.number,
            "parent": day.parent,
            "why": "; ".join(why),
            "look": day.is_look,
            "worker": f"{context.process.host}:{context.process.pid}",
            **others,
        }
        trial_id = context.outage.insist(lambda: context.log.begin(lease, parameters, attributes))
        assert trial_id is not None  # a day takes no trial that waits
        return running(day.number, trial_id)


def _optuna_parameters(
    study: Study, settings: Mapping[str, Any]
) -> tuple[dict[str, tuple[float, str]], dict[str, Any]]:
    """Return the settings that the study has a scale for as Optuna stores parameters, and the others as they are."""
    parameters, others = {}, {}
    scales, distributions = study.scales(), study.distributions()
    for name, value in settings.items():
        if name in scales:
            stored = scales[name].stored_name(name)
            internal = distributions[stored].to_internal_repr(scales[name].to_stored(value))
            parameters[stored] = (internal, distribution_to_json(distributions[stored]))
        else:
            others[name] = value
    return parameters, others
