"""Keeps the note on a study in Optuna's dashboard up to date: when it begins and ends, and meanwhile by its workers, at
most once a minute for all of them together. A note that cannot be written costs nobody a trial."""

from __future__ import annotations

import time
from contextlib import suppress
from datetime import datetime

from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from caviar.storage.control import note
from caviar.storage.definitions import load_study
from caviar.storage.events import read_events
from caviar.storage.notes import EVERY_SECONDS, note_turn, write_note
from caviar.storage.outage import is_away
from caviar.storage.pandas import is_panda
from caviar.storage.records import StudyRecord
from caviar.storage.status import read_progress
from caviar.studies.dashboard.note import note_text
from caviar.studies.definition import from_body
from caviar.studies.panda.journal import journal_facts
from caviar.studies.panda.note import panda_note
from caviar.studies.results.summaries import state_of

_MOMENT = 1.0  # seconds in which a person's writing is done
_NOT_WRITTEN = "note not written"  # the event


class Noter:
    """Keeps the note up to date for one worker, which asks the database once a minute whether it is its turn."""

    def __init__(self, engine: Engine, record: StudyRecord) -> None:
        self._engine = engine
        self._record = record
        self._tried = time.monotonic()

    def keep_up(self) -> None:
        """Write the note, if that is due; after an epoch, when the database has just answered."""
        if time.monotonic() - self._tried >= EVERY_SECONDS:
            keep_note(self._engine, self._record)
            self._tried = time.monotonic()


def keep_note(engine: Engine, record: StudyRecord, *, news: bool = False) -> None:
    """Bring the note on a study up to date, if that is due. No error comes of it, but an event.

    Args:
        news: whether something may have happened that is not to wait: the study was begun, changed, paused or left.
    """
    try:
        _keep(engine, record, news)
    except Exception as error:  # noqa: BLE001 - told in the journal: no trial is worth less without a note
        if not is_away(error):
            with suppress(SQLAlchemyError):
                _tell(engine, record, error)


def _keep(engine: Engine, record: StudyRecord, news: bool) -> None:
    while (turn := note_turn(engine, record.study_id, news=news)) is not None:
        text = _text(engine, record, turn.at)
        again = write_note(engine, record, turn, text)
        while again is not None and news:
            time.sleep(_MOMENT)
            again = write_note(engine, record, again, text)
        if not news:
            return


def _text(engine: Engine, record: StudyRecord, at: datetime) -> str:
    record = load_study(engine, record.name)  # by its current definition
    if is_panda(engine, record.study_id):
        return panda_note(journal_facts(engine, record), at)
    study = from_body(record.body)
    now = read_progress(engine, record, maximize=study.maximize)
    winner = None
    if state_of(now) == "done":
        from caviar.studies.results.winner import (
            winner_facts,  # which has torch and Optuna to load, and tells of the end here
        )

        winner = winner_facts(engine, record)
    return note_text(study, now, at, winner)


def _tell(engine: Engine, record: StudyRecord, error: Exception) -> None:
    """Write an event about a note that was not written, unless there is one."""
    told = str(error.orig if isinstance(error, DBAPIError) else error).strip().splitlines() or [type(error).__name__]
    if not any(event.detail.get("why") == told[0] for event in read_events(engine, record.study_id, _NOT_WRITTEN)):
        note(engine, record.study_id, _NOT_WRITTEN, why=told[0])
