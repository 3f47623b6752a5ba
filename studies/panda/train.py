"""Trains a panda's days, one after the other, or several looks beside one another; in this process."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from optuna.distributions import distribution_to_json
from optuna.trial import FrozenTrial

from models.training import EpochResult
from storage.errors import NotThatDay, PandaBusy
from storage.pandas import DayRecord, Life, NewDay, open_days, read_life
from storage.records import Lease
from studies.chooser import running
from studies.definition import Study
from studies.panda.day_run import DayRun
from studies.panda.lineage import kept_days
from studies.trainer import Trainer
from studies.worker_context import WorkerContext

Heard = Callable[[DayRecord, EpochResult], None]


def train(
    context: WorkerContext, plan: Callable[[Life], Sequence[NewDay]] | None = None, hear: Heard | None = None
) -> list[int]:
    """Train what was left unfinished of a panda, else what is planned, to its end or until this process is to stop.

    Args:
        plan: of its life, the days to open; None opens none.
        hear: is told of each epoch.

    Returns:
        The days that were trained, by number.

    Raises:
        PandaBusy: somebody trains it now.
        NotThatDay: it cannot go on from where it is.
        DatabaseAway, CheckpointUnreachable: the patience is over; what was not written is kept on this machine.
    """
    numbers = context.outage.insist(lambda: open_days(context.engine, context.record, plan))
    while not context.stop.asked:
        lease = context.outage.insist(context.ledger.lease)
        if lease is None:
            break
        life = context.outage.insist(lambda: read_life(context.engine, context.record))
        Trainer(context, _DayChooser(context, life), partial(_run, life, hear)).work_on(lease)
    life = context.outage.insist(lambda: read_life(context.engine, context.record))
    _say_unfinished(context, life, numbers)
    if not life.panda.keeps_all:
        kept = kept_days(life, maximize=context.study.maximize)
        context.checkpoints.drop([d.number for d in life.days if d.saved and d.number not in kept])
    return numbers


def _say_unfinished(context: WorkerContext, life: Life, numbers: Sequence[int]) -> None:
    """Raise where days that were opened did not come to an end although nobody asked this process to stop."""
    unfinished = [life.days[n] for n in numbers if life.days[n].state in ("open", "leased")]
    if not unfinished or context.stop.asked:
        return
    first = unfinished[0]
    if first.holder is not None:
        raise PandaBusy(f"'{context.record.name}': {first.holder} was quicker, and trains day {first.number}")
    raise NotThatDay(
        f"day {first.number} of '{context.record.name}' waits, since somebody let it rest; "
        f"go on with: caviar resume {context.record.name}, and caviar panda train {context.record.name}"
    )


def _run(life: Life, hear: Heard | None, context: WorkerContext, lease: Lease, *others: Any) -> DayRun:
    return _Heard(context, lease, *others, panda=life.panda, day=life.days[lease.slot.number], hear=hear)


class _Heard(DayRun):
    """A day whose epochs somebody hears of."""

    def __init__(self, *arguments: Any, hear: Heard | None, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._hear = hear

    def take(self, result: EpochResult) -> None:
        """Take an epoch that was trained, to be written."""
        super().take(result)
        if self._hear is not None:
            self._hear(self._day, result)


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
            others[name] = json.loads(json.dumps(value))
    return parameters, others
