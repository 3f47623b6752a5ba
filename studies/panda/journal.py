"""A panda's life as plain facts: its days, what was changed and why, their curves, and what they say."""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Engine

from storage.curves import read_curves
from storage.events import read_events
from storage.pandas import BIRTH, DayRecord, Life, read_life
from storage.records import EpochRecord, EventRecord, StudyRecord
from studies.definition import Study, from_body
from studies.panda.advice import Advice, Look, Verdict, advise, is_too_high, judge
from studies.panda.lineage import branches, path
from studies.panda.settings import settings_at

Facts = dict[str, Any]
Curves = Mapping[int, Sequence[EpochRecord]]
_FEW_EXAMPLES = 1000  # where it is not known on how many a panda is judged


def journal_facts(engine: Engine, record: StudyRecord) -> Facts:
    """Return a panda's journal as plain JSON values.

    Raises:
        NotThatDay: the study is no panda.
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
    days, too_high = list[Facts](), list[float]()
    for day in life.days:
        look = _look(life, day, curves, too_high)
        verdict = _verdict(study, day, look, examples)
        if look is not None and (verdict.word in ("diverged", "worse") or is_too_high(look)):
            too_high.append(float(look.settings["learning_rate"]))
        days.append(_day_facts(study, life, day, curves.get(day.number, ()), verdict, branch_of[day.number], events))
    head = life.days[life.panda.head]
    advice = None
    look = _look(life, head, curves, too_high)
    if look is not None:
        advice = advise(look, _verdict(study, head, look, examples), study.scales())
    waiting = [n for n in life.nudges if n.state == "waiting"]
    return {
        "name": name, "model": study.model, "data": study.data, "metric": study.metric, "direction": study.direction,
        "day": {"epochs": life.panda.day_epochs, "seconds": life.panda.day_seconds},
        "origin": life.panda.origin, "head": life.panda.head,
        "branch": [day.number for day in all_branches[0]],
        "trains": next((day.holder for day in life.days if day.holder), None),
        "waiting": [{"settings": dict(n.settings), "why": n.why, "by": n.by} for n in waiting],
        "days": days,
        "advice": _advice_facts(name, advice) if advice and not waiting else None,
        "best": _best(study, days),
    }  # fmt: skip


def _look(life: Life, day: DayRecord, curves: Curves, too_high: Sequence[float]) -> Look | None:
    """Return what there is to look at of a day; None of the birth, and of one without an epoch."""
    own = curves.get(day.number, ())
    if day.parent is None or not own:
        return None
    before = [epoch for earlier in path(life, day.parent) for epoch in curves.get(earlier.number, ())]
    rate, earlier = (
        settings_at(d, life.nudges, epoch).settings["learning_rate"]
        for d, epoch in ((day, own[-1].epoch - 1), (life.days[day.parent], day.begins_at - 1))
    )
    now = settings_at(day, life.nudges, own[-1].epoch - 1)
    if not before:
        return None
    return Look(before, own, now.settings, day.parent, tuple(too_high), raised=day.parent != BIRTH and rate > earlier)


def _verdict(study: Study, day: DayRecord, look: Look | None, examples: int) -> Verdict:
    if day.number == BIRTH:
        return Verdict("born")
    if day.violated:
        return Verdict("diverged")
    if day.state != "done" or look is None:
        return Verdict("abandoned" if day.state == "abandoned" else "unfinished")
    return judge(look, study.metric, maximize=study.maximize, examples=examples)


def _day_facts(
    study: Study, life: Life, day: DayRecord, own: Sequence[EpochRecord], verdict: Verdict, branch: int,
    events: Sequence[EventRecord],
) -> Facts:  # fmt: skip
    of_day = [n for n in life.nudges if n.day == day.number]
    return {
        "day": day.number, "parent": day.parent, "look": day.is_look, "state": day.state, "branch": branch,
        "current": branch == 0, "saved": day.saved,
        "began": day.began_at.isoformat() if day.began_at else None,
        "begins_at": day.begins_at, "epoch": day.epoch,
        "settings": dict(day.settings),
        "ended_with": dict(settings_at(day, life.nudges, day.epoch).settings),
        "why": "; ".join(n.why for n in of_day if n.why) or None,
        "nudges": [
            {"epoch": n.epoch, "settings": dict(n.settings), "why": n.why, "by": n.by, "at": n.at.isoformat()}
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
