"""The live page of a search: how far it is, what is best, who trains what, and what happened last."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from sqlalchemy import Engine

from caviar.storage.curves import read_curve
from caviar.storage.definitions import load_study
from caviar.storage.events import read_events
from caviar.storage.fingerprints import Fingerprint
from caviar.storage.records import EventRecord, StudyRecord, WorkerSummary
from caviar.storage.snapshot import CURVES, Snapshot, read_snapshot
from caviar.storage.states import EventKind, Phase
from caviar.storage.status import Progress
from caviar.storage.workers import read_workers
from caviar.studies.definition import Study
from caviar.studies.lifecycle.manager import definition_of
from caviar.studies.live.curves import running_curves, trail
from caviar.studies.live.end import read_end
from caviar.studies.live.forms import Forms
from caviar.studies.live.html import Html, View, age, badge, bar, html, table
from caviar.studies.live.seconds import Seconds
from caviar.studies.live.svg import svg
from caviar.studies.results.formatting import alike, duration, number, of_planned
from caviar.studies.results.report.document import card, steps_list
from caviar.studies.results.report.reading import read_steps
from caviar.studies.results.sentences import others_sentence, rare_ends, sentence, study_in_words, unkept_sentence
from caviar.studies.results.summaries import StudyState, state_of, values_of

_STILL = '<p class="dim">Who won, by its neighbours too and not by one lucky value, is said at the end.</p>'
EVENTS = 12  # the last ones, that are shown


@dataclass
class Memory:
    """What was read for the page of a search, of its spent slots: it is the same until one more is spent."""

    study_id: int = -1
    snapshot: Snapshot | None = None
    seconds: Seconds = field(default_factory=Seconds)

    def read(self, engine: Engine, record: StudyRecord, *, maximize: bool) -> tuple[Snapshot, float]:
        """Return a search as it is now, and the seconds of its training."""
        before = self.snapshot if self.study_id == record.study_id else None
        now = read_snapshot(engine, record, maximize=maximize, before=before)
        self.study_id, self.snapshot = record.study_id, now
        return now, self.seconds.read(engine, record.study_id, now.progress.done)


def study_view(engine: Engine, mark: Fingerprint, forms: Forms, memory: Memory) -> View:
    """Return the page of a search as it is now.

    Args:
        memory: that of the page at this study's name; it is brought up to date.

    Raises:
        StudyNotFound: it was deleted.
    """
    record = load_study(engine, mark.name)
    study = definition_of(record)
    snapshot, seconds = memory.read(engine, record, maximize=study.maximize)
    now, study_id = snapshot.progress, record.study_id
    best = read_curve(engine, study_id, now.best.slot.number) if now.best and now.running else []
    end = read_end(engine, record, now.best) if state_of(now) == StudyState.DONE else None
    parts = {
        "state": _state(study, now, forms),
        "progress": _progress(study, now, seconds),
        "tiers": _tiers(now),
        "best": f"{end.won}{_best(study, snapshot)}" if end else f"{_best(study, snapshot)}{_STILL}",
        "steps": end.steps if end else steps_list(read_steps(engine, record, now=now)),
        "running": _running(study, snapshot, [epoch.value(study.metric) for epoch in best], forms),
        "workers": workers(read_workers(engine, study_id)),
        "events": events(read_events(engine, study_id, last=EVENTS)),
    }
    return View(forms.version(mark.text), f"{study.name}: {state_of(now)} {now.done}/{now.budget}", parts)


def _state(study: Study, now: Progress, forms: Forms) -> str:
    state = state_of(now)
    about = study_in_words(study, now.budget)
    how = {
        StudyState.PAUSED: "Its workers wait.",
        StudyState.STOPPED: "Its workers have left.",
        StudyState.WAITING: "No worker trains it.",
    }
    return (
        f"<h1>{html(study.name)} {badge(state)}</h1><p class='dim'>{html(about)}</p>"
        f"{f'<p>{how[state]}</p>' if state in how else ''}{forms.control(state)}"
    )


def _progress(study: Study, now: Progress, seconds: float) -> str:
    cards = [
        card(f"{now.done}/{now.budget}", "trials done"),
        card(number(now.best.value) if now.best else "-", f"best {study.metric} so far"),
        *_over_the_default(study, now),
        card(of_planned(now.epochs_trained, study.planned_epochs(now.budget)), "epochs trained, of the whole budget"),
        card(duration(seconds), "of training, all workers together"),
        card(str(now.workers), "workers that train now"),
    ]
    counts = f"{now.complete} complete, {now.pruned} pruned, {now.failed} failed, {now.diverged} diverged"
    lines = [counts + rare_ends(now)]
    lines += [others_sentence(now.others)] if now.others.made else []
    lines += [unkept_sentence(now.unkept)] if now.unkept is not None else []
    below = "".join(f'<p class="dim">{html(line)}</p>' for line in lines)
    return f'{bar(now.done, now.budget, "trials done")}<div class="cards">{"".join(cards)}</div>{below}'


def _tiers(now: Progress) -> str:
    current = next((p for p in now.phases if p.done < p.slots), None)
    rows = [
        (
            Html(f'<span class="chip t{(p.tier - 1) % 4 + 1}"></span>{p.tier}'),
            Html(f"<strong>{html(p.phase)}</strong> (now)") if p is current else p.phase,
            Html(f"{bar(p.done, p.slots, f'tier {p.tier} {p.phase}')} {p.done}/{p.slots}"),
            number(p.best),
        )
        for p in now.phases
    ]
    return f"<h2>Tiers and phases</h2>{table(('tier', 'phase', 'done', 'best'), rows, 'tiers and phases')}"


def _best(study: Study, snapshot: Snapshot) -> str:
    best = snapshot.progress.best
    if best is None:
        return "<h2>Best so far</h2><p>No trial is complete yet.</p>"
    values = "".join(card(number(value), name) for name, value in values_of(study, best).items())
    drawn = svg(trail(snapshot), f"the best {study.metric} over the trials that have ended")
    picture = f"<figure><figcaption>Best {html(study.metric)} as trials ended</figcaption>{drawn}</figure>"
    head = "Best value" if state_of(snapshot.progress) == StudyState.DONE else "Best so far"
    return (
        f"<h2>{head}: trial {best.slot.number}, {html(study.metric)} {number(best.value)}</h2>"
        f'<div class="cards">{values}</div>{picture if len(snapshot.trail) > 1 else ""}'
    )


def _over_the_default(study: Study, now: Progress) -> Iterator[str]:
    """Yield the gain over the default so far, which is of one training of each; in the end `_won` says more."""
    default = next((p.best for p in now.phases if p.phase == Phase.DEFAULT), None)
    if default is None or now.best is None or now.best.value is None or state_of(now) == StudyState.DONE:
        return
    by = now.best.value - default if study.maximize else default - now.best.value
    yield card(alike(by, sign="+")[0], "over the default so far, one training of each")


def _running(study: Study, snapshot: Snapshot, best: list[float | None], forms: Forms) -> str:
    running = snapshot.progress.running
    if not running:
        return "<h2>Running trials</h2><p>None.</p>"
    columns = ["trial", "tier", "epoch", study.metric, "worker"]
    rows: list[list[object]] = [
        [
            Html(f'<span class="chip t{(r.tier - 1) % 4 + 1}"></span>{r.trial}'),
            f"{r.tier} {r.phase}", of_planned(r.epoch, study.epochs), number(r.value), r.worker,
        ]
        for r in running
    ]  # fmt: skip
    if forms.token is not None:
        columns.append("end it")
        rows = [[*row, forms.end(r.trial, is_asked=r.is_killed)] for row, r in zip(rows, running, strict=True)]
    drawn = ""
    if any(snapshot.curves.values()):
        picture = svg(running_curves(study, snapshot, best), f"the curves of the running trials, {study.metric}")
        which = (
            f"the first {CURVES} of {len(running)} running trials" if len(running) > CURVES else "the running trials"
        )
        caption = f"{study.metric} of {which}{', and of the best one (dotted)' if best else ''}"
        drawn = f"<figure><figcaption>{html(caption)}</figcaption>{picture}</figure>"
    return f"<h2>Running trials</h2>{drawn}{table(columns, rows, 'running trials')}"


def workers(everyone: list[WorkerSummary]) -> str:
    """Return the workers that are there, and how many have gone."""
    now, there = datetime.now(UTC), [worker for worker in everyone if worker.is_present]
    has_jobs = any(w.job for w in there)
    columns = ("host", "process", *(["job"] if has_jobs else []), "device", "state", "trials", "lease renewed")
    rows = [
        (
            w.host, w.pid, *([w.job or "-"] if has_jobs else []), w.device,
            Html(f"{badge(w.state)}{' leaving' if w.is_leaving else ''}"),
            ", ".join(f"{t.trial} (epoch {t.epoch})" for t in w.trials) or "-",
            age(now - timedelta(seconds=w.silent_seconds), now),
        )
        for w in there
    ]  # fmt: skip
    body = table(columns, rows, "workers") if rows else "<p>None.</p>"
    gone = f'<p class="dim">Left or lost: {len(everyone) - len(there)}.</p>' if len(everyone) > len(there) else ""
    return f"<h2>Workers</h2>{body}{gone}"


def events(last: list[EventRecord]) -> str:
    """Return the last events, the newest first; losses and what took them over stand out."""
    return f'<h2>What happened last</h2><ul class="events">{"".join(_events(last))}</ul>'


def _events(last: list[EventRecord]) -> Iterator[str]:
    loud = (EventKind.LEASE_EXPIRED, EventKind.WORKER_DIED, EventKind.ABANDONED, EventKind.TAKEN_OVER)
    for event in reversed(last):
        by = f" ({event.worker})" if event.worker else ""
        line = html(f"{' '.join(sentence(event).split())}{by}"[:300])
        yield f"<li>{age(event.at)} {f'<strong>{line}</strong>' if event.kind in loud else line}</li>"
