"""Lost leases of killed workers, dead hosts and cut networks: their slots are opened again, with their trials.

A slot that is lost `LIMIT` times in a row without a new epoch is abandoned. It may be what kills its workers, such as a
configuration that needs more memory than any machine has, and would otherwise occupy them for ever.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from sqlalchemy import ColumnElement, Connection, Engine, bindparam, case, delete, func, select, update

from caviar.storage import optuna_tables as optuna
from caviar.storage.events import log_event
from caviar.storage.states import EventKind, SlotState
from caviar.storage.tables import checkpoint, slot, worker

LIMIT = 5  # losses in a row without a new epoch
SUSPECT = 2  # losses in a row after which a slot is trained alone, so that no other trial is lost with it


def reap(connection: Connection, study_id: int) -> int:
    """Take back the expired leases of a study, and return how many there were."""
    return _take_back(connection, study_id, slot.c.expires_at < func.now(), EventKind.LEASE_EXPIRED)


def leases_on(engine: Engine, study_id: int, machine: str) -> set[int]:
    """Return the ids of the processes of a machine that hold leases of a study."""
    query = (
        select(worker.c.pid)
        .join(slot, slot.c.worker_id == worker.c.worker_id)
        .where(slot.c.study_id == study_id, slot.c.state == SlotState.LEASED, worker.c.machine == machine)
    )
    with engine.connect() as connection:
        return set(connection.scalars(query))


def release_dead(engine: Engine, study_id: int, machine: str, pids: Collection[int]) -> int:
    """Open the slots of processes of a machine that are known to be dead, and return their number."""
    dead = select(worker.c.worker_id).where(worker.c.machine == machine, worker.c.pid.in_(pids))
    with engine.begin() as connection:
        return _take_back(connection, study_id, slot.c.worker_id.in_(dead), EventKind.WORKER_DIED)


def _take_back(connection: Connection, study_id: int, condition: ColumnElement[bool], kind: EventKind) -> int:
    # SKIP LOCKED passes over a lease that another worker is renewing or taking back at this moment.
    lost = (
        select(slot.c.number)
        .where(slot.c.study_id == bindparam("study"), slot.c.state == SlotState.LEASED, condition)
        .with_for_update(skip_locked=True)
        .cte("lost")
    )
    losses = slot.c.losses + 1
    state = case((losses >= LIMIT, SlotState.ABANDONED), else_=SlotState.OPEN)
    statement = (
        update(slot)
        .where(slot.c.study_id == bindparam("study"), slot.c.number == lost.c.number)
        .values(state=state, losses=losses, token=None, expires_at=None)
        .returning(slot.c.number, slot.c.state, slot.c.epoch, slot.c.losses, slot.c.trial_id, slot.c.worker_id)
    )
    rows = connection.execute(statement, {"study": study_id}).all()
    for row in rows:
        log_event(connection, study_id, kind, slot=row.number, worker_id=row.worker_id, epoch=row.epoch)
        if row.state == SlotState.ABANDONED:
            _abandon(connection, study_id, row)
    return len(rows)


def _abandon(connection: Connection, study_id: int, row: Any) -> None:
    why = f"lost {row.losses} times after epoch {row.epoch} without getting further"
    log_event(connection, study_id, EventKind.ABANDONED, slot=row.number, why=why)
    # A file is removed when the study ends, since this transaction may yet fail.
    of_slot = (checkpoint.c.study_id == study_id, checkpoint.c.slot == row.number)
    connection.execute(delete(checkpoint).where(*of_slot, checkpoint.c.address.is_(None)))
    if row.trial_id is not None and optuna.end_trial(connection, row.trial_id, "FAIL"):
        attributes = {"epochs": row.epoch, "why it stopped": why}
        optuna.set_attributes(connection, "trial_user_attributes", row.trial_id, attributes)
