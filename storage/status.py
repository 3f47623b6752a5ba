"""A study at one moment, in a handful of statements, however many trials it has. Imports no Optuna."""

from __future__ import annotations

import json
import time
from typing import Any

from sqlalchemy import Connection, Engine, select, text
from sqlalchemy.dialects.postgresql import insert

from caviar.epoch import Epoch
from caviar.storage.errors import StudyDeleted, StudyNotFound, TrialNotFound
from caviar.storage.optuna_tables import trials
from caviar.storage.records import PhaseCount, Progress, RunningTrial, Slot, StudyRecord, TrialRecord
from caviar.storage.states import Control, Phase, SlotState, TrialState
from caviar.storage.tables import epoch, slot, test_result

_TRIALS = """
    SELECT s.number, s.tier, s.phase, s.free, s.epoch, s.attempts, w.host,
           CASE WHEN s.state = 'abandoned' THEN 'abandoned' WHEN s.trial_id IS NULL THEN 'open'
                WHEN s.state = 'done' THEN coalesce(lower(t.state::text), 'fail') ELSE 'running' END AS state,
           CASE WHEN s.state = 'done' AND t.state <> 'FAIL' THEN v.value END AS value,
           (SELECT json_object_agg(p.param_name, p.param_value) FROM public.trial_params p
             WHERE p.trial_id = s.trial_id) AS parameters,
           (SELECT json_object_agg(a.key, a.value_json) FROM public.trial_user_attributes a
             WHERE a.trial_id = s.trial_id) AS attributes,
           (SELECT min(split_part(a.key, ':', 2)) FROM public.trial_system_attributes a
             WHERE a.trial_id = s.trial_id AND a.key LIKE 'constraints:%') AS violated,
           coalesce((SELECT sum(e.seconds) FROM caviar.epoch e
             WHERE e.study_id = s.study_id AND e.slot = s.number), 0) AS seconds
    FROM caviar.slot s
    LEFT JOIN public.trials t ON t.trial_id = s.trial_id
    LEFT JOIN public.trial_values v ON v.trial_id = s.trial_id AND v.objective = 0
    LEFT JOIN caviar.worker w ON w.worker_id = s.worker_id
    WHERE s.study_id = :study
"""

STUDY_COLUMNS = """
    s.control, (SELECT max(d.version) FROM caviar.definition d WHERE d.study_id = s.study_id) AS version,
    NOT EXISTS (SELECT FROM public.studies o WHERE o.study_id = s.optuna_study_id) AS deleted
"""
_STUDY = text(f"SELECT {STUDY_COLUMNS} FROM caviar.study s WHERE s.study_id = :study")

_PHASES = text("""
    SELECT s.tier, s.phase, min(s.number) AS first, count(*) AS slots,
           count(*) FILTER (WHERE s.state IN ('done', 'abandoned')) AS done,
           count(*) FILTER (WHERE s.state = 'abandoned') AS abandoned,
           count(*) FILTER (WHERE s.state = 'leased' AND s.expires_at >= now()) AS leased,
           count(*) FILTER (WHERE s.state = 'done' AND t.state = 'COMPLETE') AS complete,
           count(*) FILTER (WHERE s.state = 'done' AND t.state = 'PRUNED') AS pruned,
           count(*) FILTER (WHERE s.state = 'done' AND t.state = 'FAIL') AS failed,
           count(*) FILTER (WHERE s.state = 'done' AND c.diverged) AS diverged,
           sum(s.epoch) AS epochs,
           max(v.value) FILTER (WHERE s.state = 'done' AND t.state = 'COMPLETE' AND c.diverged IS NULL) AS highest,
           min(v.value) FILTER (WHERE s.state = 'done' AND t.state = 'COMPLETE' AND c.diverged IS NULL) AS lowest
    FROM caviar.slot s
    LEFT JOIN public.trials t ON t.trial_id = s.trial_id
    LEFT JOIN public.trial_values v ON v.trial_id = s.trial_id AND v.objective = 0
    LEFT JOIN LATERAL (
        SELECT bool_or(a.key = 'constraints:diverged') AS diverged FROM public.trial_system_attributes a
        WHERE a.trial_id = s.trial_id AND a.key LIKE 'constraints:%') c ON true
    WHERE s.study_id = :study GROUP BY s.tier, s.phase ORDER BY first
""")

_RUNNING = text("""
    SELECT s.number, s.tier, s.phase, s.epoch, w.host, w.pid,
           (SELECT i.intermediate_value FROM public.trial_intermediate_values i
             WHERE i.trial_id = s.trial_id AND i.step = s.epoch) AS value
    FROM caviar.slot s JOIN caviar.worker w ON w.worker_id = s.worker_id
    WHERE s.study_id = :study AND s.state = 'leased' AND s.expires_at >= now() ORDER BY s.number
""")

_TESTED = text("""
    SELECT r.slot FROM caviar.test_result r
    WHERE r.study_id = :study
      AND NOT EXISTS (SELECT FROM caviar.slot s WHERE s.study_id = :study AND s.state IN ('open', 'leased'))
      AND r.measured_at AT TIME ZONE 'UTC' >= (
        SELECT max(t.datetime_complete) FROM caviar.slot s JOIN public.trials t ON t.trial_id = s.trial_id
        WHERE s.study_id = :study)
    ORDER BY r.measured_at, r.slot LIMIT 1
""")

_NUMBERS = text("""
    SELECT st.name, max(s.number) AS last FROM caviar.study st LEFT JOIN caviar.slot s USING (study_id)
    WHERE st.study_id = :study GROUP BY st.study_id
""")

# A trial that violates a constraint, such as one that diverged, is never the best; of equals the first is.
_BEST = (
    _TRIALS
    + """
    AND s.state = 'done' AND t.state = 'COMPLETE' AND NOT EXISTS (SELECT FROM public.trial_system_attributes a
      WHERE a.trial_id = s.trial_id AND a.key LIKE 'constraints:%')
    ORDER BY v.value {direction}, s.number LIMIT 1
"""
)


def read_progress(engine: Engine, record: StudyRecord, *, maximize: bool) -> Progress:
    """Return how far a study is, what runs and what is best, all of one moment.

    Raises:
        StudyNotFound: it was deleted.
    """
    with one_moment(engine) as connection:
        of_study = connection.execute(_STUDY, {"study": record.study_id}).one_or_none()
        return progress_of(connection, record, of_study, maximize=maximize)


def one_moment(engine: Engine) -> Connection:
    """Return a connection whose statements all see the same moment."""
    return engine.connect().execution_options(isolation_level="REPEATABLE READ")


def progress_of(connection: Connection, record: StudyRecord, of_study: Any, *, maximize: bool) -> Progress:
    """Return how far a study is, in three more statements.

    Args:
        of_study: a row with its `control` and its `version`; None where it is not there any more.

    Raises:
        StudyNotFound: it was deleted.
    """
    if of_study is None:
        raise StudyNotFound(f"the study '{record.name}' was deleted meanwhile")
    if of_study.deleted:
        raise StudyDeleted(record.name)
    parameters = {"study": record.study_id}
    phases = connection.execute(_PHASES, parameters).all()
    running = connection.execute(_RUNNING, parameters).all()
    best = connection.execute(text(_BEST.format(direction="DESC" if maximize else "ASC")), parameters).one_or_none()
    slots, done = sum(p.slots for p in phases), sum(p.done for p in phases)
    leased = sum(p.leased for p in phases)
    return Progress(
        control=Control(of_study.control),
        version=of_study.version,
        budget=slots,
        open=slots - done - leased,
        leased=leased,
        complete=sum(p.complete for p in phases),
        pruned=sum(p.pruned for p in phases),
        failed=sum(p.failed for p in phases),
        abandoned=sum(p.abandoned for p in phases),
        diverged=sum(p.diverged for p in phases),
        epochs_trained=sum(p.epochs for p in phases),
        workers=len({(r.host, r.pid) for r in running}),
        phases=tuple(
            PhaseCount(p.tier, Phase(p.phase), p.slots, p.done, p.highest if maximize else p.lowest) for p in phases
        ),
        running=tuple(RunningTrial(r.number, r.tier, Phase(r.phase), r.epoch, r.value, r.host, r.pid) for r in running),
        best=None if best is None else _trial(best),
    )


def read_trials(engine: Engine, study_id: int) -> list[TrialRecord]:
    """Return all slots of a study with their trials, by number."""
    with engine.connect() as connection:
        rows = connection.execute(text(_TRIALS + " ORDER BY s.number"), {"study": study_id})
        return [_trial(row) for row in rows]


def read_trial(engine: Engine, study_id: int, slot_number: int) -> TrialRecord:
    """Return a slot of a study with its trial.

    Raises:
        TrialNotFound: the study has no slot of that number; another Optuna program may have a trial of it.
    """
    with engine.connect() as connection:
        query = text(_TRIALS + " AND s.number = :number")
        row = connection.execute(query, {"study": study_id, "number": slot_number}).one_or_none()
        if row is None:
            raise TrialNotFound(_no_trial(connection, study_id, slot_number))
        return _trial(row)


def _no_trial(connection: Connection, study_id: int, number: int) -> str:
    row = connection.execute(_NUMBERS, {"study": study_id}).one()
    return f"'{row.name}' has no trial {number}; its trials are 0 to {row.last}: caviar trials {row.name}"


def read_curve(engine: Engine, study_id: int, slot_number: int) -> list[Epoch]:
    """Return a trial's learning curve, by epoch."""
    query = select(epoch).where(epoch.c.study_id == study_id, epoch.c.slot == slot_number).order_by(epoch.c.epoch)
    with engine.connect() as connection:
        return [
            Epoch(r.epoch, r.training_loss, r.validation_loss, r.accuracy, r.learning_rate, r.seconds)
            for r in connection.execute(query)
        ]


def last_finished(engine: Engine, study_id: int, count: int) -> list[int]:
    """Return the numbers of the trials that ended last, the newest first."""
    query = (
        select(slot.c.number)
        .join(trials, trials.c.trial_id == slot.c.trial_id)
        .where(slot.c.study_id == study_id, slot.c.state == SlotState.DONE)
        .order_by(trials.c.datetime_complete.desc(), slot.c.number.desc())
        .limit(count)
    )
    with engine.connect() as connection:
        return list(connection.scalars(query))


def read_test(engine: Engine, study_id: int, slot_number: int) -> tuple[float, float] | None:
    """Return loss and accuracy (0 to 1) of a trial's model on the test set; None where it was never measured."""
    query = select(test_result.c.loss, test_result.c.accuracy).where(
        test_result.c.study_id == study_id, test_result.c.slot == slot_number
    )
    with engine.connect() as connection:
        row = connection.execute(query).one_or_none()
    return (row.loss, row.accuracy) if row is not None else None


def tested_slot(engine: Engine, study_id: int) -> int | None:
    """Return the trial whose model was measured on the test set after the last one of a study was done; None where
    there is none."""
    with engine.connect() as connection:
        return connection.scalar(_TESTED, {"study": study_id})  # type: ignore[no-any-return]


def write_test(engine: Engine, study_id: int, slot_number: int, loss: float, accuracy: float) -> None:
    """Keep the one measurement of a trial's model on the test set; a second one changes nothing."""
    with engine.begin() as connection:
        connection.execute(
            insert(test_result)
            .values(study_id=study_id, slot=slot_number, loss=loss, accuracy=accuracy)
            .on_conflict_do_nothing()
        )


def _trial(row: Any) -> TrialRecord:
    return TrialRecord(
        slot=Slot(row.number, row.tier, Phase(row.phase), tuple(row.free)),
        state=TrialState(row.state),
        value=row.value,
        parameters=row.parameters or {},
        epoch=row.epoch,
        attempts=row.attempts,
        violated=row.violated,
        attributes={key: json.loads(value) for key, value in (row.attributes or {}).items()},
        seconds=row.seconds,
        host=row.host,
    )


def clock_skew(engine: Engine) -> float:
    """Return by how many seconds this machine's clock is ahead of the database's."""
    with engine.connect() as connection:
        before = time.time()
        theirs = float(connection.scalar(text("SELECT extract(epoch FROM clock_timestamp())")) or 0)
        return (before + time.time()) / 2 - theirs
