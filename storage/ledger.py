"""The ledger of slots: which worker may train which slot, and until when.

A lease is a random token and an expiry time on the database's clock; no worker's clock matters. Every write for a trial
checks the token in the same transaction, so a worker that lost its lease cannot write.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import ColumnElement, Connection, Engine, Row, TextClause, Update, text, update

from caviar.storage.errors import LeaseLost
from caviar.storage.events import log_event
from caviar.storage.losses import SUSPECT, reap
from caviar.storage.records import Asked, Lease, LeaseKey, Standing, slot_of
from caviar.storage.states import Control, EventKind, SlotState
from caviar.storage.tables import slot
from caviar.storage.timing import SILENT

# Whether somebody frees the machine of the worker; one without a row, after a failover, is registered anew.
_LEAVE = "coalesce((SELECT leave FROM caviar.worker WHERE worker_id = :worker), false)"

# A trial that has begun gets the new worker's name in Optuna's tables, and an event in the study's journal.
_TAKE = """
    taken AS (
        UPDATE caviar.slot s
        SET state = 'leased', token = :token, expires_at = now() + make_interval(secs => :seconds),
            worker_id = :worker, attempts = s.attempts + 1
        FROM next WHERE s.study_id = next.study_id AND s.number = next.number
        RETURNING s.study_id, s.number, s.tier, s.phase, s.free, s.attempts, s.trial_id, s.epoch
    ), named AS (
        UPDATE public.trial_user_attributes a SET value_json = to_json(w.host || ':' || w.pid)::text
        FROM taken, caviar.worker w
        WHERE a.trial_id = taken.trial_id AND a.key = 'worker' AND w.worker_id = :worker
    ), journal AS (
        INSERT INTO caviar.event (study_id, kind, slot, worker_id, detail)
        SELECT study_id, 'taken over', number, CAST(:worker AS uuid), jsonb_build_object('epoch', epoch)
        FROM taken WHERE trial_id IS NOT NULL
    )
    SELECT number, tier, phase, free, attempts, trial_id, epoch FROM taken
"""

# The lowest open slot, for a worker that knows the current definition. SKIP LOCKED passes over a slot that another
# worker is leasing at this moment.
_LEASE = text(f"""
    WITH next AS (
        SELECT s.study_id, s.number
        FROM caviar.slot s JOIN caviar.study USING (study_id)
        JOIN public.studies o ON o.study_id = optuna_study_id  -- absent if another Optuna program deleted it
        WHERE s.study_id = :study AND control = 'run' AND s.state = 'open' AND (:new OR s.trial_id IS NOT NULL)
          AND NOT {_LEAVE}
          AND :version = (SELECT max(d.version) FROM caviar.definition d WHERE d.study_id = :study)
        ORDER BY s.number = ANY(:avoided), s.number LIMIT 1 FOR UPDATE OF s SKIP LOCKED
    ), seen AS (
        UPDATE caviar.worker SET last_seen = now() WHERE worker_id = :worker
    ), {_TAKE}
""")

# Open slots of the same phase as a held one, at most this worker's fair share among the workers that are alive. The
# default configuration and a prior go with the coarse phase of their tier: neither depends on another's result.
_LEASE_MORE = text(f"""
    WITH held AS (
        SELECT s.tier, CASE WHEN s.phase IN ('default', 'prior') THEN 'coarse' ELSE s.phase END AS phase
        FROM caviar.slot s JOIN caviar.study USING (study_id)
        JOIN public.studies o ON o.study_id = optuna_study_id
        WHERE s.study_id = :study AND s.number = :slot AND s.token = :held AND s.losses < :suspect AND control = 'run'
          AND NOT {_LEAVE}
          AND :version = (SELECT max(d.version) FROM caviar.definition d WHERE d.study_id = :study)
    ), fitting AS (
        SELECT s.number FROM caviar.slot s JOIN held USING (tier)
        WHERE held.phase IN (s.phase, CASE s.phase WHEN 'prior' THEN 'coarse' END)
          AND s.study_id = :study AND s.state = 'open' AND s.losses < :suspect AND s.number <> ALL(:avoided)
          AND s.number <> ALL(CAST(:at_work AS integer[]))
          AND (:new OR s.trial_id IS NOT NULL)
    ), next AS (
        SELECT s.study_id, s.number
        FROM caviar.slot s WHERE s.study_id = :study AND s.state = 'open' AND s.number IN (SELECT number FROM fitting)
        ORDER BY s.number
        LIMIT (SELECT least(:count, ceil((SELECT count(*) FROM fitting) / greatest(count(*), 1)::float))::int
               FROM caviar.worker
               WHERE study_id = :study AND ended_at IS NULL AND last_seen > now() - make_interval(secs => :alive))
        FOR UPDATE OF s SKIP LOCKED
    ), {_TAKE}
""")

_HELD = text("""
    SELECT number, tier, phase, free, attempts, trial_id, epoch FROM caviar.slot
    WHERE study_id = :study AND token = :token
""")

_RENEW = text(f"""
    WITH held AS (  -- by number, the order in which every statement locks several slots
        SELECT s.study_id, s.number
        FROM caviar.slot s
        JOIN unnest(CAST(:slots AS integer[]), CAST(:tokens AS uuid[])) AS h (number, token) USING (number, token)
        WHERE s.study_id = :study ORDER BY s.number FOR NO KEY UPDATE OF s
    ), renewed AS (
        UPDATE caviar.slot s SET expires_at = now() + make_interval(secs => :seconds)
        FROM held WHERE s.study_id = held.study_id AND s.number = held.number
        RETURNING s.study_id, s.number, s.token, s.kill
    ), seen AS (
        UPDATE caviar.worker SET last_seen = now() WHERE worker_id = :worker
    )
    SELECT renewed.number, renewed.token, study.control, study.at_once, renewed.kill, {_LEAVE} AS leave
    FROM renewed JOIN caviar.study USING (study_id)
""")

# A lease that expired while its worker could not reach the database, and whose slot no other worker has leased since:
# the slot is open and still names that worker. A slot that a worker released names none.
_RETAKE = text("""
    UPDATE caviar.slot
    SET state = 'leased', token = :token, expires_at = now() + make_interval(secs => :seconds),
        worker_id = :worker, losses = CASE WHEN state = 'open' THEN greatest(losses - 1, 0) ELSE losses END
    WHERE study_id = :study AND number = :slot AND worker_id = :worker AND attempts = :attempts
      AND (token = :token OR state = 'open')
      AND (trial_id IS NULL
           OR EXISTS (SELECT FROM public.trials t WHERE t.trial_id = slot.trial_id AND t.state = 'RUNNING'))
    RETURNING epoch
""")

_STANDING = text(f"""
    WITH seen AS (
        UPDATE caviar.worker SET last_seen = now() WHERE worker_id = :worker
    )
    SELECT control, {_LEAVE} AS leave,
           (SELECT max(d.version) FROM caviar.definition d WHERE d.study_id = :study) AS version,
           (SELECT count(*) FROM caviar.slot s WHERE s.study_id = :study AND s.state = 'open') AS open,
           (SELECT count(*) FROM caviar.slot s WHERE s.study_id = :study AND s.state = 'leased') AS leased
    FROM caviar.study JOIN public.studies o ON o.study_id = optuna_study_id WHERE study.study_id = :study
""")

_GIVE_BACK = text("""
    WITH held AS (
        SELECT study_id, number, worker_id, trial_id, epoch FROM caviar.slot
        WHERE study_id = :study AND number = :slot AND token = :token FOR NO KEY UPDATE
    ), journal AS (
        INSERT INTO caviar.event (study_id, kind, slot, worker_id, detail)
        SELECT study_id, 'given back', number, worker_id, jsonb_build_object('epoch', epoch)
        FROM held WHERE trial_id IS NOT NULL
    )
    UPDATE caviar.slot s SET state = 'open', token = NULL, expires_at = NULL, worker_id = NULL
    FROM held WHERE s.study_id = held.study_id AND s.number = held.number
""")

GIVEN_BACK = {"state": SlotState.OPEN, "token": None, "expires_at": None, "worker_id": None}  # columns of a slot


class Ledger:
    """The slots of one study, for one registered worker to lease, renew and release.

    Args:
        version: the version of the definition that the worker knows; it cannot lease slots of another.
        lease_seconds: how long a lease lasts without being renewed.
    """

    def __init__(self, engine: Engine, study_id: int, version: int, worker_id: UUID, lease_seconds: float) -> None:
        self._engine, self._study_id, self._version, self._worker_id = engine, study_id, version, worker_id
        self._token: UUID | None = None  # of a lease whose request was sent and not yet answered
        self.lease_seconds = lease_seconds
        self.avoided: set[int] = set()  # slots that this worker leases last, since another one may have more memory

    def lease(self, *, new: bool = True) -> Lease | None:
        """Take back expired leases, then lease the next slot; None if no slot is open or the study does not run.

        If the connection fails, call it again: it returns the lease if the first call got it. Of several leases, whose
        answer `lease_more` did not get, it returns the first, and gives back the others.

        Args:
            new: whether a trial may begin; else only one that has begun goes on.
        """
        leases = sorted(self._lease(_LEASE, {"new": new}), key=_number)
        if len(leases) > 1:
            self._token = leases[0].token  # until they are given back, for this may have to be called once more
            with self._engine.begin() as connection:
                for lease in leases[1:]:
                    give_back(connection, lease)
            self._token = None
        return leases[0] if leases else None

    def lease_more(self, lease: Lease, count: int, at_work: Collection[int] = (), *, new: bool = True) -> list[Lease]:
        """Take back expired leases, then lease up to `count` further slots of a held slot's phase.

        This leases at most the worker's fair share of the open slots. It leaves out slots that were lost twice without
        a new epoch: they may be what killed their workers, and are trained alone. It leaves out the slots `at_work`,
        too, which this worker trains: one of them may be open because its lease expired, and is about to be retaken.
        """
        held = {"new": new, "held": lease.token, "slot": lease.slot.number, "at_work": sorted(at_work)}
        limits = {"count": count, "suspect": SUSPECT, "alive": SILENT}
        return sorted(self._lease(_LEASE_MORE, {**held, **limits}), key=_number)

    def renew(self, leases: Sequence[Lease]) -> dict[LeaseKey, Asked]:
        """Extend leases, record that this worker is alive, and return what is asked of it, by the lease's key; one that
        is missing was lost."""
        held = {"slots": [lease.slot.number for lease in leases], "tokens": [lease.token for lease in leases]}
        with self._engine.begin() as connection:
            rows = connection.execute(_RENEW, {**self._who(), **held}).all()
        return asked_by(rows)

    def retake(self, lease: Lease) -> bool:
        """Regain a lease that expired during an outage of the database; False if another worker has the slot, or its
        trial was ended or deleted by another Optuna program."""
        with self._engine.begin() as connection:
            row = connection.execute(_RETAKE, {**self._who(), **_key(lease), "attempts": lease.attempts}).one_or_none()
            if row is not None:
                log_event(
                    connection, self._study_id, EventKind.LEASE_TAKEN_AGAIN, slot=lease.slot.number,
                    worker_id=self._worker_id, epoch=row.epoch,
                )  # fmt: skip
        return row is not None

    def release(self, lease: Lease) -> None:
        """Open the slot unfinished, for the next worker to continue. A lost lease is no error."""
        with self._engine.begin() as connection:
            give_back(connection, lease)

    def standing(self) -> Standing:
        """Return what is left to do in the study, and record that this worker is alive."""
        with self._engine.begin() as connection:
            row = connection.execute(_STANDING, self._who()).one_or_none()
        if row is None:  # deleted meanwhile
            return Standing(Control.STOP, self._version, 0, 0)
        return Standing(Control(row.control), row.version, row.open, row.leased, row.leave)

    def _who(self) -> dict[str, object]:
        return {"study": self._study_id, "worker": self._worker_id, "seconds": self.lease_seconds}

    def _lease(self, statement: TextClause, also: Mapping[str, object]) -> list[Lease]:
        if self._token is not None:
            with self._engine.connect() as connection:
                rows = connection.execute(_HELD, {"study": self._study_id, "token": self._token}).all()
            if rows:
                return self._leased(rows, self._token)
        self._token = token = uuid4()
        known = {"version": self._version, "avoided": sorted(self.avoided), "token": token}
        with self._engine.begin() as connection:
            reap(connection, self._study_id)
            rows = connection.execute(statement, {**self._who(), **known, **also}).all()
        return self._leased(rows, token)

    def _leased(self, rows: Iterable[Row[Any]], token: UUID) -> list[Lease]:
        self._token = None
        return [Lease(self._study_id, slot_of(row), token, row.attempts, row.trial_id, row.epoch) for row in rows]


def asked_by(rows: Iterable[Row[Any]]) -> dict[LeaseKey, Asked]:
    """Return what is asked of a worker, by the lease's key, from rows with that key and the requests."""
    return {
        (row.number, row.token): Asked(Control(row.control), row.at_once, row.kill, row.leave) for row in rows
    }  # fmt: skip


def fence(connection: Connection, lease: Lease, *also: ColumnElement[bool], **values: object) -> None:
    """Set columns of the leased slot if the lease is still held and the slot meets the further conditions.

    Raises:
        LeaseLost: the lease was lost; the caller must roll its transaction back.
    """
    if connection.execute(_of(lease).where(*also).values(**values)).rowcount != 1:
        raise LeaseLost(lease.slot.number)


def give_back(connection: Connection, lease: Lease) -> bool:
    """Open the leased slot for the next worker, with an event if its trial has begun; False if the lease was lost."""
    return connection.execute(_GIVE_BACK, {"study": lease.study_id, **_key(lease)}).rowcount == 1


def _number(lease: Lease) -> int:
    return lease.slot.number


def _key(lease: Lease) -> dict[str, object]:
    return {"slot": lease.slot.number, "token": lease.token}


def _of(lease: Lease) -> Update:
    return update(slot).where(
        slot.c.study_id == lease.study_id, slot.c.number == lease.slot.number, slot.c.token == lease.token
    )
