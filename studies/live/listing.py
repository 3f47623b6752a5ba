"""The page at `/`: all studies of the database, and how far each is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from sqlalchemy import Engine

from caviar.storage.definitions import find_study
from caviar.storage.errors import StudyDeleted
from caviar.storage.events import read_events
from caviar.storage.fingerprints import Fingerprint, read_fingerprints
from caviar.storage.states import EventKind
from caviar.studies.lifecycle.manager import definition_of, progress
from caviar.studies.live.html import Html, View, age, badge, bar, html, link, table, version_of
from caviar.studies.live.seconds import Seconds
from caviar.studies.live.shared import Shared
from caviar.studies.results.formatting import duration, number, of_planned
from caviar.studies.results.summaries import StudyState, StudyStatus, study_status

_COLUMNS = ("study", "state", "done", "best", "cost", "begun by", "last sign of life")
_UNKNOWN = "-"  # an older Caviar did not record who began a study

Row = tuple[bool, Sequence[object]]  # whether the study is done, and its cells but for the last


class Listing:
    """The list of studies, of which only those are read again that have changed."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._rows: dict[str, tuple[str, Row]] = {}  # by name, with the fingerprint of the study
        self._seconds: dict[str, Seconds] = {}  # by name
        self.shared = Shared(lambda: read_fingerprints(engine), self._view)

    def _view(self, marks: Mapping[str, Fingerprint]) -> View:
        rows = {name: (mark.text, self._row(mark)) for name, mark in marks.items()}
        self._rows = {name: (text, row) for name, (text, row) in rows.items() if row is not None}
        self._seconds = {name: seconds for name, seconds in self._seconds.items() if name in self._rows}
        now = datetime.now(UTC)
        shown = [(done, [*cells, age(marks[name].last_seen, now)]) for name, (_, (done, cells)) in self._rows.items()]
        cells = [each for _, each in sorted(shown, key=lambda row: row[0])]  # those that are not done come first
        body = table(_COLUMNS, cells, "studies") if cells else Html(
            "<p>There are no studies yet; begin one with: <code>caviar run digits</code></p>"
        )  # fmt: skip
        return View(
            version_of(*(mark.text for mark in marks.values())),
            "Caviar's studies",
            {"studies": f"<h1>Studies</h1>{body}"},
        )

    def _row(self, mark: Fingerprint) -> Row | None:
        """Return the row of a study; None if it was deleted since its fingerprint was taken."""
        text, row = self._rows.get(mark.name, ("", None))
        if row is not None and text == mark.text:
            return row
        try:
            record = find_study(self._engine, mark.name)
        except StudyDeleted:
            return None
        if record is None:
            return None
        now = study_status(record, definition_of(record), progress(self._engine, record))
        seconds = self._seconds.setdefault(mark.name, Seconds()).read(self._engine, record.study_id, now.done)
        created = read_events(self._engine, record.study_id, EventKind.CREATED, last=1)
        owner = created[0].detail.get("by", _UNKNOWN) if created else _UNKNOWN
        cost = f"{of_planned(now.epochs.trained, None)} epochs, {duration(seconds)}"
        return now.state == StudyState.DONE and not mark.is_panda, (
            Html(f"<strong>{link(f'/study/{mark.name}', mark.name)}</strong>"), badge(state_in_words(now)), _done(now),
            _best(now), cost, owner,
        )  # fmt: skip


def state_in_words(now: StudyStatus) -> str:
    """Return the state of a study; of a panda, which is never done, whether it is being trained."""
    if not now.is_panda:
        return str(now.state)
    return "training" if now.leased else "panda" if now.state == StudyState.DONE else str(now.state)


def _done(now: StudyStatus) -> Html:
    if now.is_panda:
        return Html(f"day {html(now.budget - 1)}")
    return Html(f"{bar(now.done, now.budget, f'trials of {now.name}')} {now.done}/{now.budget}")


def _best(now: StudyStatus) -> str:
    return "-" if now.best is None else f"{now.metric} {number(now.best.value)}"
