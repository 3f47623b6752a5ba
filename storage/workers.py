"""Workers: the processes that train, when they began and ended, and what they train."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any
from uuid import UUID

from psycopg2.errors import ForeignKeyViolation
from sqlalchemy import Engine, Row, func, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import IntegrityError

from caviar.storage.records import WorkerRecord, WorkerSummary, WorkerTrial
from caviar.storage.states import SlotState, WorkerState
from caviar.storage.tables import slot, worker
from caviar.storage.timing import SILENT
from caviar.text import shown

_WORKERS = text("""
    SELECT st.name, w.host, w.pid, w.device, w.started_at,
           w.job, w.leave AND w.ended_at IS NULL AS leaving,
           extract(epoch FROM now() - w.last_seen)::float AS silent, w.ended_at IS NOT NULL AS ended,
           coalesce(array_agg(s.number ORDER BY s.number) FILTER (WHERE s.number IS NOT NULL), '{}') AS trials,
           coalesce(array_agg(s.epoch ORDER BY s.number) FILTER (WHERE s.number IS NOT NULL), '{}') AS epochs
    FROM caviar.worker w
    JOIN caviar.study st USING (study_id)
    LEFT JOIN caviar.slot s ON s.worker_id = w.worker_id AND s.state = 'leased'
    WHERE CAST(:study AS integer) IS NULL OR w.study_id = :study
    GROUP BY w.worker_id, st.study_id ORDER BY w.ended_at IS NOT NULL, w.host, w.started_at
""")


def register_worker(engine: Engine, study_id: int, record: WorkerRecord) -> None:
    """Record a process that begins to work on a study, unless it is recorded already."""
    with engine.begin() as connection:
        connection.execute(insert(worker).values(study_id=study_id, **vars(record)).on_conflict_do_nothing())


def is_unregistered(error: BaseException) -> bool:
    """Return True if a write was refused because the worker that it names has no row.

    A database that went on from an older copy of itself, as after a failover, knows no worker that is younger.
    """
    cause = error.orig if isinstance(error, IntegrityError) else None
    return isinstance(cause, ForeignKeyViolation) and "worker_id" in str(cause.diag.constraint_name)


def end_worker(engine: Engine, worker_id: UUID) -> None:
    """Record that a process has ended by itself."""
    with engine.begin() as connection:
        connection.execute(
            update(worker).where(worker.c.worker_id == worker_id).values(last_seen=func.now(), ended_at=func.now())
        )


def read_workers(engine: Engine, study_id: int | None = None) -> list[WorkerSummary]:
    """Return the workers of a study, or of all studies, those that have not ended first."""
    with engine.connect() as connection:
        rows = connection.execute(_WORKERS, {"study": study_id}).all()
    return [
        WorkerSummary(
            row.name, row.host, row.pid, row.device, _state(row), tuple(map(WorkerTrial, row.trials, row.epochs)),
            row.started_at, round(row.silent, 1), None if row.job is None else shown(row.job), row.leaving,
        )
        for row in rows
    ]  # fmt: skip


def _state(row: Row[Any]) -> WorkerState:
    if row.ended:
        return WorkerState.ENDED
    if row.trials:
        return WorkerState.TRAINING
    return WorkerState.IDLE if row.silent < SILENT else WorkerState.LOST


def finished_by(engine: Engine, study_id: int, machine: str, pids: Collection[int]) -> int:
    """Return how many slots of a study were finished by these processes of a machine."""
    query = (
        select(func.count())
        .select_from(slot)
        .join(worker, worker.c.worker_id == slot.c.worker_id)
        .where(slot.c.study_id == study_id, slot.c.state == SlotState.DONE)
        .where(worker.c.machine == machine, worker.c.pid.in_(pids))
    )
    with engine.connect() as connection:
        return connection.scalar(query) or 0
