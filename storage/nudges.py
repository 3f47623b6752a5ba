"""Store nudges: changes of a panda's settings, given at any time from any machine, in effect after an epoch."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Engine, insert, select, text, update

from caviar.storage.records import Lease
from caviar.storage.states import NudgeState
from caviar.storage.tables import nudge


@dataclass(frozen=True)
class NudgeRecord:
    """A change of a panda's settings."""

    nudge_id: int
    at: datetime
    settings: Mapping[str, Any]
    why: str | None
    by: str  # user@host
    state: NudgeState
    day: int | None  # in which it took effect; None before
    epoch: int | None  # after which it took effect; None before


# Fenced by the lease: a worker that lost it takes nothing.
_TAKE_NUDGES = text("""
    WITH held AS (
        SELECT study_id FROM caviar.slot
        WHERE study_id = :study AND number = :day AND token = :token FOR NO KEY UPDATE
    )
    UPDATE caviar.nudge n SET state = 'taken', day = :day, epoch = :epoch
    FROM held WHERE n.study_id = held.study_id
      AND (n.state = 'waiting' OR n.day = :day AND n.nudge_id <> ALL(CAST(:known AS bigint[])))
""")


def nudges_of(connection: Connection, study_id: int, *also: ColumnElement[bool]) -> list[NudgeRecord]:
    """Return the nudges of a panda, in the order in which they were given."""
    query = select(nudge).where(nudge.c.study_id == study_id, *also).order_by(nudge.c.nudge_id)
    return [
        NudgeRecord(r.nudge_id, r.at, r.settings, r.why, r.by, NudgeState(r.state), r.day, r.epoch)
        for r in connection.execute(query)
    ]


def read_nudges(engine: Engine, study_id: int, day_number: int) -> list[NudgeRecord]:
    """Return the nudges that took effect in a day, in their order."""
    with engine.connect() as connection:
        return nudges_of(connection, study_id, nudge.c.day == day_number)


def add_nudge(engine: Engine, study_id: int, settings: Mapping[str, Any], why: str | None, by: str) -> None:
    """Give a nudge: other settings from the next epoch on."""
    with engine.begin() as connection:
        connection.execute(insert(nudge).values(study_id=study_id, settings=dict(settings), why=why, by=by))


def take_nudges(engine: Engine, lease: Lease, epoch: int, known: Collection[int]) -> bool:
    """Let the waiting nudges take effect in the leased day after an epoch; return True if there were any.

    Args:
        known: the ids of the nudges that took effect in the day before, as its worker knows. Another one of this day
            was taken by a call whose answer was lost: the epochs since then were trained without it, and it takes
            effect now.
    """
    fields = {"study": lease.study_id, "day": lease.slot.number, "token": lease.token, "epoch": epoch}
    fields["known"] = sorted(known)
    with engine.begin() as connection:
        return bool(connection.execute(_TAKE_NUDGES, fields).rowcount)


def settle(connection: Connection, study_id: int, *also: ColumnElement[bool], **values: object) -> None:
    """Write what became of the nudges that wait."""
    waiting = (nudge.c.study_id == study_id, nudge.c.state == NudgeState.WAITING, *also)
    connection.execute(update(nudge).where(*waiting).values(**values))
