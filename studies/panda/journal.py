"""Read a panda's journal from the database: its days, nudges and remarks, their curves, and what these show."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Engine

from caviar.epoch import LEARNING_RATE, TRAINING_LOSS, VALIDATION_LOSS, Epoch
from caviar.storage.curves import read_curves
from caviar.storage.events import read_events
from caviar.storage.nudges import NudgeRecord
from caviar.storage.pandas import BIRTH, DayRecord, Life, read_life
from caviar.storage.records import EventRecord, StudyRecord
from caviar.storage.states import SPENT, EventKind, NudgeState, SlotState
from caviar.studies.definition import Study, from_body
from caviar.studies.panda.advice import (
    Advice,
    Outcome,
    Verdict,
    Window,
    advise,
    advise_by_metric,
    judge,
    why_rate_too_high,
)
from caviar.studies.panda.length import DayLength
from caviar.studies.panda.lineage import branches, nearest_saved, path
from caviar.studies.panda.records import BestEpoch, Journal, JournalDay, Nudge, Remark, TakenNudge
from caviar.studies.panda.settings import settings_after
from caviar.studies.results.formatting import finite

_MOVES_WEIGHTS = {"learning_rate", "momentum", "batch_size", "decay"}
_SPOILED = 0.5  # share of the loss at birth: above it, a day of too high a rate is not worth going back to
_REMARKS = (EventKind.NOTE, EventKind.WENT_BACK, EventKind.PICKED)
_READ = {TRAINING_LOSS, VALIDATION_LOSS, LEARNING_RATE}  # the metrics that advice on curves is read from
_FEW_EXAMPLES = 1000  # assumed where the size of the validation set was not written


def read_journal(engine: Engine, record: StudyRecord) -> Journal:
    """Return a panda's journal.

    Raises:
        UnknownDay: the study is no panda.
    """
    life, study = read_life(engine, record), from_body(record.body)
    curves = read_curves(engine, record.study_id)
    events = read_events(engine, record.study_id, *_REMARKS, EventKind.BORN)
    return _Reading(record.name, study, life, curves, events).journal()


@dataclass(frozen=True)
class _Reading:
    """What was read of one panda, and what follows from it."""

    name: str
    study: Study
    life: Life
    curves: Mapping[int, Sequence[Epoch]]
    events: Sequence[EventRecord]

    def journal(self) -> Journal:
        """Return the whole of it."""
        study, life = self.study, self.life
        all_branches = branches(life)
        branch_of = {day.number: i for i, branch in enumerate(all_branches) for day in branch}
        days, too_high = list[JournalDay](), list[float]()
        for day in life.days:
            verdict = self._verdict(day)
            window = self._window(day, too_high)
            if window and (verdict.word in (Outcome.DIVERGED, Outcome.WORSE) or why_rate_too_high(window)):
                too_high.append(window.rate)
            before = days[day.parent].ended_with if day.parent is not None else {}
            days.append(self._day(day, verdict, branch_of[day.number], before))
        waiting = self._nudges(NudgeState.WAITING)
        return Journal(
            name=self.name, subject=study.subject,
            model=study.model, data=study.data, metric=study.metric, direction=study.direction,
            day=DayLength(life.panda.day_epochs, life.panda.day_seconds), origin=life.panda.origin,
            head=life.panda.head, branch=tuple(day.number for day in all_branches[0]),
            trains=next((day.holder for day in life.days if day.holder), None),
            waiting=waiting, dropped=self._nudges(NudgeState.DROPPED), days=tuple(days),
            advice=None if waiting else self._advice(days[life.panda.head].verdict, too_high),
            best=self._best(days),
        )  # fmt: skip

    def _curve(self, day: DayRecord) -> list[Epoch]:
        return list(self.curves.get(day.number, ()))

    def _before(self, day: DayRecord) -> list[Epoch]:
        """Return the epochs of the days that a day builds on."""
        return [epoch for earlier in path(self.life, day.number)[:-1] for epoch in self._curve(earlier)]

    def _verdict(self, day: DayRecord) -> Verdict:
        if day.number == BIRTH:
            born, over = day.ended in ("complete", "pruned"), day.state == SlotState.DONE
            return Verdict(Outcome.BORN if born else Outcome.FAILED if over else Outcome.UNFINISHED)
        if day.violated:
            return Verdict(Outcome(day.violated.replace("_", " ")))
        if day.state != SlotState.DONE:
            return Verdict(Outcome.ABANDONED if day.state in SPENT else Outcome.UNFINISHED)
        own, before = self._curve(day), self._before(day)
        if day.ended != "complete" or not own:
            return Verdict(Outcome.FAILED)
        if not any(self.study.metric in epoch.metrics for epoch in before):
            return Verdict(Outcome.FIRST)
        whole = Window(before, own, day.settings, day.parent or BIRTH)
        birth = next((event.detail for event in self.events if event.kind == EventKind.BORN), {})
        examples = int(birth.get("validation_examples", _FEW_EXAMPLES))
        return judge(whole, self.study.metric, maximize=self.study.maximize, examples=examples)

    def _window(self, day: DayRecord, too_high: Sequence[float]) -> Window | None:
        """Return the epochs of a day since a nudge last changed how its weights move; None where there are none."""
        nudges, own, before = self.life.nudges, self._curve(day), self._before(day)
        nudged = [n.epoch or 0 for n in nudges if n.day == day.number and _MOVES_WEIGHTS & n.settings.keys()]
        since = max((epoch for epoch in nudged if own and epoch < own[-1].epoch), default=day.begins_at)
        before += [epoch for epoch in own if epoch.epoch <= since]
        own = [epoch for epoch in own if epoch.epoch > since]
        if not all(epoch.metrics.keys() >= _READ for epoch in (*before, *own)):
            return None
        if not own or not before or nearest_saved(self.life, day) is None:
            return None
        settings = settings_after(day, nudges, own[-1].epoch - 1).settings
        return Window(before, own, settings, self._day_to_go_back_to(day, before[0], own[-1]), tuple(too_high))

    def _day_to_go_back_to(self, day: DayRecord, first: Epoch, last: Epoch) -> int:
        """Return the nearest earlier day that the present learning rate did not spoil."""
        candidate = nearest_saved(self.life, day) or self.life.days[BIRTH]
        while (curve := self._curve(candidate)) and candidate.parent is not None:
            end = curve[-1]
            if end.metrics[TRAINING_LOSS] < _SPOILED * first.metrics[TRAINING_LOSS]:
                break
            if end.metrics[LEARNING_RATE] < last.metrics[LEARNING_RATE]:
                break
            candidate = nearest_saved(self.life, candidate) or self.life.days[BIRTH]
        return candidate.number

    def _advice(self, verdict: Verdict, too_high: Sequence[float]) -> Advice | None:
        """Return the advice after the last day; None after the birth, and before the day is over."""
        life = self.life
        head = life.days[life.panda.head]
        if head.state not in SPENT or head.number == BIRTH:
            return None
        if not all(epoch.metrics.keys() >= _READ for epoch in (*self._before(head), *self._curve(head))):
            return self._with_commands(advise_by_metric(verdict, self.study.metric, head.parent))
        window = self._window(head, too_high)
        if window is None or verdict.word in (Outcome.FAILED, Outcome.ABANDONED):
            earlier = nearest_saved(life, head)
            why = f"day {head.number} has no state to go on from"
            return self._with_commands(Advice(why, back=earlier.number if earlier else None))
        current = [(e.metrics[VALIDATION_LOSS], d.number) for d in path(life, head.number) for e in self._curve(d)]
        lowest = min(current)[1]
        may_go_back = lowest != head.number and life.days[lowest].saved
        return self._with_commands(advise(window, verdict, self.study.scales(), lowest if may_go_back else None))

    def _with_commands(self, advice: Advice) -> Advice:
        commands = []
        if advice.back is not None:
            commands.append(f"caviar panda back {self.name} --to {advice.back}")
        if advice.settings:
            words = " ".join(f"{setting}={value:g}" for setting, value in advice.settings.items())
            why = shlex.quote(advice.why.partition(":")[0])
            commands.append(f"caviar panda nudge {self.name} {words} --why {why}")
        return replace(advice, commands=(*commands, f"caviar panda train {self.name}"))

    def _day(self, day: DayRecord, verdict: Verdict, branch: int, before: Mapping[str, Any]) -> JournalDay:
        own = self._curve(day)
        nudges = [nudge for nudge in self.life.nudges if nudge.day == day.number]
        return JournalDay(
            day=day.number, parent=day.parent, look=day.is_look, state=day.state, branch=branch, current=branch == 0,
            saved=day.saved, began=day.began_at, begins_at=day.begins_at, epoch=day.epoch,
            settings=day.settings,
            changed={name: value for name, value in day.settings.items() if before.get(name) != value},
            ended_with=settings_after(day, nudges, day.epoch).settings,
            why="; ".join(nudge.why for nudge in nudges if nudge.why) or None,
            nudges=tuple(_taken(day, nudge) for nudge in nudges),
            epochs=tuple(epoch.epoch for epoch in own),
            curve=tuple(finite(epoch.value(self.study.metric)) for epoch in own),
            training_loss=tuple(finite(epoch.value(TRAINING_LOSS)) for epoch in own),
            validation_loss=tuple(finite(epoch.value(VALIDATION_LOSS)) for epoch in own),
            seconds=sum(epoch.seconds for epoch in own),
            verdict=verdict,
            notes=tuple(self._remarks(day)),
        )  # fmt: skip

    def _remarks(self, day: DayRecord) -> list[Remark]:
        return [
            Remark(EventKind(event.kind), event.at, **event.detail)
            for event in self.events
            if event.slot == day.number and event.kind in _REMARKS
        ]

    def _nudges(self, state: NudgeState) -> tuple[Nudge, ...]:
        return tuple(Nudge(n.settings, n.why, n.by, n.at) for n in self.life.nudges if n.state == state)

    def _best(self, days: Sequence[JournalDay]) -> BestEpoch | None:
        """Return the best epoch of all branches."""
        sign = 1 if self.study.maximize else -1
        epochs = [
            BestEpoch(day.day, epoch, value)
            for day in days
            for epoch, value in zip(day.epochs, day.curve, strict=True)
            if value is not None
        ]
        return max(epochs, key=lambda epoch: sign * epoch.value, default=None)


def _taken(day: DayRecord, nudge: NudgeRecord) -> TakenNudge:
    epoch = nudge.epoch if nudge.epoch is not None else day.begins_at
    # A nudge of a day that waited for its first epoch is not among the settings that the day began with.
    began_with_it = epoch == day.begins_at and nudge.settings.items() <= day.settings.items()
    return TakenNudge(nudge.settings, nudge.why, nudge.by, nudge.at, epoch, began_with_it)
