"""Checkpoints: the latest state of each unfinished trial, and the weights of the best finished ones.

A state is stored in a file, in the folder of the built-in server or at the address in CAVIAR_CHECKPOINTS, which all
machines reach; a shared database without such an address stores those that are small enough itself. A file is written
before the transaction that names it, and removed after the transaction that stops naming it, so the database never
names a file that is missing. `caviar doctor --fix` removes the files that a killed process left behind.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from uuid import UUID, uuid4

from sqlalchemy import ColumnElement, Connection, Engine, delete, func, select, text
from sqlalchemy.dialects.postgresql import insert

from caviar.limits import CHECKPOINT
from caviar.storage.errors import (
    BadCheckpointsAddress,
    BadSetting,
    CheckpointNotRemoved,
    CheckpointNotWritten,
    CheckpointUnreachable,
    DamagedCheckpoint,
)
from caviar.storage.files import CheckpointFiles, checkpoint_key
from caviar.storage.ledger import fence, give_back
from caviar.storage.records import Lease, StudyRecord
from caviar.storage.settings import checkpoints_address, home_folder
from caviar.storage.states import SPENT
from caviar.storage.tables import checkpoint, slot

_LARGE = 2**20  # bytes; a larger state may take longer to send than the statement timeout


@dataclass(frozen=True)
class Staged:
    """A state that is ready to become its trial's checkpoint: its bytes, or the address of the file that holds them."""

    epoch: int
    digest: str
    state: bytes | None = None
    address: str | None = None


class CheckpointStore:
    """The checkpoints of one study: at most one for each trial, in the database or in `files`.

    Args:
        files: where to write states; None writes them to the database, and reads files where `files_here` says.
    """

    def __init__(self, engine: Engine, record: StudyRecord, files: CheckpointFiles | None = None) -> None:
        self._engine, self._files = engine, files
        self._study_id, self._label = record.study_id, record.label
        self._addresses: dict[int, str] = {}  # by slot: the file that this process wrote or read last

    def stage(self, lease: Lease, epoch: int, state: bytes) -> Staged:
        """Write a state to its file, if it gets one, and return it ready for `save`.

        Raises:
            CheckpointNotWritten: the state is too large for the database, or its file cannot be written.
        """
        return self._stage(lease.slot.number, epoch, state, lease.token)

    def _stage(self, slot_number: int, epoch: int, state: bytes, token: UUID) -> Staged:
        digest = hashlib.sha256(state).hexdigest()
        if self._files is not None:
            # The token makes the name unique: a worker that lost its lease must not replace its successor's file.
            key = f"{self._label}/{slot_number}-{epoch}-{token.hex[:12]}"
            return Staged(epoch, digest, address=self._files.write(key, state))
        if len(state) > CHECKPOINT:
            raise CheckpointNotWritten(
                f"a checkpoint of {len(state) / 2**20:.0f} MB is too large for the database (at most "
                f"{CHECKPOINT // 2**20} MB); set CAVIAR_CHECKPOINTS=file:///shared/folder, a folder that all machines "
                f"reach"
            )
        return Staged(epoch, digest, state=state)

    def save(self, lease: Lease, staged: Staged, *, release: bool = False) -> None:
        """Replace the trial's checkpoint, and open the slot for another worker if it is to be released.

        Raises:
            LeaseLost: this worker lost the lease; nothing was written.
        """
        with self._engine.begin() as connection:
            take_time_for(connection, staged)
            fence(connection, lease, token=lease.token)
            put_checkpoint(connection, lease.study_id, lease.slot.number, staged)
            if release:
                give_back(connection, lease)
        self.tidy(lease.slot.number, staged)

    def keep(self, slot_number: int, epoch: int, state: bytes) -> None:
        """Store the state of a trial that is finished, as of a winner that was trained once more.

        Raises:
            CheckpointNotWritten: as for `stage`.
        """
        staged = self._stage(slot_number, epoch, state, uuid4())
        with self._engine.begin() as connection:
            take_time_for(connection, staged)
            put_checkpoint(connection, self._study_id, slot_number, staged)

    def load(self, slot_number: int) -> bytes | None:
        """Return the state in the trial's checkpoint, or None if it has none.

        Raises:
            DamagedCheckpoint: the bytes do not match the digest, or the file is gone.
            CheckpointUnreachable: this machine cannot read the file now, though it may exist.
            BadCheckpointsAddress: CAVIAR_CHECKPOINTS cannot be used.
        """
        query = select(checkpoint).where(*of_trial(self._study_id, slot_number))
        with self._engine.connect() as connection:
            connection.execute(text("SET LOCAL statement_timeout = 0"))  # a large state on a slow line
            row = connection.execute(query).one_or_none()
        if row is None:
            return None
        if row.address is not None:
            self._addresses[slot_number] = row.address
        state = bytes(row.state) if row.address is None else self._read(row.address)
        if hashlib.sha256(state).hexdigest() != row.digest:
            raise DamagedCheckpoint(f"the checkpoint of trial {slot_number} does not match its digest")
        return state

    def _read(self, address: str) -> bytes:
        files = self._files or files_here(self._engine)
        if files is None or checkpoint_key(address)[0] != self._label:
            raise CheckpointUnreachable(
                f"the checkpoint {address} is a file; set CAVIAR_CHECKPOINTS on this machine to the address that the "
                f"study's other machines have"
            )
        return files.read(address)

    def has(self, slot_number: int) -> bool:
        """Return True if the trial has a checkpoint."""
        query = select(checkpoint.c.epoch).where(*of_trial(self._study_id, slot_number))
        with self._engine.connect() as connection:
            return connection.scalar(query) is not None

    def tidy(self, slot_number: int, kept: Staged | None) -> None:
        """Remove the file of the trial's previous checkpoint, once `kept` has replaced it, or None has."""
        before = self._addresses.pop(slot_number, None)
        if kept is not None and kept.address is not None:
            self._addresses[slot_number] = kept.address
        if before is not None and (kept is None or before != kept.address):
            remove_files(self._engine, self._label, [before], self._files)

    def keep_only(self, slot_number: int | None) -> None:
        """Remove the checkpoints of all finished trials except one; None: of all."""
        self._drop(slot.c.number.is_distinct_from(slot_number))

    def drop(self, slot_numbers: Sequence[int]) -> None:
        """Remove the checkpoints of those of these trials that are finished."""
        self._drop(slot.c.number.in_(slot_numbers))

    def _drop(self, which: ColumnElement[bool]) -> None:
        done = select(slot.c.number).where(slot.c.study_id == self._study_id, slot.c.state.in_(SPENT), which)
        dropped = delete(checkpoint).where(checkpoint.c.study_id == self._study_id, checkpoint.c.slot.in_(done))
        with self._engine.begin() as connection:
            addresses = connection.scalars(dropped.returning(checkpoint.c.address)).all()
        remove_files(self._engine, self._label, addresses, self._files)


def of_trial(study_id: int, slot_number: int) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    """Return the condition of a trial's checkpoint."""
    return checkpoint.c.study_id == study_id, checkpoint.c.slot == slot_number


def files_here(engine: Engine) -> CheckpointFiles | None:
    """Return this machine's checkpoint files of a database, the only ones that it reads or removes; None without any.

    Raises:
        BadSetting, BadCheckpointsAddress: CAVIAR_CHECKPOINTS cannot be used.
    """
    address = checkpoints_address(engine.url, home_folder())
    return CheckpointFiles(address) if address else None


def remove_files(
    engine: Engine, label: str, addresses: Iterable[str | None], files: CheckpointFiles | None = None
) -> None:
    """Remove files of the study `label` that the database no longer names, among this machine's checkpoint files.

    `caviar doctor` finds one that cannot be removed now.
    """
    ours = [address for address in addresses if address is not None and checkpoint_key(address)[0] == label]
    if files is None:
        with suppress(BadCheckpointsAddress, BadSetting):
            files = files_here(engine)
    if files is not None:
        for address in ours:
            with suppress(CheckpointNotRemoved):
                files.remove(address)


def take_time_for(connection: Connection, staged: Staged | None) -> None:
    """Lift the statement timeout for a large state. To be called before the transaction locks the slot."""
    if staged is not None and staged.state is not None and len(staged.state) > _LARGE:
        for limit in ("idle_in_transaction_session_timeout", "statement_timeout"):
            connection.execute(text(f"SET LOCAL {limit} = 0"))


def put_checkpoint(connection: Connection, study_id: int, slot_number: int, staged: Staged) -> None:
    """Replace a trial's checkpoint. While the trial is trained, the transaction must be fenced by its lease."""
    row = vars(staged)
    statement = insert(checkpoint).values(study_id=study_id, slot=slot_number, **row)
    connection.execute(
        statement.on_conflict_do_update(index_elements=["study_id", "slot"], set_={**row, "saved_at": func.now()})
    )


def drop_checkpoint(connection: Connection, lease: Lease) -> None:
    """Remove the trial's checkpoint, in a transaction that is fenced by the lease."""
    connection.execute(delete(checkpoint).where(*of_trial(lease.study_id, lease.slot.number)))
