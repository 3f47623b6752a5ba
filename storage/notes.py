"""The note on a study that Optuna's dashboard shows: Caviar's part of it, between two marks.

The dashboard keeps a note in pieces, as system attributes of the study, with a version that each writing in a browser
raises; a browser that knows an older version is refused. Caviar does not raise it, so that nobody's writing is refused,
and takes a version that it has not seen as a sign that somebody writes at this moment, piece by piece.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Engine, text

from caviar.storage.records import StudyRecord

BEGIN = '[caviar-begin]: # "Caviar writes from here"'  # Markdown that is not shown, the dashboard's too
END = '[caviar-end]: # "to here"'
EVERY_SECONDS = 60.0
_PIECE = 2045  # characters, as the dashboard cuts them
_VERSION, _TEXT = "dashboard:note_ver", "dashboard:note_str:"

# `news`: what has happened to the study as a whole, or that its last worker has left, is told at once.
_TURN = text("""
    SELECT now() AS at, noted_at, note_version AS version FROM caviar.study
    WHERE study_id = :study AND (
        noted_at IS NULL OR noted_at < now() - make_interval(secs => :every)
        OR :news AND noted_at < greatest(
            (SELECT max(e.at) FROM caviar.event e WHERE e.study_id = :study
              AND e.kind IN ('paused', 'stopped', 'resumed', 'definition changed')),
            (SELECT max(r.measured_at) FROM caviar.test_result r WHERE r.study_id = :study),
            (SELECT max(w.ended_at) FROM caviar.worker w WHERE w.study_id = :study
              AND NOT EXISTS (SELECT FROM caviar.slot s WHERE s.study_id = :study AND s.state = 'leased'))))
""")

_CLAIM = text("""
    UPDATE caviar.study SET noted_at = :at WHERE study_id = :study AND noted_at IS NOT DISTINCT FROM :noted_at
""")

# The version's row is the first that a browser's writing changes: while it is locked, none begins.
_LOCK = (
    text("""
        INSERT INTO public.study_system_attributes (study_id, key, value_json) VALUES (:optuna, :version, '0')
        ON CONFLICT (study_id, key) DO NOTHING
    """),
    text("""
        SELECT key, value_json FROM public.study_system_attributes
        WHERE study_id = :optuna AND (key = :version OR starts_with(key, :text)) ORDER BY key = :version DESC FOR UPDATE
    """),
)
_SEE = text("UPDATE caviar.study SET note_version = :seen WHERE study_id = :study")
_WRITE = text("""
    INSERT INTO public.study_system_attributes (study_id, key, value_json)
    SELECT :optuna, key, value_json FROM unnest(CAST(:keys AS text[]), CAST(:jsons AS text[])) AS a (key, value_json)
    ON CONFLICT (study_id, key) DO UPDATE SET value_json = excluded.value_json
""")


@dataclass(frozen=True)
class Turn:
    """The right to write the note, unless somebody else uses it first.

    Attributes:
        at: now, on the database's clock; what is read after it is at least as new.
        noted_at: when the note was last brought up to date.
        version: of the note, as it was seen then.
    """

    at: datetime
    noted_at: datetime | None
    version: int


def note_turn(engine: Engine, study_id: int, *, news: bool) -> Turn | None:
    """Return a turn where the note is to be written: there is none yet, or it is a minute old.

    Args:
        news: also, where something has happened since that is not to wait for the minute.
    """
    with engine.connect() as connection:
        row = connection.execute(_TURN, {"study": study_id, "every": EVERY_SECONDS, "news": news}).one_or_none()
    return None if row is None else Turn(row.at, row.noted_at, row.version)


def write_note(engine: Engine, record: StudyRecord, turn: Turn, part: str) -> Turn | None:
    """Replace Caviar's part of the note, and use up the turn, in one transaction.

    Where somebody else has used the turn, nothing is written; nor where a person has removed the marks.

    Returns:
        The turn to try again with, after a second or more, where a person has written the note a moment ago and may
        not be done; None otherwise.
    """
    study = {"study": record.study_id, "optuna": record.optuna_study_id, "version": _VERSION, "text": _TEXT}
    with engine.begin() as connection:
        claim = {**study, "at": turn.at, "noted_at": turn.noted_at}
        if connection.execute(_CLAIM, claim).rowcount != 1:
            return None
        connection.execute(_LOCK[0], study)
        stored = {key: json.loads(value) for key, value in connection.execute(_LOCK[1], study)}
        seen = int(stored.pop(_VERSION))
        if seen != turn.version:
            connection.execute(_SEE, {**study, "seen": seen})
            return Turn(turn.at, turn.at, seen)
        pieces = _pieces(with_part(_body(stored), part), len(stored))
        connection.execute(_WRITE, {**study, "keys": list(pieces), "jsons": [json.dumps(p) for p in pieces.values()]})
    return None


def with_part(note: str, part: str) -> str:
    """Return a note with another part between the marks; as it is, where it has text and not each mark once."""
    own = f"{BEGIN}\n\n{part.strip()}\n\n{END}"
    if not note.strip():
        return own
    if note.count(BEGIN) != 1 or note.count(END) != 1 or note.index(BEGIN) > note.index(END):
        return note
    before, _, rest = note.partition(BEGIN)
    return before + own + rest.partition(END)[2]


def _body(stored: Mapping[str, str]) -> str:
    return "".join(stored.get(f"{_TEXT}{number}", "") for number in range(len(stored)))


def _pieces(note: str, before: int) -> dict[str, str]:
    """Cut a note into as many pieces at least as there were before, which cannot be removed, only emptied."""
    count = max(before, -(-len(note) // _PIECE))
    return {f"{_TEXT}{number}": note[number * _PIECE : (number + 1) * _PIECE] for number in range(count)}
