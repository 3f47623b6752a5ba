"""One self-contained page of a panda's life: where it stands, its curves and branches, and its journal."""

from __future__ import annotations

from html import escape
from typing import Any

from caviar.studies.panda.figures import panda_figures
from caviar.studies.panda.length import length_told
from caviar.studies.results.formatting import number
from caviar.studies.results.report.document import card, document

Facts = dict[str, Any]
_TITLES = {
    "curves": "Its life: every branch, and what was nudged (triangles)",
    "losses": "Training (dotted) and validation loss",
    "tree": "The tree of its days: what it builds on is the thick line",
}


def panda_page(facts: Facts) -> str:
    """Return a panda's journal as one HTML document."""
    drawn = panda_figures(facts)
    pictures = "".join(f'<h2>{escape(_TITLES[n])}</h2><div class="figure" id="{n}"></div>' for n in drawn)
    columns = ["day", "builds on", "epochs", facts["metric"], "losses", "verdict", "begins with", "changed", "remarks"]
    length = length_told(facts["day"]["epochs"], facts["day"]["seconds"])
    body = f"""<h1>{escape(facts["name"])}</h1>
<p class="dim">{escape(f"a panda: {facts['model']} on {facts['data']}; a day is {length}{_origin(facts)}")}</p>
{_where(facts)}{_advice(facts)}{pictures}
<h2>The journal</h2>"""
    return document(f"{facts['name']}: a panda's life", body, drawn, columns, [_row(facts, d) for d in facts["days"]])


def _origin(facts: Facts) -> str:
    origin = facts["origin"]
    return f"; born from trial {origin['trial']} of {origin['study']}" if origin else ""


def _where(facts: Facts) -> str:
    head, best = facts["days"][facts["head"]], facts["best"]
    cards = [card(number(head["curve"][-1]), f"{facts['metric']} on day {head['day']}")] if head["curve"] else []
    if best:
        cards.append(card(number(best["value"]), f"the best: day {best['day']}, epoch {best['epoch']}"))
    cards.append(card(head["verdict"]["word"], f"day {head['day']} against the day before"))
    values = [card(number(value), name) for name, value in head["ended_with"].items()]
    return f'<div class="cards">{"".join(cards)}</div><div class="cards">{"".join(values)}</div>'


def _advice(facts: Facts) -> str:
    advice = facts["advice"]
    if not advice:
        return ""
    commands = "<br>".join(f"<code>{escape(command)}</code>" for command in advice["commands"])
    return f"<h2>What its curve says</h2><p>{escape(advice['why'])}</p><p>{commands}</p>"


def _row(facts: Facts, day: Facts) -> list[str]:
    last = {of: number(day[of][-1]) if day[of] else "-" for of in ("curve", "training_loss", "validation_loss")}
    remarks = [n["text"] if n["kind"] == "note" else f"went back here from day {n['came_from']}" for n in day["notes"]]
    mark = " (here)" if day["day"] == facts["head"] else "" if day["current"] else " (left)"
    return [
        f"{day['day']}{mark}", "-" if day["parent"] is None else str(day["parent"]),
        f"{day['begins_at']} to {day['epoch']}", last["curve"],
        f"{last['training_loss']} / {last['validation_loss']}", day["verdict"]["word"], _told(day["changed"]),
        "; ".join(
            f"after epoch {n['epoch']}: {_told(n['settings'])}{' (' + n['why'] + ')' if n['why'] else ''}"
            for n in day["nudges"]
        ),
        "; ".join(remarks),
    ]  # fmt: skip


def _told(settings: Facts) -> str:
    return ", ".join(f"{name} {number(value)}" for name, value in settings.items())
