"""Facts for `caviar doctor`: the server's settings, and what killed processes left in the tables.

Nothing here decides what is wrong or what may be removed. What is read may change the next moment.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import Engine, func, select, text, update

from caviar.storage import optuna_tables as optuna
from caviar.storage.events import log_event
from caviar.storage.records import OtherTrials
from caviar.storage.states import SPENT, EventKind
from caviar.storage.status import OTHERS
from caviar.storage.tables import checkpoint, slot, worker

# `room` leaves out the connections reserved for superusers; `others` are connections that are not Caviar's here.
_SERVER = text("""
    SELECT current_setting('server_version') AS version, current_setting('server_version_num')::int AS number,
           current_user::text AS role, current_database()::text AS database,
           current_setting('TimeZone') AS time_zone,
           current_setting('transaction_read_only')::boolean AS read_only,
           least(current_setting('max_connections')::int
                   - current_setting('superuser_reserved_connections')::int
                   - coalesce(current_setting('reserved_connections', true)::int, 0),
                 (SELECT nullif(rolconnlimit, -1) FROM pg_roles WHERE rolname = session_user),
                 (SELECT nullif(datconnlimit, -1) FROM pg_database WHERE datname = current_database())) AS room,
           (SELECT count(*) FROM pg_stat_activity
             WHERE datid IS NOT NULL AND coalesce(backend_type, 'client backend') = 'client backend'
               AND NOT (application_name = 'caviar' AND datname = current_database())) AS others,
           (SELECT count(*) FROM pg_stat_activity
             WHERE datid IS NOT NULL AND coalesce(backend_type, 'client backend') = 'client backend') AS used,
           pg_backend_pid() AS backend
""")

_STUDIES = text(f"""
    SELECT s.study_id, s.name,
           count(*) FILTER (WHERE l.state = 'open') AS open, count(*) FILTER (WHERE l.state = 'leased') AS leased,
           coalesce(array_agg(l.number ORDER BY l.number) FILTER (WHERE l.state = 'abandoned'), '{{}}') AS abandoned,
           {OTHERS} AS others
    FROM caviar.study s
    JOIN public.studies o ON o.study_id = s.optuna_study_id
    LEFT JOIN caviar.slot l ON l.study_id = s.study_id
    GROUP BY s.study_id ORDER BY s.name
""")

_DELETED = text("""
    SELECT name FROM caviar.study
    WHERE NOT EXISTS (SELECT FROM public.studies o WHERE o.study_id = optuna_study_id) ORDER BY name
""")

_LEASES = text("""
    SELECT st.name AS study, w.machine, w.pid, s.expires_at < now() AS expired
    FROM caviar.slot s
    JOIN caviar.study st ON st.study_id = s.study_id
    JOIN public.studies o ON o.study_id = st.optuna_study_id
    LEFT JOIN caviar.worker w ON w.worker_id = s.worker_id
    WHERE s.state = 'leased' ORDER BY st.name, s.number
""")

# The leases of a worker, and the ends of its trials, are signs of life too.
_WORKERS = text("""
    SELECT w.worker_id, w.study_id, w.host, w.machine, w.job, w.pid,
           CASE WHEN bool_or(s.state = 'leased' AND s.expires_at >= now()) THEN 0
                ELSE extract(epoch FROM now() - greatest(w.last_seen, max(t.datetime_complete) AT TIME ZONE 'UTC'))
                END::float AS silent,
           (SELECT e.detail ->> 'why' FROM caviar.event e
            WHERE e.study_id = w.study_id AND e.worker_id = w.worker_id AND e.kind IN ('worker died', 'timed out')
            ORDER BY e.event_id DESC LIMIT 1) AS why
    FROM caviar.worker w
    LEFT JOIN caviar.slot s ON s.worker_id = w.worker_id
    LEFT JOIN public.trials t ON t.trial_id = s.trial_id
    WHERE w.ended_at IS NULL GROUP BY w.worker_id ORDER BY w.host, w.started_at
""")

_ZOMBIES = text("""
    SELECT t.trial_id, coalesce(s.number, t.number) AS number, st.study_id, st.name AS study,
           s.study_id IS NOT NULL AS has_slot,
           coalesce(extract(epoch FROM now() - t.datetime_start AT TIME ZONE 'UTC'), 0)::float AS age
    FROM public.trials t
    JOIN caviar.study st ON st.optuna_study_id = t.study_id
    LEFT JOIN caviar.slot s ON s.trial_id = t.trial_id
    WHERE t.state = 'RUNNING' AND (s.study_id IS NULL OR s.state IN ('done', 'abandoned'))
    ORDER BY st.name, t.number
""")


@dataclass(frozen=True)
class Server:
    """The server: `number` is 180000 for version 18.0, `room` how many connections this role can have in all, and
    `others` how many other programs have."""

    version: str
    number: int
    role: str
    database: str
    time_zone: str
    read_only: bool
    room: int
    others: int
    used: int  # connections of all clients; of a pooler's, those to the server
    is_pooled: bool  # whether a pooler such as PgBouncer stands in front of it


@dataclass(frozen=True)
class StudySlots:
    """How many slots of a study are open and leased, expired leases included, which were abandoned, and how many trials
    other Optuna programs made beside them."""

    study_id: int
    name: str
    open: int
    leased: int
    abandoned: tuple[int, ...]
    others: OtherTrials

    @property
    def done(self) -> bool:
        return self.open + self.leased == 0


@dataclass(frozen=True)
class HeldLease:
    """A lease that nobody has given or taken back, and the process that holds it, if it is known."""

    study: str
    machine: str | None
    pid: int | None
    expired: bool


@dataclass(frozen=True)
class OpenWorker:
    """A worker whose end is not recorded; `silent` is how many seconds ago it last gave a sign of life.

    `why` is how it died, where the process that supervised it has written that down.
    """

    worker_id: UUID
    study_id: int
    host: str
    machine: str
    job: str | None  # of a scheduler
    pid: int
    silent: float
    why: str | None


@dataclass(frozen=True)
class Zombie:
    """A trial of a study that is RUNNING for Optuna although no slot will be trained with it.

    `has_slot` is True if its slot is spent, and False if another Optuna program made the trial, `age` seconds ago.
    """

    trial_id: int
    number: int
    study_id: int
    study: str
    has_slot: bool
    age: float


def read_server(engine: Engine) -> Server:
    """Return facts about the server and its free connections."""
    with engine.connect() as connection:
        facts = connection.execute(_SERVER).one()._asdict()
        backend = facts.pop("backend")
        # A pooler makes up the id of a process for each of its clients: the server's processes are not theirs.
        told = connection.connection.dbapi_connection.get_backend_pid()  # type: ignore[union-attr]
        return Server(**facts, is_pooled=backend != told)


def read_studies(engine: Engine) -> list[StudySlots]:
    """Return the unspent slots of all studies, by name."""
    with engine.connect() as connection:
        rows = connection.execute(_STUDIES).all()
    return [StudySlots(r.study_id, r.name, r.open, r.leased, tuple(r.abandoned), OtherTrials(*r.others)) for r in rows]


def deleted_studies(engine: Engine) -> list[str]:
    """Return the names of the studies whose trials another Optuna program deleted."""
    with engine.connect() as connection:
        return list(connection.scalars(_DELETED))


def read_leases(engine: Engine) -> list[HeldLease]:
    """Return the leases of all studies, by study, including expired ones that nobody took back."""
    with engine.connect() as connection:
        return [HeldLease(*row) for row in connection.execute(_LEASES)]


def open_workers(engine: Engine) -> list[OpenWorker]:
    """Return the workers of all studies whose end is not recorded: they are at work, or were killed."""
    with engine.connect() as connection:
        return [OpenWorker(*row) for row in connection.execute(_WORKERS)]


def close_workers(engine: Engine, workers: Collection[OpenWorker]) -> None:
    """Record the end of workers that were killed."""
    ids = [w.worker_id for w in workers]
    with engine.begin() as connection:
        connection.execute(
            update(worker).where(worker.c.worker_id.in_(ids), worker.c.ended_at.is_(None)).values(ended_at=func.now())
        )


def read_zombies(engine: Engine) -> list[Zombie]:
    """Return the trials of all studies that are RUNNING for Optuna although nobody will train them."""
    with engine.connect() as connection:
        return [Zombie(*row) for row in connection.execute(_ZOMBIES)]


def end_zombie(engine: Engine, zombie: Zombie) -> None:
    """Mark a trial as failed, unless it has ended meanwhile."""
    running = (optuna.trials.c.trial_id == zombie.trial_id, optuna.trials.c.state == "RUNNING")
    with engine.begin() as connection:
        ended = update(optuna.trials).where(*running).values(state="FAIL", datetime_complete=optuna.UTC_NOW)
        if connection.execute(ended).rowcount:
            log_event(connection, zombie.study_id, EventKind.ZOMBIE_ENDED, trial=zombie.number)


def slot_states(engine: Engine, study_id: int) -> dict[int, str]:
    """Return the state of each slot of a study, by number."""
    with engine.connect() as connection:
        rows = connection.execute(select(slot.c.number, slot.c.state).where(slot.c.study_id == study_id)).all()
    return {row.number: row.state for row in rows}


def checkpoint_size(engine: Engine) -> tuple[int, int]:
    """Return the number of checkpoints that are stored in the database itself, and their bytes."""
    query = select(func.count(), func.coalesce(func.sum(func.octet_length(checkpoint.c.state)), 0))
    with engine.connect() as connection:
        count, size = connection.execute(query.where(checkpoint.c.state.is_not(None))).one()
    return int(count), int(size)


def spent_checkpoints(engine: Engine, study_id: int, winner: int) -> int:
    """Return how many finished trials of a study, apart from the winner, have a checkpoint."""
    query = (
        select(func.count())
        .select_from(checkpoint)
        .join(slot, (slot.c.study_id == checkpoint.c.study_id) & (slot.c.number == checkpoint.c.slot))
        .where(slot.c.study_id == study_id, slot.c.state.in_(SPENT), slot.c.number != winner)
    )
    with engine.connect() as connection:
        return connection.scalar(query) or 0


def checkpoint_addresses(engine: Engine) -> list[str]:
    """Return the addresses of all checkpoints that are stored in files."""
    with engine.connect() as connection:
        query = select(checkpoint.c.address).where(checkpoint.c.address.is_not(None))
        return [str(address) for address in connection.scalars(query)]
