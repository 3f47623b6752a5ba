"""Trains a panda's days, one after the other, or several looks beside one another; in this process."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from optuna.distributions import distribution_to_json
from optuna.trial import FrozenTrial

from caviar.storage.errors import PandaBusy
from caviar.storage.events import read_events
from caviar.storage.pandas import DayRecord, Life, NewDay, open_days, read_life
from caviar.storage.records import Lease
from caviar.studies.definition import Study
from caviar.studies.errors import WorkersFailed
from caviar.studies.panda.day_run import DayRun, OnEpoch
from caviar.studies.panda.lineage import kept_days
from caviar.studies.workers.context import WorkerContext
from caviar.studies.workers.trainer import Trainer
from caviar.studies.workers.trial.assignment import running


def train(
    context: WorkerContext,
    plan: Callable[[Life], Sequence[NewDay]] | None = None,
    on_epoch: OnEpoch | None = None,
    *,
    finish_first: bool = True,
) -> list[DayRecord]:
    """Train the next days of a panda to their end, or until this process or the panda is asked to stop.

    Args:
        plan: of its life, the days to open; None opens none.
        on_epoch: called after each epoch.
        finish_first: train what was left unfinished, if there is any, instead of what is planned; else refuse.

    Returns:
        The days that were to be trained, as they are now; unfinished ones are left to whoever comes.

    Raises:
        PandaBusy: somebody trains it now.
        UnknownDay: it cannot go on from where it is.
        WorkersFailed: its model or training raised.
        DatabaseAway, CheckpointUnreachable: the patience is over; what was not written is kept on this machine.
    """
    open_ = partial(open_days, context.engine, context.record, plan, finish_first=finish_first)
    numbers = context.outage.insist(open_)
    while not context.stop.asked:
        lease = context.outage.insist(context.ledger.lease)
        if lease is None:
            break
        life = context.outage.insist(lambda: read_life(context.engine, context.record))
        Trainer(context, _DayChooser(context, life), partial(_run, life, on_epoch)).work_on(lease)
    life = context.outage.insist(lambda: read_life(context.engine, context.record))
    if not life.panda.keeps_all:
        kept = kept_days(life, maximize=context.study.maximize)
        context.checkpoints.drop([d.number for d in life.days if d.number not in kept])
    days = [life.days[number] for number in numbers]
    _raise_what_ended(context, days)
    return days


def _raise_what_ended(context: WorkerContext, days: Sequence[DayRecord]) -> None:
    """Raise where somebody else was quicker, or where a day failed."""
    name = context.record.name
    for day in days:
        if day.holder is not None:
            raise PandaBusy(f"'{name}': {day.holder} was quicker, and trains day {day.number}")
        if day.ended == "fail":
            events = read_events(context.engine, context.record.study_id, "trial failed")
            told = next((e.detail for e in reversed(events) if e.slot == day.number), {})
            back = f"caviar panda back {name} --to {day.parent}" if day.parent is not None else f"caviar delete {name}"
            raise WorkersFailed(
                f"day {day.number} of '{name}' failed: {told.get('error', 'no reason is known')} "
                f"({told.get('place', '?')}); mend that, then: {back}"
            )


def _run(life: Life, on_epoch: OnEpoch | None, context: WorkerContext, lease: Lease, *others: Any) -> DayRun:
    return DayRun(context, lease, *others, panda=life.panda, day=life.days[lease.slot.number], on_epoch=on_epoch)


class _DayChooser:
    """Makes the trial of a day: its parameters are what the day begins with."""

    def __init__(self, context: WorkerContext, life: Life) -> None:
        self._context = context
        self._life = life

    def trial(self, lease: Lease, beside: FrozenTrial | None) -> tuple[Lease, FrozenTrial]:  # noqa: ARG002
        """Return the trial of a day, and the lease with its id.

        Raises:
            LeaseLost: another process has the day.
            DatabaseAway: the patience is over.
        """
        context, day = self._context, self._life.days[lease.slot.number]
        if lease.trial_id is not None:
            context.outage.insist(lambda: context.history.refresh(lease.trial_id))
            found = context.history.trial(lease.trial_id)
            return lease, running(found.number, lease.trial_id, curve=found.intermediate_values)
        parameters, others = _stored(context.study, day.settings)
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
        return replace(lease, trial_id=trial_id), running(day.number, trial_id)


def _stored(study: Study, settings: Mapping[str, Any]) -> tuple[dict[str, tuple[float, str]], dict[str, Any]]:
    """Return settings as Optuna keeps parameters, where the study has a scale for them, and the others."""
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
