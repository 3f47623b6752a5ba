"""`caviar panda log`: the journal of one model's life."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Group, RenderableType
from rich.text import Text

import caviar
from caviar.studies.cli.lines import Pieces, hanging, indented, settings, settings_line
from caviar.studies.cli.options import AsJson, Database
from caviar.studies.cli.output import out, print_json, unicode
from caviar.studies.cli.panda.standing import Name
from caviar.studies.cli.sparkline import ASCII, BLOCKS, ends, sparkline
from caviar.studies.results.formatting import number

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from caviar.studies.panda.records import Journal, JournalDay, Nudge

_REFRESH_SECONDS = 1.0
_BELOW = 6  # columns before what belongs to a day
_COLOURS = {"better": "green", "worse": "red", "diverged": "red", "unfinished": "dim", "abandoned": "dim"}


def log(
    name: Name,
    watch: Annotated[bool, typer.Option("--watch", help="Follow it live, until Ctrl-C.")] = False,
    as_json: AsJson = False,
    database: Database = None,
) -> None:
    """Show the journal: each day with its settings, what changed and why, its curve, and what that says.

    Advice comes with its reason, and is never followed by itself. Branches that were left are dimmed.

    Examples: caviar panda log baby, caviar panda log baby --watch

    In Python: caviar.panda.log("baby")
    """
    show_log(name, watch=watch, as_json=as_json, database=database)


def show_log(name: str, *, watch: bool, as_json: bool, database: str | Engine | None) -> None:
    """Show the journal of a panda; with `watch` live, if stdout is a terminal."""
    if watch and not as_json and out().is_terminal:
        _watch(name, database)
        return
    journal = caviar.panda.log(name, database=database)
    if as_json:
        print_json(journal)
    else:
        out().print(journal_view(journal))


def _watch(name: str, database: str | Engine | None) -> None:
    from rich.live import Live

    from caviar.studies.api.session import watching
    from caviar.studies.workers.local.signals import Stop

    with caviar.connect(database) as engine:

        def newest() -> Group:
            return _last_screen(caviar.panda.log(name, database=engine))

        with Stop() as stop, Live(newest(), console=out(), auto_refresh=False) as live:
            outage = watching(lambda: stop.asked)
            while not stop.asked:
                time.sleep(_REFRESH_SECONDS)
                live.update(outage.insist(newest), refresh=True)


def _last_screen(journal: Journal) -> Group:
    """Return as much of the end of the journal as the terminal has rows for."""
    lines, rows = list[Any](), 0
    for line in reversed(journal_view(journal).renderables):
        rows += len(out().render_lines(line))
        if rows >= out().height:
            break
        lines.insert(0, line)
    return Group(*lines)


def journal_view(journal: Journal) -> Group:
    """Return a journal as a terminal shows it."""
    from caviar.studies.panda.steps import panda_steps

    origin = journal.origin
    born = f", from trial {origin.trial} of {origin.study}, epoch {origin.epoch}" if origin else ""
    lines: list[RenderableType] = [Text.assemble((journal.name, "bold"), f": {journal.subject}{born}")]
    low, high = ends([day.finite_curve for day in journal.days], maximize=journal.direction == "maximize")
    for day in journal.days:
        lines += _day(journal, day, low, high)
    if journal.trains:
        lines.append(Text(f"{journal.trains} trains it now", style="cyan"))
    lines += [Text(f"waits for the next epoch: {_change(nudge)}", style="yellow") for nudge in journal.waiting]
    lines += [
        Text(f"dropped before it took effect, by going back: {_change(nudge)}", style="dim")
        for nudge in journal.dropped
    ]
    if journal.best:
        best = journal.best
        lines.append(Text(f"best: {number(best.value)} on day {best.day}, epoch {best.epoch}"))
    if journal.advice:
        lines.append(Text(f"advice: {journal.advice.why}", style="bold"))
    lines += [
        Pieces([Text(f"  {step.command}", "cyan"), Text(f"({step.why})", "dim")], below=_BELOW)
        for step in panda_steps(journal)
    ]
    return Group(*lines)


def _change(nudge: Nudge) -> str:
    return f"{settings_line(nudge.settings)}{_because(nudge.why)}"


def _because(why: str | None) -> str:
    return f"  ({why})" if why else ""


def _day(journal: Journal, day: JournalDay, low: float, high: float) -> list[RenderableType]:
    """Return the lines of a day: its curve and verdict, what was changed, and the remarks."""
    style = "" if day.current else "dim"
    why = "; ".join(nudge.why for nudge in day.nudges if nudge.began_with_it and nudge.why)
    lines: list[RenderableType] = [_summary(journal, day, low, high)]
    if day.changed:
        lines.append(indented(Pieces([*settings(day.changed), *([f"({why})"] if why else [])], style=style), _BELOW))
    lines += [
        hanging(f"{' ' * _BELOW}after epoch {nudge.epoch}: {_change(nudge)}", style=style)
        for nudge in day.nudges
        if not nudge.began_with_it
    ]
    lines += [
        hanging(f"{' ' * _BELOW}{remark.at.astimezone():%Y-%m-%d %H:%M} {remark.by}: {remark}", style=style or "italic")
        for remark in day.notes
    ]
    return lines


def _summary(journal: Journal, day: JournalDay, low: float, high: float) -> Pieces:
    """Return the first line of a day."""
    style = "" if day.current else "dim"
    mark = ">" if day.day == journal.head else " " if day.current else "x"
    from_ = f" from day {day.parent}" if day.parent is not None and day.parent != day.day - 1 else ""
    curve = sparkline(day.finite_curve, low, high, BLOCKS if unicode() else ASCII)
    losses = f"{number(day.last('training_loss'))} / {number(day.last('validation_loss'))}"
    pieces: list[str | Text] = [
        f"{mark} {day.kind} {day.day}{from_}", curve, f"{journal.metric} {number(day.last('curve'))}",
        f"losses {losses}", Text(str(day.verdict), style or _COLOURS.get(day.verdict.word, "")),
    ]  # fmt: skip
    return Pieces(pieces, style=style, below=_BELOW)
