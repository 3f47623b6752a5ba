"""The live page of a panda: where it stands, the tree of its days, its curve, its journal, and who trains it."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import Engine

from caviar.storage.definitions import load_study
from caviar.storage.events import read_events
from caviar.storage.fingerprints import Fingerprint
from caviar.storage.workers import read_workers
from caviar.studies.lifecycle.manager import progress
from caviar.studies.live.forms import Forms
from caviar.studies.live.html import View, badge, html, table
from caviar.studies.live.study import EVENTS, events, workers
from caviar.studies.live.svg import class_of, svg
from caviar.studies.panda.figures import branches, panda_figures
from caviar.studies.panda.journal import read_journal
from caviar.studies.panda.page import advice, columns, rows, standing
from caviar.studies.panda.records import Journal
from caviar.studies.results.formatting import number
from caviar.studies.results.summaries import state_of

_TITLES = {
    "tree": "The tree of its days; the thick line is the current branch",
    "curves": "Every branch, and where its days end; triangles are nudges",
}


def panda_view(engine: Engine, mark: Fingerprint, forms: Forms) -> View:
    """Return the page of a panda as it is now.

    Raises:
        StudyNotFound: it was deleted.
    """
    record = load_study(engine, mark.name)
    journal, now = read_journal(engine, record), progress(engine, record)
    state = "training" if journal.trains else "panda"
    by = f"; {journal.trains} trains it now" if journal.trains else ""
    control = forms.control(state_of(now))
    about = f"a panda: {journal.subject}; a day is {journal.day}{by}"
    days = table(columns(journal), rows(journal)[::-1], "the journal of its days")
    parts = {
        "state": f'<h1>{html(mark.name)} {badge(state)}</h1><p class="dim">{html(about)}</p>{control}',
        "standing": f"{standing(journal)}{''.join(_waiting(journal))}",
        "pictures": "".join(_pictures(journal)),
        "advice": advice(journal),
        "journal": f"<h2>The journal, the last day first</h2>{days}",
        "workers": workers(read_workers(engine, record.study_id)),
        "events": events(read_events(engine, record.study_id, last=EVENTS)),
    }
    return View(forms.version(mark.text), f"{mark.name}: day {journal.head}", parts)


def _waiting(journal: Journal) -> Iterator[str]:
    for nudge in journal.waiting:
        settings = ", ".join(f"{name} {number(value)}" for name, value in nudge.settings.items())
        why = f" ({nudge.why})" if nudge.why else ""
        yield f"<p>{html(f'waits for the next epoch: {settings}{why}, by {nudge.by}')}</p>"


def _pictures(journal: Journal) -> Iterator[str]:
    figures = panda_figures(journal)
    for name, title in _TITLES.items():
        yield f"<figure><figcaption>{title}</figcaption>{svg(figures[name], title)}</figure>"
    chips = "".join(f'<li><span class="chip {class_of(colour)}"></span>{html(what)}</li>'
                    for what, colour in branches(journal))  # fmt: skip
    yield f'<ul class="legend dim">{chips}</ul>'
