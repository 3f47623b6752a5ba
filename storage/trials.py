"""Writes of a trial: Optuna's rows and Caviar's together, each in one transaction that checks the lease.

Optuna's own client needs 40 to 55 statements for a trial and 10 to 12 for an epoch, and has no leases. Here a trial
takes 11 and an epoch 1, which a test counts, and Optuna's tools read the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from psycopg2.errors import ForeignKeyViolation
from sqlalchemy import Engine, select, text
from sqlalchemy.exc import IntegrityError

from caviar.storage import optuna_tables as optuna
from caviar.storage.checkpoints import Staged, drop_checkpoint, put_checkpoint, take_time_for
from caviar.storage.errors import LeaseLost
from caviar.storage.events import log_event
from caviar.storage.ledger import fence
from caviar.storage.records import Asked, Lease, Report
from caviar.storage.states import Control, EventKind, SlotState
from caviar.storage.tables import slot

# Optuna's readers remember the highest id that they have seen, so ids must become visible in order: the study's row is
# locked before an id is drawn, until the end of the transaction.
_BEGIN = text("""
    WITH locked AS (
        SELECT study.optuna_study_id
        FROM caviar.study JOIN caviar.slot USING (study_id)
        JOIN public.studies o ON o.study_id = study.optuna_study_id
        WHERE slot.study_id = :study AND slot.number = :slot AND slot.token = :token AND slot.trial_id IS NULL
          AND :version = (SELECT max(d.version) FROM caviar.definition d WHERE d.study_id = :study)
        FOR NO KEY UPDATE OF study
    ), trial AS (
        INSERT INTO public.trials (number, study_id, state, datetime_start)
        SELECT :slot, optuna_study_id, 'RUNNING', timezone('UTC', now()) FROM locked
        RETURNING trial_id
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
    )
    SELECT trial_id FROM trial
""")

# A new epoch resets the count of lost leases.
_RECORD_EPOCHS = text("""
    WITH given AS (
        SELECT * FROM unnest(
            CAST(:slot AS integer[]), CAST(:token AS uuid[]), CAST(:epoch AS integer[]),
            CAST(:training_loss AS float8[]), CAST(:validation_loss AS float8[]), CAST(:accuracy AS float8[]),
            CAST(:learning_rate AS float8[]), CAST(:seconds AS float8[]), CAST(:value AS float8[]),
            CAST(:kind AS text[]))
          AS g (slot, token, epoch, training_loss, validation_loss, accuracy, learning_rate, seconds, value, kind)
    ), newest AS (
        SELECT slot, token, max(epoch) AS epoch FROM given GROUP BY slot, token
    ), held AS (  -- by number, the order in which every statement locks several slots
        SELECT s.study_id, s.number, n.epoch
        FROM caviar.slot s JOIN newest n ON s.number = n.slot AND s.token = n.token
        WHERE s.study_id = :study ORDER BY s.number FOR NO KEY UPDATE OF s
    ), renewed AS (
        UPDATE caviar.slot s
        SET epoch = greatest(s.epoch, h.epoch), losses = CASE WHEN h.epoch > s.epoch THEN 0 ELSE s.losses END,
            expires_at = now() + make_interval(secs => :lease)
        FROM held h WHERE s.study_id = h.study_id AND s.number = h.number
        RETURNING s.study_id, s.number, s.trial_id, s.kill
    ), epochs AS (
        INSERT INTO caviar.epoch
        SELECT r.study_id, g.slot, g.epoch, g.training_loss, g.validation_loss, g.accuracy, g.learning_rate, g.seconds
        FROM renewed r JOIN given g ON g.slot = r.number
        ON CONFLICT (study_id, slot, epoch) DO UPDATE
        SET training_loss = excluded.training_loss, validation_loss = excluded.validation_loss,
            accuracy = excluded.accuracy, learning_rate = excluded.learning_rate, seconds = excluded.seconds
    ), reported AS (
        INSERT INTO public.trial_intermediate_values (trial_id, step, intermediate_value, intermediate_value_type)
        SELECT r.trial_id, g.epoch, g.value, CAST(g.kind AS public.trialintermediatevaluetype)
        FROM renewed r JOIN given g ON g.slot = r.number
        ON CONFLICT (trial_id, step) DO UPDATE
        SET intermediate_value = excluded.intermediate_value,
            intermediate_value_type = excluded.intermediate_value_type
    )
    SELECT r.number, study.control, study.at_once, r.kill FROM renewed r JOIN caviar.study USING (study_id)
""")


_DELETED = "its study was deleted by another Optuna program"


class TrialLog:
    """The writer of one study's trials, by a version of its definition; each epoch extends the lease."""

    def __init__(self, engine: Engine, version: int, lease_seconds: float) -> None:
        self._engine, self._version, self._lease_seconds = engine, version, lease_seconds

    def begin(self, lease: Lease, parameters: Mapping[str, tuple[float, str]], attributes: Mapping[str, Any]) -> int:
        """Create the slot's trial in Optuna, running, with the slot's number, and return Optuna's id of it. A second
        call returns the same trial.

        Args:
            parameters: by name, the value in Optuna's internal form and the distribution as Optuna's JSON.
            attributes: user attributes, shown beside the parameters.

        Raises:
            LeaseLost: the lease was lost, or the definition was changed; nothing was written.
        """
        names, stored = list(parameters), list(parameters.values())
        given = {
            "study": lease.study_id, "version": self._version, **_key(lease),
            "names": names, "values": [value for value, _ in stored], "kinds": [kind for _, kind in stored],
            **optuna.as_json(attributes),
        }  # fmt: skip
        with suppress(LeaseLost), _study_there(), self._engine.begin() as connection:
            trial_id = connection.execute(_BEGIN, given).scalar()
            if trial_id is not None:
                fence(connection, lease, slot.c.trial_id.is_(None), trial_id=trial_id)
                return int(trial_id)
        return self._begun(lease)

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

    def record(self, reports: Sequence[Report]) -> dict[int, Asked]:
        """Write epochs of one study's trials, with their values for Optuna, and renew the leases.

        An epoch that was written before is replaced. Return what is asked of the worker, by slot number; a slot that is
        missing was lost: nothing was written for it.
        """
        rows = []
        for report in reports:
            value, kind = optuna.stored_value(report.value)
            rows.append({**vars(report.epoch), "value": value, "kind": kind, **_key(report.lease)})
        columns = {name: [row[name] for row in rows] for name in rows[0]}
        parameters = {"study": reports[0].lease.study_id, "lease": self._lease_seconds, **columns}
        try:
            with _study_there(), self._engine.begin() as connection:
                written = connection.execute(_RECORD_EPOCHS, parameters).all()
        except LeaseLost:
            return {}
        return {row.number: Asked(Control(row.control), row.at_once, row.kill) for row in written}

    def finish(
        self,
        lease: Lease,
        trial_id: int,
        state: str,
        value: float | None,
        attributes: Mapping[str, Any],
        *,
        violated: str | None = None,
        weights: Staged | None = None,
        failure: Mapping[str, Any] | None = None,
    ) -> None:
        """End the trial, and spend its slot.

        Args:
            state: `COMPLETE`, `PRUNED` or `FAIL`.
            value: the objective's value; None for a failed trial.
            attributes: user attributes to add.
            violated: the constraint that the trial violates, such as "diverged".
            weights: the state to keep as the trial's checkpoint; None removes its checkpoint.
            failure: what a failed trial raised, for the event.

        Raises:
            LeaseLost: the lease was lost; nothing was written.
        """
        with _study_there(), self._engine.begin() as connection:
            take_time_for(connection, weights)
            fence(connection, lease, state=SlotState.DONE, token=None, expires_at=None)
            if not optuna.end_trial(connection, trial_id, state, value):
                raise LeaseLost(lease.slot.number, _DELETED)
            optuna.set_attributes(connection, "trial_user_attributes", trial_id, attributes)
            if violated is not None:  # as trial.set_constraint writes it
                optuna.set_attributes(connection, "trial_system_attributes", trial_id, {f"constraints:{violated}": 1.0})
            if failure is not None:
                log_event(connection, lease.study_id, EventKind.TRIAL_FAILED, slot=lease.slot.number, **failure)
            if weights is not None:
                put_checkpoint(connection, lease, weights)
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
