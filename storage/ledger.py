"""The ledger of slots: who may work on which unit of budget, until when.

A lease is a row with a random token and an expiry on the database's clock; no worker's clock matters. Whoever
writes for a trial shows the token in the same transaction, so a worker that lost its lease writes nothing.
"""

from __future__ import annotations

from collections.abc import Collection
from uuid import UUID, uuid4

from sqlalchemy import Connection, Engine, Update, func, insert, select, text, update

from storage.errors import LeaseLost
from storage.events import log_event
from storage.records import Lease, SlotRecord, Standing, WorkerRecord
from storage.tables import slot, study, worker

# The lowest open slot, or one whose lease expired. A slot that another worker is leasing or renewing at this very
# moment is locked, and passed over.
_LEASE = text("""
    WITH next AS (
        SELECT s.study_id, s.number, s.state, s.worker_id
        FROM caviar.slot s JOIN caviar.study USING (study_id)
        WHERE s.study_id = :study AND control = 'run'
          AND (s.state = 'open' OR (s.state = 'leased' AND s.expires_at < now()))
        ORDER BY s.number LIMIT 1 FOR UPDATE OF s SKIP LOCKED
    )
    UPDATE caviar.slot s
    SET state = 'leased', token = :token, expires_at = now() + make_interval(secs => :seconds),
        worker_id = :worker, attempts = s.attempts + 1
    FROM next WHERE s.study_id = next.study_id AND s.number = next.number
    RETURNING s.number, s.tier, s.phase, s.free, s.attempts, s.trial_id, s.epoch,
              CASE WHEN next.state = 'leased' THEN next.worker_id END AS taken_from
""")


class Ledger:
    """One worker's view of one study's slots.

    Args:
        lease_seconds: how long a lease lasts without being renewed.
    """

    def __init__(self, engine: Engine, study_id: int, worker_id: UUID, lease_seconds: float) -> None:
        self._engine = engine
        self._study_id = study_id
        self._worker_id = worker_id
        self.lease_seconds = lease_seconds

    def lease(self) -> Lease | None:
        """Lease the next slot; None where none is open, or the study is paused."""
        token = uuid4()
        with self._engine.begin() as connection:
            row = connection.execute(
                _LEASE,
                {
                    "study": self._study_id,
                    "token": token,
                    "seconds": self.lease_seconds,
                    "worker": self._worker_id,
                },
            ).one_or_none()
            if row is None:
                return None
            if row.taken_from is not None:
                log_event(connection, self._study_id, "lease taken over", slot=row.number,
                          worker_id=self._worker_id, lost_by=str(row.taken_from), epoch=row.epoch)  # fmt: skip
        return Lease(
            self._study_id,
            SlotRecord(row.number, row.tier, row.phase, tuple(row.free)),
            token,
            row.attempts,
            row.trial_id,
            row.epoch,
            row.taken_from,
        )

    def renew(self, lease: Lease) -> None:
        """Extend the lease, and say that this worker is alive.

        Raises:
            LeaseLost: another worker has taken the slot over.
        """
        with self._engine.begin() as connection:
            fence(
                connection,
                lease,
                expires_at=func.now() + func.make_interval(0, 0, 0, 0, 0, 0, self.lease_seconds),
            )
            connection.execute(update(worker).where(worker.c.worker_id == self._worker_id).values(last_seen=func.now()))

    def release(self, lease: Lease) -> None:
        """Give the slot back unfinished: the next worker goes on with it. A lost lease is no error."""
        with self._engine.begin() as connection:
            connection.execute(_of(lease).values(state="open", token=None, expires_at=None))

    def standing(self) -> Standing:
        """Say what is left to do, for a worker that got no lease."""
        expired = slot.c.expires_at < func.now()
        query = (
            select(
                study.c.control,
                func.count().filter((slot.c.state == "open") | ((slot.c.state == "leased") & expired)),
                func.count().filter((slot.c.state == "leased") & ~expired),
            )
            .join(slot, slot.c.study_id == study.c.study_id)
            .where(study.c.study_id == self._study_id)
            .group_by(study.c.control)
        )
        with self._engine.connect() as connection:
            row = connection.execute(query).one_or_none()
        return Standing(*row) if row is not None else Standing("pause", 0, 0)  # deleted meanwhile


def register_worker(engine: Engine, study_id: int, record: WorkerRecord) -> None:
    """Write down a process that begins to work on a study."""
    with engine.begin() as connection:
        connection.execute(
            insert(worker).values(
                worker_id=record.worker_id,
                study_id=study_id,
                host=record.host,
                machine=record.machine,
                pid=record.pid,
                device=record.device,
                packages=dict(record.packages),
            )
        )


def leases_on(engine: Engine, study_id: int, machine: str) -> set[int]:
    """Return the process ids that hold leases of a study on that machine."""
    query = (
        select(worker.c.pid)
        .join(slot, slot.c.worker_id == worker.c.worker_id)
        .where(slot.c.study_id == study_id, slot.c.state == "leased", worker.c.machine == machine)
    )
    with engine.connect() as connection:
        return set(connection.scalars(query))


def release_dead(engine: Engine, study_id: int, machine: str, pids: Collection[int]) -> int:
    """Open the slots that processes of that machine held, which are known to be dead; return how many."""
    dead = select(worker.c.worker_id).where(worker.c.machine == machine, worker.c.pid.in_(pids))
    freed = (
        update(slot)
        .where(slot.c.study_id == study_id, slot.c.state == "leased", slot.c.worker_id.in_(dead))
        .values(state="open", token=None, expires_at=None)
        .returning(slot.c.number, slot.c.epoch, slot.c.worker_id)
    )
    with engine.begin() as connection:
        rows = connection.execute(freed).all()
        for row in rows:
            log_event(connection, study_id, "worker died", slot=row.number, worker_id=row.worker_id, epoch=row.epoch)
    return len(rows)


def fence(connection: Connection, lease: Lease, **values: object) -> None:
    """Change the leased slot, if the lease is still held.

    Raises:
        LeaseLost: it is not; the caller's transaction must end without a commit.
    """
    if connection.execute(_of(lease).values(**values)).rowcount != 1:
        raise LeaseLost(f"slot {lease.slot.number} was taken over by another worker")


def _of(lease: Lease) -> Update:
    return update(slot).where(
        slot.c.study_id == lease.study_id, slot.c.number == lease.slot.number, slot.c.token == lease.token
    )
