"""Writes of a trial: Optuna's rows and Caviar's together, each in one transaction that checks the lease.

Optuna's own client needs 40 to 55 statements for a trial and 10 to 12 for an epoch, and has no leases. Here a trial
takes 11 and an epoch 1, which a test counts, and Optuna's tools read the same.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from psycopg2.errors import ForeignKeyViolation
from sqlalchemy import Engine, select, text, update
from sqlalchemy.exc import IntegrityError

from caviar.epoch import to_document
from caviar.storage import optuna_tables as optuna
from caviar.storage.checkpoints import Staged, drop_checkpoint, put_checkpoint, take_time_for
from caviar.storage.errors import LeaseLost
from caviar.storage.events import log_event
from caviar.storage.ledger import asked_by, fence
from caviar.storage.records import Asked, Lease, LeaseKey, Report
from caviar.storage.states import EventKind, SlotState
from caviar.storage.tables import slot
from caviar.text import storable

# Optuna numbers trials by counting those there are, under this lock of its study's row. It makes ids visible in order,
# too, whichever program draws them: Optuna's readers remember the highest one that they have seen.
_LOCK = text("""
    SELECT study.optuna_study_id
    FROM caviar.study JOIN caviar.slot USING (study_id)
    JOIN public.studies o ON o.study_id = study.optuna_study_id
    WHERE slot.study_id = :study AND slot.number = :slot AND slot.token = :token AND slot.trial_id IS NULL
      AND :version = (SELECT max(d.version) FROM caviar.definition d WHERE d.study_id = :study)
    FOR NO KEY UPDATE OF study, o, slot
""")

_BEGIN = text(f"""
    WITH counted AS ({optuna.NEXT_NUMBER}
    ), taken AS (
        UPDATE public.trials SET state = 'RUNNING', datetime_start = timezone('UTC', now())
        WHERE trial_id = :waiting AND state = 'WAITING' RETURNING trial_id
    ), made AS (
        INSERT INTO public.trials (number, study_id, state, datetime_start)
        SELECT next, :optuna_study, 'RUNNING', timezone('UTC', now()) FROM counted WHERE CAST(:waiting AS int) IS NULL
        RETURNING trial_id
    ), trial AS (SELECT trial_id FROM taken UNION ALL SELECT trial_id FROM made
    ), of_slot AS (
        UPDATE caviar.slot s SET trial_id = trial.trial_id
        FROM trial WHERE s.study_id = :study AND s.number = :slot
    ), chosen AS (
        INSERT INTO public.trial_params (trial_id, param_name, param_value, distribution_json)
        SELECT trial_id, name, value, kind
        FROM trial, unnest(CAST(:names AS text[]), CAST(:values AS float8[]), CAST(:kinds AS text[]))
             WITH ORDINALITY AS p (name, value, kind, place)
        ORDER BY place
    ), described AS (
        INSERT INTO public.trial_user_attributes (trial_id, key, value_json)
        SELECT trial_id, key, value_json
        FROM trial, unnest(CAST(:keys AS text[]), CAST(:jsons AS text[])) AS a (key, value_json)
        ON CONFLICT (trial_id, key) DO UPDATE SET value_json = excluded.value_json
    )
    SELECT trial_id FROM trial
""")

# A new epoch resets the count of lost leases.
_RECORD_EPOCHS = text("""
    WITH given AS (
        SELECT * FROM unnest(
            CAST(:slot AS integer[]), CAST(:token AS uuid[]), CAST(:epoch AS integer[]),
            CAST(:metrics AS text[]), CAST(:seconds AS float8[]), CAST(:value AS float8[]), CAST(:kind AS text[]))
          AS g (slot, token, epoch, metrics, seconds, value, kind)
    ), newest AS (
        SELECT slot, token, max(epoch) AS epoch FROM given GROUP BY slot, token
    ), held AS (  -- by number, the order in which every statement locks several slots
        SELECT s.study_id, s.number, n.epoch
        FROM caviar.slot s JOIN newest n ON s.number = n.slot AND s.token = n.token
        JOIN public.trials t ON t.trial_id = s.trial_id AND t.state = 'RUNNING'  -- else another program ended it
        WHERE s.study_id = :study ORDER BY s.number FOR NO KEY UPDATE OF s
    ), renewed AS (
        UPDATE caviar.slot s
        SET epoch = greatest(s.epoch, h.epoch), losses = CASE WHEN h.epoch > s.epoch THEN 0 ELSE s.losses END,
            expires_at = now() + make_interval(secs => :lease)
        FROM held h WHERE s.study_id = h.study_id AND s.number = h.number
        RETURNING s.study_id, s.number, s.token, s.trial_id, s.kill, s.worker_id
    ), epochs AS (  -- those under the token that holds the slot, and none of an earlier lease
        INSERT INTO caviar.epoch (study_id, slot, epoch, metrics, seconds)
        SELECT r.study_id, g.slot, g.epoch, CAST(g.metrics AS jsonb), g.seconds
        FROM renewed r JOIN given g ON g.slot = r.number AND g.token = r.token
        ON CONFLICT (study_id, slot, epoch) DO UPDATE
        SET metrics = excluded.metrics, seconds = excluded.seconds
    ), reported AS (  -- where the study's metric was measured
        INSERT INTO public.trial_intermediate_values (trial_id, step, intermediate_value, intermediate_value_type)
        SELECT r.trial_id, g.epoch, g.value, CAST(g.kind AS public.trialintermediatevaluetype)
        FROM renewed r JOIN given g ON g.slot = r.number AND g.token = r.token AND g.kind IS NOT NULL
        ON CONFLICT (trial_id, step) DO UPDATE
        SET intermediate_value = excluded.intermediate_value,
            intermediate_value_type = excluded.intermediate_value_type
    )
    SELECT r.number, r.token, study.control, study.at_once, r.kill, coalesce(w.leave, false) AS leave
    FROM renewed r JOIN caviar.study USING (study_id) LEFT JOIN caviar.worker w USING (worker_id)
""")


_DELETED = "its study was deleted by another Optuna program"
_ENDED = "another Optuna program ended its trial"


class TrialLog:
    """The writer of one study's trials, by a version of its definition; each epoch extends the lease."""

    def __init__(self, engine: Engine, version: int, lease_seconds: float) -> None:
        self._engine, self._version, self._lease_seconds = engine, version, lease_seconds

    def begin(
        self,
        lease: Lease,
        parameters: Mapping[str, tuple[float, str]],
        attributes: Mapping[str, Any],
        waiting: int | None = None,
    ) -> int | None:
        """Let the slot have a running trial in Optuna: a new one, or one that waits there. A second call returns the
        same trial.

        Args:
            parameters: by name, the value in Optuna's internal form and the distribution as Optuna's JSON.
            attributes: user attributes, shown beside the parameters.
            waiting: Optuna's id of a trial that somebody enqueued.

        Returns:
            Optuna's id of the trial; None if the waiting one waits no more.

        Raises:
            LeaseLost: the lease was lost, or the definition was changed; nothing was written.
        """
        names, stored = list(parameters), list(parameters.values())
        key = {"study": lease.study_id, "version": self._version, **_key(lease)}
        given = {
            "names": names, "values": [value for value, _ in stored], "kinds": [kind for _, kind in stored],
            **optuna.as_json(attributes), "waiting": waiting,
        }  # fmt: skip
        with suppress(LeaseLost), _study_there(), self._engine.begin() as connection:
            study = connection.execute(_LOCK, key).scalar()
            if study is not None:
                trial_id: int | None = connection.execute(_BEGIN, {**key, **given, "optuna_study": study}).scalar()
                return trial_id
        return self._begun(lease)

    def refuse(self, study_id: int, waiting: int, number: int, reason: str) -> None:
        """Fail a trial that somebody enqueued and that no slot can take; the event says why."""
        refused = update(optuna.trials).where(optuna.trials.c.trial_id == waiting, optuna.trials.c.state == "WAITING")
        ended = {"state": "FAIL", "datetime_start": optuna.UTC_NOW, "datetime_complete": optuna.UTC_NOW}
        with _study_there(), self._engine.begin() as connection:
            if connection.execute(refused.values(**ended)).rowcount:  # else another worker has refused it
                optuna.set_attributes(connection, "trial_user_attributes", waiting, {"why it stopped": reason})
                log_event(connection, study_id, EventKind.ENQUEUED_REFUSED, number_in_optuna=number, reason=reason)

    def _begun(self, lease: Lease) -> int:
        """Return the trial that this lease began already, if the answer to that was lost or came late."""
        query = select(slot.c.trial_id).where(
            slot.c.study_id == lease.study_id, slot.c.number == lease.slot.number, slot.c.token == lease.token
        )
        with self._engine.connect() as connection:
            trial_id = connection.scalar(query)
        if trial_id is None:
            raise LeaseLost(lease.slot.number, "another worker has it, or its study was changed")
        return int(trial_id)

    def record(self, reports: Sequence[Report]) -> dict[LeaseKey, Asked]:
        """Write epochs of one study's trials, with their values for Optuna, and renew the leases.

        An epoch that was written before is replaced. Return what is asked of the worker, by the lease's key; one that
        is missing was lost: nothing was written under it.
        """
        rows = []
        for report in reports:
            value, kind = (None, None) if report.value is None else optuna.stored_value(report.value)
            epoch, metrics = report.epoch, json.dumps(storable(to_document(report.epoch.metrics)))
            rows.append({"epoch": epoch.epoch, "metrics": metrics, "seconds": epoch.seconds, "value": value,
                         "kind": kind, **_key(report.lease)})  # fmt: skip
        columns = {name: [row[name] for row in rows] for name in rows[0]}
        parameters = {"study": reports[0].lease.study_id, "lease": self._lease_seconds, **columns}
        try:
            with _study_there(), self._engine.begin() as connection:
                written = connection.execute(_RECORD_EPOCHS, parameters).all()
        except LeaseLost:
            return {}
        return asked_by(written)

    def finish(
        self,
        lease: Lease,
        trial_id: int,
        state: str,
        value: float | None,
        attributes: Mapping[str, Any],
        *,
        epoch: int | None = None,
        constraints: Mapping[str, float] | None = None,
        weights: Staged | None = None,
        failure: Mapping[str, Any] | None = None,
    ) -> None:
        """End the trial, and spend its slot.

        Args:
            state: `COMPLETE`, `PRUNED` or `FAIL`.
            value: the objective's value; None for a failed trial.
            attributes: user attributes to add.
            epoch: the last one of the attempt that ended the trial: an earlier attempt may have come further, and its
                later epochs are no longer the trial's. None for the last that was written.
            constraints: by name, how far the trial is above a bound; below or at 0 it keeps it.
            weights: the state to keep as the trial's checkpoint; None removes its checkpoint.
            failure: what a failed trial raised, for the event.

        Raises:
            LeaseLost: the lease was lost; nothing was written.
        """
        with _study_there(), self._engine.begin() as connection:
            take_time_for(connection, weights)
            length = {} if epoch is None else {"epoch": epoch}
            fence(connection, lease, state=SlotState.DONE, token=None, expires_at=None, **length)
            if epoch is not None and epoch < lease.epoch:
                optuna.void_values(connection, trial_id, epoch)
            if not optuna.end_trial(connection, trial_id, state, value):
                raise LeaseLost(lease.slot.number, _ENDED)
            optuna.set_attributes(connection, "trial_user_attributes", trial_id, attributes)
            if constraints:  # as trial.set_constraint writes them
                stored = {f"{optuna.CONSTRAINT}{name}": violation for name, violation in constraints.items()}
                optuna.set_attributes(connection, "trial_system_attributes", trial_id, stored)
            if failure is not None:
                log_event(connection, lease.study_id, EventKind.TRIAL_FAILED, slot=lease.slot.number, **failure)
            if weights is not None:
                put_checkpoint(connection, lease.study_id, lease.slot.number, weights)
            else:
                drop_checkpoint(connection, lease)


@contextmanager
def _study_there() -> Iterator[None]:
    """Raise LeaseLost if a trial is gone from Optuna's tables, since its study was deleted there."""
    try:
        yield
    except IntegrityError as error:
        if not isinstance(error.orig, ForeignKeyViolation):
            raise
        raise LeaseLost(None, _DELETED) from error


def _key(lease: Lease) -> dict[str, Any]:
    return {"slot": lease.slot.number, "token": lease.token}
