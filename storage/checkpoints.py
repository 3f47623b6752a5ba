"""The last state of an unfinished trial, so that any machine can go on with it; and the winner's weights."""

from __future__ import annotations

import hashlib

from sqlalchemy import Connection, Engine, delete, func, select
from sqlalchemy.dialects.postgresql import insert

from storage.errors import DamagedCheckpoint
from storage.ledger import fence
from storage.records import Lease
from storage.tables import checkpoint, slot


class CheckpointStore:
    """Keeps at most one checkpoint for each trial of one study."""

    def __init__(self, engine: Engine, study_id: int) -> None:
        self._engine = engine
        self._study_id = study_id

    def save(self, lease: Lease, epoch: int, state: bytes, *, release: bool = False) -> None:
        """Replace the trial's checkpoint; with `release`, give the slot back in the same transaction.

        Raises:
            LeaseLost: the lease is not held any more; nothing was written.
        """
        with self._engine.begin() as connection:
            if release:
                fence(connection, lease, state="open", token=None, expires_at=None)
            else:
                fence(connection, lease, token=lease.token)
            put_checkpoint(connection, lease, epoch, state)

    def load(self, slot_number: int) -> bytes | None:
        """Return the trial's checkpoint; None where there is none.

        Raises:
            DamagedCheckpoint: its bytes do not match its digest.
        """
        query = select(checkpoint.c.state, checkpoint.c.digest).where(
            checkpoint.c.study_id == self._study_id, checkpoint.c.slot == slot_number
        )
        with self._engine.connect() as connection:
            row = connection.execute(query).one_or_none()
        if row is None:
            return None
        if hashlib.sha256(row.state).hexdigest() != row.digest:
            raise DamagedCheckpoint(f"the checkpoint of trial {slot_number} does not match its digest")
        return bytes(row.state)

    def keep_only(self, slot_number: int) -> None:
        """Remove the checkpoints of all finished trials but one."""
        done = select(slot.c.number).where(
            slot.c.study_id == self._study_id, slot.c.state == "done", slot.c.number != slot_number
        )
        with self._engine.begin() as connection:
            connection.execute(
                delete(checkpoint).where(checkpoint.c.study_id == self._study_id, checkpoint.c.slot.in_(done))
            )


def put_checkpoint(connection: Connection, lease: Lease, epoch: int, state: bytes) -> None:
    """Replace the trial's checkpoint, in a transaction that has shown the lease."""
    row = {"epoch": epoch, "digest": hashlib.sha256(state).hexdigest(), "state": state}
    statement = insert(checkpoint).values(study_id=lease.study_id, slot=lease.slot.number, **row)
    connection.execute(
        statement.on_conflict_do_update(index_elements=["study_id", "slot"], set_={**row, "saved_at": func.now()})
    )


def drop_checkpoint(connection: Connection, lease: Lease) -> None:
    """Remove the trial's checkpoint, in a transaction that has shown the lease."""
    connection.execute(
        delete(checkpoint).where(checkpoint.c.study_id == lease.study_id, checkpoint.c.slot == lease.slot.number)
    )
