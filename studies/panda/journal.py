"""A panda's life as plain facts: its days, what was changed and why, their curves, and what they say."""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Engine

from caviar.epoch import Epoch
from caviar.storage.curves import read_curves
from caviar.storage.events import read_events
from caviar.storage.nudges import NudgeRecord
from caviar.storage.pandas import BIRTH, DayRecord, Life, read_life
from caviar.storage.records import EventRecord, StudyRecord
from caviar.studies.definition import Study, from_body
from caviar.studies.panda.advice import Advice, Look, Verdict, advise, is_too_high, judge
from caviar.studies.panda.lineage import branches, nearest_saved, path
from caviar.studies.panda.settings import settings_at

Facts = dict[str, Any]
Curves = Mapping[int, Sequence[Epoch]]
_MOVES = {"learning_rate", "momentum", "batch_size", "decay"}
_SPOILT = 0.5  # of the loss at birth: what such a rate left there is not worth going back to
_FEW_EXAMPLES = 1000  # where it is not known on how many a panda is judged


def journal_facts(engine: Engine, record: StudyRecord) -> Facts:
    """Return a panda's journal as plain JSON values.

    Raises:
        UnknownDay: the study is no panda.
    """
    life, study = read_life(engine, record), from_body(record.body)
    curves = read_curves(engine, record.study_id)
    events = read_events(engine, record.study_id, "note", "went back", "born")
    return facts_of(record.name, study, life, curves, events)


def facts_of(name: str, study: Study, life: Life, curves: Curves, events: Sequence[EventRecord]) -> Facts:
    """Return what `journal_facts` does, of what was read."""
    born = next((e.detail for e in events if e.kind == "born"), {})
    examples = int(born.get("validation_examples", _FEW_EXAMPLES))
    all_branches = branches(life)
    branch_of = {day.number: i for i, branch in enumerate(all_branches) for day in branch}
    days, too_high, verdicts = list[Facts](), list[float](), list[Verdict]()
    for day in life.days:
        verdict = _verdict(study, life, day, curves, examples)
        verdicts.append(verdict)
        look = _look(life, day, curves, too_high)
        if look is not None and (verdict.word in ("diverged", "worse") or is_too_high(look)):
            too_high.append(look.rate)
        before = days[day.parent]["ended_with"] if day.parent is not None else {}
        own, branch = curves.get(day.number, ()), branch_of[day.number]
        days.append(_day_facts(study, life, day, own, verdict, branch, before, events))
    head = life.days[life.panda.head]
    advice = _advice(study, life, head, curves, verdicts[head.number], too_high)
    waits = any(n.state == "waiting" for n in life.nudges)
    return {
        "name": name, "model": study.model, "data": study.data, "metric": study.metric, "direction": study.direction,
        "day": {"epochs": life.panda.day_epochs, "seconds": life.panda.day_seconds},
        "origin": life.panda.origin, "head": life.panda.head,
        "branch": [day.number for day in all_branches[0]],
        "trains": next((day.holder for day in life.days if day.holder), None),
        "waiting": [_asked(n) for n in life.nudges if n.state == "waiting"],
        "dropped": [_asked(n) for n in life.nudges if n.state == "dropped"],
        "days": days,
        "advice": _advice_facts(name, advice) if advice and not waits else None,
        "best": _best(study, days),
    }  # fmt: skip


def _advice(
    study: Study, life: Life, head: DayRecord, curves: Curves, verdict: Verdict, too_high: Sequence[float]
) -> Advice | None:
    """Say what to do next; nothing of a day that is not over, and of the birth."""
    if head.state not in ("done", "abandoned") or head.number == BIRTH:
        return None
    look = _look(life, head, curves, too_high)
    if look is None or verdict.word in ("failed", "abandoned"):
        there = nearest_saved(life, head)
        return Advice(f"day {head.number} has no state to go on from", back=there.number if there else None)
    current = [(e.validation_loss, d.number) for d in path(life, head.number) for e in curves.get(d.number, ())]
    lowest = min(current)[1]
    there_is = lowest != head.number and life.days[lowest].saved
    return advise(look, verdict, study.scales(), lowest if there_is else None)


def _look(life: Life, day: DayRecord, curves: Curves, too_high: Sequence[float]) -> Look | None:
    """Return what there is to look at of a day, since what moves its weights was last nudged; None of the birth, and of
    one without an epoch."""
    own = curves.get(day.number, ())
    before = _before(life, day, curves)
    nudged = [n.epoch or 0 for n in life.nudges if n.day == day.number and _MOVES & n.settings.keys()]
    since = max((epoch for epoch in nudged if own and epoch < own[-1].epoch), default=day.begins_at)
    before += [epoch for epoch in own if epoch.epoch <= since]
    own = [epoch for epoch in own if epoch.epoch > since]
    there = nearest_saved(life, day)
    if not own or not before or there is None:
        return None
    while (last := curves.get(there.number)) and there.parent is not None:
        if last[-1].training_loss < _SPOILT * before[0].training_loss or last[-1].learning_rate < own[-1].learning_rate:
            break
        there = nearest_saved(life, there) or life.days[BIRTH]
    now = settings_at(day, life.nudges, own[-1].epoch - 1)
    return Look(before, own, now.settings, there.number, tuple(too_high))


def _before(life: Life, day: DayRecord, curves: Curves) -> list[Epoch]:
    """Return the epochs of the days that a day builds on."""
    return [epoch for earlier in path(life, day.number)[:-1] for epoch in curves.get(earlier.number, ())]


def _verdict(study: Study, life: Life, day: DayRecord, curves: Curves, examples: int) -> Verdict:
    if day.number == BIRTH:
        return Verdict("born" if day.ended == "complete" else "unfinished" if day.state != "done" else "failed")
    if day.violated:
        return Verdict(day.violated.replace("_", " "))
    if day.state != "done":
        return Verdict("abandoned" if day.state == "abandoned" else "unfinished")
    own = curves.get(day.number, ())
    before = _before(life, day, curves)
    if day.ended != "complete" or not own or not before:
        return Verdict("failed")
    whole = Look(before, own, day.settings, day.parent or BIRTH)
    return judge(whole, study.metric, maximize=study.maximize, examples=examples)


def _day_facts(
    study: Study, life: Life, day: DayRecord, own: Sequence[Epoch], verdict: Verdict, branch: int,
    before: Facts, events: Sequence[EventRecord],
) -> Facts:  # fmt: skip
    of_day = [n for n in life.nudges if n.day == day.number]
    return {
        "day": day.number, "parent": day.parent, "look": day.is_look, "state": day.state, "branch": branch,
        "current": branch == 0, "saved": day.saved,
        "began": day.began_at.isoformat() if day.began_at else None,
        "begins_at": day.begins_at, "epoch": day.epoch,
        "settings": dict(day.settings),
        "changed": {name: value for name, value in day.settings.items() if before.get(name) != value},
        "ended_with": dict(settings_at(day, life.nudges, day.epoch).settings),
        "why": "; ".join(n.why for n in of_day if n.why) or None,
        "nudges": [
            {"epoch": n.epoch, **_asked(n), "began_with_it": _began_with(day, n)}
            for n in of_day
        ],
        "epochs": [e.epoch for e in own],
        "curve": [_finite(e.value(study.metric)) for e in own],
        "training_loss": [_finite(e.training_loss) for e in own],
        "validation_loss": [_finite(e.validation_loss) for e in own],
        "seconds": sum(e.seconds for e in own),
        "verdict": {"word": verdict.word, "difference": verdict.difference, "noise": verdict.noise},
        "notes": [
            {"kind": e.kind, "at": e.at.isoformat(), **e.detail}
            for e in events if e.slot == day.number and e.kind in ("note", "went back")
        ],
    }  # fmt: skip


def _began_with(day: DayRecord, nudge: NudgeRecord) -> bool:
    """Say whether a nudge is in what its day began with; one of a day that waited for its first epoch is not."""
    return nudge.epoch == day.begins_at and nudge.settings.items() <= day.settings.items()


def _asked(nudge: NudgeRecord) -> Facts:
    return {"settings": dict(nudge.settings), "why": nudge.why, "by": nudge.by, "at": nudge.at.isoformat()}


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _advice_facts(name: str, advice: Advice) -> Facts:
    commands = []
    if advice.back is not None:
        commands.append(f"caviar panda back {name} --to {advice.back}")
    if advice.settings:
        words = " ".join(f"{setting}={value:g}" for setting, value in advice.settings.items())
        commands.append(f"caviar panda nudge {name} {words} --why {shlex.quote(advice.why.partition(':')[0])}")
    commands.append(f"caviar panda train {name}")
    return {"why": advice.why, "back": advice.back, "settings": dict(advice.settings), "commands": commands}


def _best(study: Study, days: Sequence[Facts]) -> Facts | None:
    """Return the best epoch of all branches."""
    found = [
        {"day": day["day"], "epoch": epoch, "value": value}
        for day in days
        for epoch, value in zip(day["epochs"], day["curve"], strict=True)
        if value is not None
    ]
    if not found:
        return None
    return max(found, key=lambda one: one["value"] * (1 if study.maximize else -1))
