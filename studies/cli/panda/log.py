"""`caviar panda log`: the journal of one model's life."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Group
from rich.text import Text

from caviar.studies.cli.output import AsJson, DatabaseUrl, database, out, print_json, settings_line, unicode
from caviar.studies.cli.panda.at_work import Name, verdict_told
from caviar.studies.cli.sparkline import ASCII, BLOCKS, ends, sparkline
from caviar.studies.results.formatting import number

if TYPE_CHECKING:
    from sqlalchemy import Engine

_LOOK_SECONDS = 1.0
_COLOURS = {"better": "green", "worse": "red", "diverged": "red", "unfinished": "dim", "abandoned": "dim"}


def log(
    name: Name,
    watch: Annotated[bool, typer.Option("--watch", help="Follow it live, until Ctrl-C.")] = False,
    as_json: AsJson = False,
    database_url: DatabaseUrl = None,
) -> None:
    """Show the journal: each day with its settings, what changed and why, its curve, and what that says.

    Advice comes with its reason, and is never followed by itself. Branches that were left are dimmed.

    Examples: caviar panda log baby, caviar panda log baby --watch
    """
    with database(database_url) as engine:
        show_log(engine, name, watch=watch, as_json=as_json)


def show_log(engine: Engine, name: str, *, watch: bool, as_json: bool) -> None:
    """Show the journal of a panda; live on a terminal, if that is wanted."""
    if as_json:
        print_json(_read(engine, name))
    elif watch and out().is_terminal:
        _watch(engine, name)
    else:
        out().print(journal(_read(engine, name)))


def _read(engine: Engine, name: str) -> dict[str, Any]:
    from caviar.storage.definitions import load_study
    from caviar.studies.panda.journal import journal_facts

    return journal_facts(engine, load_study(engine, name))


def _watch(engine: Engine, name: str) -> None:
    from rich.live import Live

    from caviar.studies.workers.local.signals import Stop

    def newest() -> Group:
        """Return as much of the end of the journal as the terminal has rows for."""
        lines, rows = list[Any](), 0
        for line in reversed(journal(_read(engine, name)).renderables):
            rows += len(out().render_lines(line))
            if rows >= out().height:
                break
            lines.insert(0, line)
        return Group(*lines)

    with Stop() as stop, Live(newest(), console=out(), auto_refresh=False) as live:
        while not stop.asked:
            time.sleep(_LOOK_SECONDS)
            live.update(newest(), refresh=True)


def journal(facts: dict[str, Any]) -> Group:
    """Return a journal as a terminal shows it."""
    lines = [Text.assemble((facts["name"], "bold"), f": {facts['model']} on {facts['data']}{_origin(facts)}")]
    curves = [[value for value in day["curve"] if value is not None] for day in facts["days"]]
    low, high = ends(curves, maximize=facts["direction"] == "maximize")
    for day in facts["days"]:
        lines += _day(facts, day, low, high)
    if facts["trains"]:
        lines.append(Text(f"{facts['trains']} trains it now", style="cyan"))
    for waiting in facts["waiting"]:
        why = f" ({waiting['why']})" if waiting["why"] else ""
        lines.append(Text(f"waits for the next epoch: {settings_line(waiting['settings'])}{why}", style="yellow"))
    for dropped in facts["dropped"]:
        told = f"never took effect, since one went back: {settings_line(dropped['settings'])}"
        lines.append(Text(f"{told}{' (' + dropped['why'] + ')' if dropped['why'] else ''}", style="dim"))
    if facts["best"]:
        best = facts["best"]
        lines.append(Text(f"best: {number(best['value'])} on day {best['day']}, epoch {best['epoch']}"))
    if facts["advice"]:
        lines.append(Text(f"advice: {facts['advice']['why']}", style="bold"))
        lines += [Text(f"  {command}", style="cyan") for command in facts["advice"]["commands"]]
    return Group(*lines)


def _day(facts: dict[str, Any], day: dict[str, Any], low: float, high: float) -> list[Text]:
    """Return the lines of a day: what was changed, the curve, the verdict, the remarks."""
    style = "" if day["current"] else "dim"
    mark = ">" if day["day"] == facts["head"] else " " if day["current"] else "x"
    parent = day["parent"]
    from_ = f" from day {parent}" if parent is not None and parent != day["day"] - 1 else ""
    kind = "look" if day["look"] else "day"
    curve = sparkline([v for v in day["curve"] if v is not None], low, high, BLOCKS if unicode() else ASCII)
    last = {of: number(day[of][-1]) if day[of] else "-" for of in ("curve", "training_loss", "validation_loss")}
    verdict = day["verdict"]
    lines = [
        Text.assemble(
            f"{mark} {kind} {day['day']}{from_}  {curve}  {facts['metric']} {last['curve']}  "
            f"losses {last['training_loss']} / {last['validation_loss']}  ",
            (verdict_told(verdict), style or _COLOURS.get(verdict["word"], "")),
            style=style,
        )
    ]
    why = "; ".join(n["why"] for n in day["nudges"] if n["began_with_it"] and n["why"])
    if day["changed"]:
        lines.append(Text(f"      {settings_line(day['changed'])}{f'  ({why})' if why else ''}", style=style))
    for nudge in day["nudges"]:
        if not nudge["began_with_it"]:
            told = f"  ({nudge['why']})" if nudge["why"] else ""
            lines.append(
                Text(f"      after epoch {nudge['epoch']}: {settings_line(nudge['settings'])}{told}", style=style)
            )
    for note in day["notes"]:
        told = note["text"] if note["kind"] == "note" else f"went back here from day {note['came_from']}"
        lines.append(Text(f"      {note['at'][:16].replace('T', ' ')} {note['by']}: {told}", style=style or "italic"))
    return lines


def _origin(facts: dict[str, Any]) -> str:
    origin = facts["origin"]
    return f", from trial {origin['trial']} of {origin['study']}, epoch {origin['epoch']}" if origin else ""
