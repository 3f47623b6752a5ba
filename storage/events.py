"""Events: the append-only journal of a study, which says who did what, when and why."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Engine, Text, cast, insert, select

from caviar.storage.records import EventRecord
from caviar.storage.states import EventKind
from caviar.storage.tables import event, worker
from caviar.text import storable


def log_event(
    connection: Connection,
    study_id: int,
    kind: EventKind,
    *,
    slot: int | None = None,
    worker_id: UUID | None = None,
    **detail: Any,
) -> None:
    """Append an event, in the transaction of the change that it records; `worker_id` did it, or lost its lease.

    What no text of the database can hold is escaped in the details: it may come from anywhere.
    """
    connection.execute(
        insert(event).values(study_id=study_id, kind=kind, slot=slot, worker_id=worker_id, detail=storable(detail))
    )


def record_event(engine: Engine, study_id: int, kind: EventKind, **detail: Any) -> None:
    """Append an event in a transaction of its own."""
    with engine.begin() as connection:
        log_event(connection, study_id, kind, **detail)


def read_events(engine: Engine, study_id: int, *kinds: EventKind, last: int | None = None) -> list[EventRecord]:
    """Return a study's events of these kinds, or of all kinds if none is given, oldest first.

    Args:
        last: how many, the newest ones; None for all.
    """
    who = worker.c.host + ":" + cast(worker.c.pid, Text)
    joined = event.outerjoin(worker, worker.c.worker_id == event.c.worker_id)
    query = select(event, who.label("who")).select_from(joined).where(event.c.study_id == study_id)
    query = query.order_by(event.c.event_id if last is None else event.c.event_id.desc()).limit(last)
    if kinds:
        query = query.where(event.c.kind.in_(kinds))
    with engine.connect() as connection:
        found = [
            EventRecord(row.at, row.kind, row.slot, mapping(row.detail), row.who) for row in connection.execute(query)
        ]
    return found if last is None else found[::-1]


def mapping(detail: object) -> dict[str, Any]:
    """Return the details of an event; none where the database holds something else, which anybody may have written."""
    return dict(detail) if isinstance(detail, dict) else {}
