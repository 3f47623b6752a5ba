"""Render a study at one moment as text for a terminal, the same for `status`, `run` and `join`.

A pure function of a snapshot and of what the terminal can show: no database, no clock, no environment is read.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from caviar.storage.records import EventRecord, PhaseCount, RunningTrial
from caviar.storage.snapshot import CURVES, Snapshot
from caviar.storage.states import EventKind
from caviar.storage.status import Progress
from caviar.studies.cli.lines import Pieces, settings
from caviar.studies.cli.sparkline import ASCII, BLOCKS, ends, sparkline
from caviar.studies.definition import Study
from caviar.studies.results.formatting import number, of_planned
from caviar.studies.results.sentences import others_sentence, rare_ends, sentence, unkept_sentence
from caviar.studies.results.summaries import StudyState, state_of, values_of

_NARROW, _WIDE = 60, 100  # columns below which less is shown, and from which more is
_HOSTS = 4  # that are named
_CURVE = 16  # columns of a running trial's curve
_MESSAGE = 160  # characters of an event, at most
_ELSE, _WRAPPED = 16, 6  # lines besides the running trials, and further ones on a narrow screen
_TIERS = ("blue", "yellow", "green", "magenta")
_STATES = {
    StudyState.RUNNING: "cyan", StudyState.DONE: "bold green", StudyState.PAUSED: "yellow", StudyState.STOPPED: "red",
}  # fmt: skip


@dataclass(frozen=True)
class Screen:
    """The abilities of a terminal: columns, lines, and whether it shows more than ASCII. Rich decides on colours."""

    width: int = 80
    height: int = 40
    unicode: bool = True

    @property
    def blocks(self) -> str:
        """The characters of a curve's levels, the lowest first."""
        return BLOCKS if self.unicode else ASCII

    def bar(self, done: int, of: int, width: int, style: str) -> Text:
        """Return a progress bar, which is full only when everything is done."""
        full, rest = ("━", "─") if self.unicode else ("=", ".")
        columns = width * done // of if of else 0
        return Text.assemble((full * columns, style), (rest * (width - columns), "dim"))

    def text(self, line: str) -> str:
        """Return a line with a `?` for each character that this terminal cannot show."""
        return line if self.unicode else line.encode("ascii", "replace").decode()


def view(study: Study, snapshot: Snapshot, rate: str, screen: Screen) -> RenderableType:
    """Render a study: its progress with the pace in words, best value, running trials, workers and last events."""
    now = snapshot.progress
    state = state_of(now)
    title = (
        (study.name, "bold"),
        f"  {study.subject}, {study.strategy}  ",
        ("waiting for a worker" if state == StudyState.WAITING else state, _STATES.get(state, "")),
    )
    counts = f"{now.complete} complete, {now.pruned} pruned, {now.failed} failed, {now.diverged} diverged"
    counts += rare_ends(now)
    return Group(
        Text.assemble(*title),
        _total(now, rate, screen),
        _tiers(study, now, screen),
        Text(f"{counts};  {saved(study, now)}", style="dim"),
        *([] if state == StudyState.DONE else [Text(study.on_interruption, style="dim")]),
        *_others(now),
        *_unkept(now),
        *_best(study, snapshot, screen),
        *_running(study, snapshot, screen),
        *_workers(snapshot, screen),
        *_messages(snapshot, screen),
    )


def saved(study: Study, now: Progress) -> str:
    """Return in words how many epochs were trained, of those of the whole budget."""
    return f"{of_planned(now.epochs_trained, study.planned_epochs(now.budget))} epochs trained"


def phase_now(now: Progress) -> str:
    """Return the tier and phase that is searched now; empty if all are finished."""
    unfinished = next((p for p in now.phases if p.done < p.slots), None)
    return f"tier {unfinished.tier} {unfinished.phase}" if unfinished else ""


def _grid(rows: Sequence[Sequence[RenderableType]]) -> Table:
    grid = Table.grid(padding=(0, 2))
    for _ in rows[0]:
        grid.add_column(overflow="fold")  # an ellipsis is no ASCII
    for row in rows:
        grid.add_row(*row)
    return grid


def _total(now: Progress, rate: str, screen: Screen) -> Text:
    bar = screen.bar(now.done, now.budget, min(max(screen.width // 3, 10), 40), "bold cyan")
    return Text("  ").join([bar, Text(f"{now.done}/{now.budget} trials"), *([Text(rate)] if rate else [])])


def _tiers(study: Study, now: Progress, screen: Screen) -> RenderableType:
    """Return a bar for each tier with its best value, and its phases if there is room."""
    current, better = phase_now(now), max if study.maximize else min
    rows: list[list[RenderableType]] = []
    for tier, phases in _by_tier(now.phases):
        done, slots = sum(p.done for p in phases), sum(p.slots for p in phases)
        best = [t for t in (p.best for p in phases) if t is not None]
        colour = _TIERS[(tier - 1) % len(_TIERS)]
        row: list[RenderableType] = [
            Text(f"tier {tier}", colour),
            screen.bar(done, slots, min(screen.width // 4, 24), colour),
            f"{done}/{slots}",
            f"best {number(better(best))}" if best else "",
        ]
        if screen.width >= _NARROW:
            names = ((p.phase, "bold" if f"tier {tier} {p.phase}" == current else "dim") for p in phases)
            row.append(Text(", ").join(Text(*name) for name in names))
        rows.append(row)
    return _grid(rows)


def _by_tier(phases: Sequence[PhaseCount]) -> Iterator[tuple[int, list[PhaseCount]]]:
    for tier, of_tier in groupby(sorted(phases, key=lambda p: p.tier), key=lambda p: p.tier):
        yield tier, list(of_tier)


def _best(study: Study, snapshot: Snapshot, screen: Screen) -> Iterator[RenderableType]:
    best, trail = snapshot.progress.best, snapshot.trail
    if best is None or best.value is None:
        return
    parts = [(f"best {study.metric} ", ""), (number(best.value), "bold green"), (f" (trial {best.slot.number})", "")]
    if len(trail) > 1 and trail[0] != best.value:
        low, high = sorted((trail[0], trail[-1]))
        line = sparkline(trail, low, high, screen.blocks, width=min(max(screen.width // 3, 8), 40))
        change = f", {'up' if best.value > trail[0] else 'down'} from {number(trail[0])}"
        parts += [(change, "dim"), ("  ", ""), (line, "green")]
    yield Text.assemble(*parts)
    yield Pieces([screen.text(each) for each in settings(values_of(study, best))], style="dim")


def _others(now: Progress) -> Iterator[RenderableType]:
    if now.others.made:
        yield Text(others_sentence(now.others), style="yellow")


def _unkept(now: Progress) -> Iterator[RenderableType]:
    if now.unkept is not None:
        yield Text(unkept_sentence(now.unkept), style="yellow")


def _running(study: Study, snapshot: Snapshot, screen: Screen) -> Iterator[RenderableType]:
    running = snapshot.progress.running
    if not running:
        return
    room = screen.height - _ELSE - (_WRAPPED if screen.width < _NARROW else 0)
    shown = running[: max(2, min(CURVES, room))]
    curves = [curve for curve in snapshot.curves.values() if curve]
    low, high = ends(curves, maximize=study.maximize) if curves else (0.0, 1.0)
    yield _grid([_trial(study, r, snapshot.curves.get(r.trial, ()), low, high, screen) for r in shown])
    if len(running) > len(shown):
        yield Text(f"and {len(running) - len(shown)} more trials", style="dim")


def _trial(
    study: Study, r: RunningTrial, curve: Sequence[float], low: float, high: float, screen: Screen
) -> list[RenderableType]:
    planned, widest = study.epochs or 0, _CURVE if screen.width >= _NARROW else _CURVE // 2
    width = min(planned, widest) if planned else widest
    line = sparkline(curve, low, high, screen.blocks, width=max(width, 2), planned=planned) if curve else ""
    epochs = f"{r.epoch}/{planned}" if planned else str(r.epoch)
    colour = _TIERS[(r.tier - 1) % len(_TIERS)]
    row: list[RenderableType] = [Text(f"trial {r.trial}", colour), Text(line.ljust(width), colour)]
    if screen.width < _NARROW:
        return [*row, epochs, number(r.value)]
    row += [f"epoch {epochs}", number(r.value), f"tier {r.tier} {r.phase}"]
    return [*row, Text(screen.text(r.worker), style="dim")] if screen.width >= _WIDE else row


def _workers(snapshot: Snapshot, screen: Screen) -> Iterator[RenderableType]:
    hosts = [f"{host} {count}" for host, count in list(snapshot.hosts.items())[:_HOSTS]]
    hosts += [f"and {len(snapshot.hosts) - _HOSTS} more hosts"] if len(snapshot.hosts) > _HOSTS else []
    workers = f"workers: {', '.join(hosts)}" if hosts else ""
    lost = f"leases lost: {snapshot.lost}, taken over: {snapshot.taken_over}" if snapshot.lost else ""
    if workers or lost:
        yield Text("  " if workers and lost else "").join([Text(screen.text(workers)), Text(lost, style="yellow")])


def _messages(snapshot: Snapshot, screen: Screen) -> Iterator[RenderableType]:
    for event in (last for _, (*_, last) in groupby(snapshot.messages, key=_subject)):
        line = " ".join(screen.text(sentence(event)).split())
        line = line if len(line) <= _MESSAGE else f"{line[: _MESSAGE - 3]}..."
        yield Text.assemble((f"{event.at.astimezone():%H:%M:%S}", "dim"), "  ", line)


def _subject(event: EventRecord) -> object:
    """Return a key by which neighbouring events are one: workers that measure the same cohort size."""
    return "measured" if event.kind == EventKind.COHORT_SIZE and "why" not in event.detail else event
