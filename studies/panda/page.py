"""Write one self-contained page of a panda's life: where it stands, its curves and branches, and its journal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

from caviar.studies.panda.figures import panda_figures
from caviar.studies.panda.records import Journal, JournalDay
from caviar.studies.panda.steps import panda_steps
from caviar.studies.results.formatting import number
from caviar.studies.results.report.document import card, document, steps_list

_TITLES = {
    "curves": "Its life: every branch, and the nudges (triangles)",
    "losses": "Training (dotted) and validation loss",
    "tree": "The tree of its days: the thick line is the current branch",
}


def panda_page(journal: Journal) -> str:
    """Return a panda's journal as one HTML document."""
    figures = panda_figures(journal)
    pictures = "".join(f'<h2>{escape(_TITLES[name])}</h2><div class="figure" id="{name}"></div>' for name in figures)
    origin = journal.origin
    born = f"; born from trial {origin.trial} of {origin.study}" if origin else ""
    body = f"""<h1>{escape(journal.name)}</h1>
<p class="dim">{escape(f"a panda: {journal.subject}; a day is {journal.day}{born}")}</p>
{standing(journal)}{advice(journal)}{pictures}
<h2>The journal</h2>"""
    return document(f"{journal.name}: a panda's life", body, figures, columns(journal), rows(journal))


def standing(journal: Journal) -> str:
    """Return where a panda stands, and its settings, as HTML."""
    head, best = journal.last_day, journal.best
    cards = [card(number(head.last("curve")), f"{journal.metric} on day {head.day}")] if head.curve else []
    if best:
        cards.append(card(number(best.value), f"the best: day {best.day}, epoch {best.epoch}"))
    cards.append(card(head.verdict.word, f"day {head.day} against the day before"))
    settings = [card(number(value), name) for name, value in head.ended_with.items()]
    return f'<div class="cards">{"".join(cards)}</div><div class="cards">{"".join(settings)}</div>'


def advice(journal: Journal) -> str:
    """Return what its curve says, and what to do next, as HTML."""
    says = f"<h2>What its curve says</h2><p>{escape(journal.advice.why)}</p>" if journal.advice else ""
    return says + steps_list(panda_steps(journal))


def columns(journal: Journal) -> list[str]:
    """Return the heads of the journal's table."""
    return ["day", "epochs", journal.metric, "losses", "verdict", "changed, and why", "remarks"]


def rows(journal: Journal) -> list[list[str]]:
    """Return the journal's days as rows of a table."""
    return [_row(journal, day) for day in journal.days]


def _row(journal: Journal, day: JournalDay) -> list[str]:
    mark = " (here)" if day.day == journal.head else "" if day.current else " (left)"
    builds_on = f" from {day.parent}" if day.parent is not None and day.parent != day.day - 1 else ""
    return [
        f"{day.day}{builds_on}{mark}", f"{day.begins_at} to {day.epoch}", number(day.last("curve")),
        f"{number(day.last('training_loss'))} / {number(day.last('validation_loss'))}", day.verdict.word,
        "; ".join(_changes(day)), "; ".join(map(str, day.notes)),
    ]  # fmt: skip


def _changes(day: JournalDay) -> Iterator[str]:
    """Yield what a day began with and the one before did not end with, and the nudges in its middle, each with the
    reason."""
    reasons = "; ".join(nudge.why for nudge in day.nudges if nudge.began_with_it and nudge.why)
    if day.changed:
        yield f"{_settings(day.changed)}{f' ({reasons})' if reasons else ''}"
    for nudge in day.nudges:
        if not nudge.began_with_it:
            yield f"after epoch {nudge.epoch}: {_settings(nudge.settings)}{f' ({nudge.why})' if nudge.why else ''}"


def _settings(settings: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {number(value)}" for name, value in settings.items())
