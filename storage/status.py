"""Status: the progress of a study and the records of its trials, in a few statements each. Imports no Optuna."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Engine, select, text

from caviar.storage.errors import StudyDeleted, StudyNotFound, TrialNotFound
from caviar.storage.optuna_tables import CONSTRAINT_NAME, VIOLATED, from_json, plain_value, trials
from caviar.storage.records import OtherTrials, PhaseCount, RunningTrial, StudyRecord, TrialRecord, slot_of
from caviar.storage.states import Control, Phase, SlotState, TrialState
from caviar.storage.tables import slot
from caviar.text import shown


@dataclass(frozen=True)
class SlotCounts:
    """The slots of a study, counted at one moment. Expired leases count as open. Abandoned slots count as spent, and so
    do those whose trials other Optuna programs ended.

    A new count is a field here and a line in `_COUNTS`: every summary of a study, and its JSON document, has it then.
    """

    budget: int
    open: int
    leased: int
    complete: int
    pruned: int
    failed: int
    abandoned: int
    ended_elsewhere: int
    diverged: int

    @property
    def done(self) -> int:
        """The number of spent slots."""
        return self.complete + self.pruned + self.failed + self.abandoned + self.ended_elsewhere


@dataclass(frozen=True)
class Progress(SlotCounts):
    """The progress of a study at one moment; `version` is its definition's."""

    control: Control
    version: int
    epochs_trained: int
    workers: int
    phases: tuple[PhaseCount, ...]
    running: tuple[RunningTrial, ...]
    best: TrialRecord | None
    others: OtherTrials
    at_once: bool = False  # whether workers shall leave in the middle of an epoch, too
    unkept: str | None = None  # why states of trials cannot be kept; None where they can, or none is needed any more
    violations: Mapping[str, int] = field(default_factory=dict)  # trials that violate a constraint, by its name


_TRIALS = f"""
    SELECT s.number, s.tier, s.phase, s.free, s.epoch, s.attempts, w.host, t.number AS optuna_number,
           CASE WHEN s.state IN ('abandoned', 'ended elsewhere') THEN s.state WHEN s.trial_id IS NULL THEN 'open'
                WHEN s.state = 'done' THEN coalesce(lower(t.state::text), 'fail')
                WHEN s.state = 'leased' AND s.expires_at >= now() THEN 'running' ELSE 'interrupted' END AS state,
           CASE WHEN s.state IN ('done', 'ended elsewhere') AND t.state <> 'FAIL' THEN v.value END AS value,
           (SELECT json_object_agg(p.param_name, p.param_value) FROM public.trial_params p
             WHERE p.trial_id = s.trial_id) AS parameters,
           CASE WHEN (SELECT d.body ->> 'objective' FROM caviar.definition d WHERE d.study_id = :study
                       ORDER BY d.version DESC LIMIT 1) IS NOT NULL
                THEN (SELECT json_agg(json_build_array(p.param_name, p.param_value, p.distribution_json)
                        ORDER BY p.param_id) FROM public.trial_params p WHERE p.trial_id = s.trial_id) END AS named,
           (SELECT json_object_agg(a.key, a.value_json) FROM public.trial_user_attributes a
             WHERE a.trial_id = s.trial_id) AS attributes,
           (SELECT string_agg({CONSTRAINT_NAME}, ', ' ORDER BY a.key) FROM public.trial_system_attributes a
             WHERE a.trial_id = s.trial_id AND {VIOLATED}) AS violated,
           coalesce((SELECT sum(e.seconds) FROM caviar.epoch e
             WHERE e.study_id = s.study_id AND e.slot = s.number AND e.epoch <= s.epoch), 0) AS seconds
    FROM caviar.slot s
    LEFT JOIN public.trials t ON t.trial_id = s.trial_id
    LEFT JOIN public.trial_values v ON v.trial_id = s.trial_id AND v.objective = 0
    LEFT JOIN caviar.worker w ON w.worker_id = s.worker_id
    WHERE s.study_id = :study
"""

# Each field of `SlotCounts`, and the epochs, over the slots of one phase.
_COUNTS = {
    "budget": "count(*)",
    "open": "count(*) FILTER (WHERE s.state = 'open' OR s.state = 'leased' AND s.expires_at < now())",
    "leased": "count(*) FILTER (WHERE s.state = 'leased' AND s.expires_at >= now())",
    "complete": "count(*) FILTER (WHERE s.state = 'done' AND t.state = 'COMPLETE')",
    "pruned": "count(*) FILTER (WHERE s.state = 'done' AND t.state = 'PRUNED')",
    "failed": "count(*) FILTER (WHERE s.state = 'done' AND t.state = 'FAIL')",
    "abandoned": "count(*) FILTER (WHERE s.state = 'abandoned')",
    "ended_elsewhere": "count(*) FILTER (WHERE s.state = 'ended elsewhere')",
    "diverged": "count(*) FILTER (WHERE s.state = 'done' AND c.diverged)",
    "epochs_trained": "sum(s.epoch)",
}
# A trial that violates a constraint, such as one that diverged, is never the best. Ties go to the lower number.
_SOUND = "s.state = 'done' AND t.state = 'COMPLETE' AND c.trial_id IS NULL"
_FINITE = f"FILTER (WHERE {_SOUND} AND v.value IS NOT NULL)"
# The best values are arrays with the number of the trial, so that one statement finds both.
_PHASES = text(f"""
    SELECT s.tier, s.phase, min(s.number) AS first, count(t.trial_id) AS trials,
           max(ARRAY[v.value, -s.number]) {_FINITE} AS highest, min(ARRAY[v.value, s.number]) {_FINITE} AS lowest,
           min(s.number) FILTER (WHERE {_SOUND}) AS first_sound,
           {", ".join(f"{expression} AS {name}" for name, expression in _COUNTS.items())}
    FROM caviar.slot s
    LEFT JOIN public.trials t ON t.trial_id = s.trial_id
    LEFT JOIN public.trial_values v ON v.trial_id = s.trial_id AND v.objective = 0
    LEFT JOIN (
        SELECT a.trial_id, bool_or(a.key = 'constraints:diverged') AS diverged FROM public.trial_system_attributes a
        WHERE {VIOLATED} AND a.trial_id IN (SELECT x.trial_id FROM caviar.slot x WHERE x.study_id = :study)
        GROUP BY a.trial_id) c ON c.trial_id = s.trial_id
    WHERE s.study_id = :study GROUP BY s.tier, s.phase ORDER BY first
""")

# Trials of the study `s` that other Optuna programs made: how many, and how many of them wait.
OTHERS = """
    (SELECT json_build_array(count(*), count(*) FILTER (WHERE t.state = 'WAITING')) FROM public.trials t
      WHERE t.study_id = s.optuna_study_id AND NOT EXISTS (SELECT FROM caviar.slot x WHERE x.trial_id = t.trial_id))
"""
# All trials of the study `s`, of its slots too, and those of `OTHERS` that wait, which are few.
_TRIALS_OF_ALL = """
    (SELECT json_build_array(count(*), count(*) FILTER (WHERE t.state = 'WAITING' AND NOT EXISTS (
                               SELECT FROM caviar.slot x WHERE x.trial_id = t.trial_id)))
     FROM public.trials t WHERE t.study_id = s.optuna_study_id)
"""
# Why the last state that could not be written was not, until one of the same trial is, or any is in a file.
_UNKEPT = """
    (SELECT e.detail ->> 'reason' FROM caviar.event e
      WHERE e.study_id = s.study_id AND e.kind = 'checkpoint not written'
        AND NOT EXISTS (SELECT FROM caviar.checkpoint c
                        WHERE c.study_id = e.study_id AND c.saved_at >= e.at
                          AND (c.slot = e.slot OR c.address IS NOT NULL))
        AND EXISTS (SELECT FROM caviar.slot x WHERE x.study_id = e.study_id AND x.state IN ('open', 'leased'))
      ORDER BY e.event_id DESC LIMIT 1)
"""
# The number of trials that violate each constraint, by its name.
_VIOLATIONS = f"""
    (SELECT json_object_agg(y.name, y.trials ORDER BY y.name) FROM (
      SELECT {CONSTRAINT_NAME} AS name, count(*) AS trials
      FROM caviar.slot x JOIN public.trial_system_attributes a USING (trial_id)
      WHERE x.study_id = s.study_id AND x.state = 'done' AND {VIOLATED} GROUP BY a.key) y)
"""
STUDY_COLUMNS = f"""
    s.control, s.at_once, (SELECT max(d.version) FROM caviar.definition d WHERE d.study_id = s.study_id) AS version,
    NOT EXISTS (SELECT FROM public.studies o WHERE o.study_id = s.optuna_study_id) AS deleted,
    {_TRIALS_OF_ALL} AS trials, {_UNKEPT} AS unkept, {_VIOLATIONS} AS violations
"""
_STUDY = text(f"SELECT {STUDY_COLUMNS} FROM caviar.study s WHERE s.study_id = :study")

_RUNNING = text("""
    SELECT s.number, s.tier, s.phase, s.epoch, s.kill, w.host || ':' || w.pid AS worker, w.machine,
           (SELECT i.intermediate_value FROM public.trial_intermediate_values i
             WHERE i.trial_id = s.trial_id AND i.step <= s.epoch ORDER BY i.step DESC LIMIT 1) AS value
    FROM caviar.slot s JOIN caviar.worker w ON w.worker_id = s.worker_id
    WHERE s.study_id = :study AND s.state = 'leased' AND s.expires_at >= now() ORDER BY s.number
""")

_NUMBERS = text("""
    SELECT st.name, max(s.number) AS last FROM caviar.study st LEFT JOIN caviar.slot s USING (study_id)
    WHERE st.study_id = :study GROUP BY st.study_id
""")

_TRIAL = text(_TRIALS + " AND s.number = :number")


def read_progress(engine: Engine, record: StudyRecord, *, maximize: bool) -> Progress:
    """Return the progress of a study, all of one moment.

    Raises:
        StudyNotFound: the study was deleted.
    """
    with one_moment(engine) as connection:
        study_row = connection.execute(_STUDY, {"study": record.study_id}).one_or_none()
        return progress_of(connection, record, study_row, maximize=maximize)


def one_moment(engine: Engine) -> Connection:
    """Return a connection whose statements all see the database at the same moment."""
    return engine.connect().execution_options(isolation_level="REPEATABLE READ")


def progress_of(connection: Connection, record: StudyRecord, study_row: Any, *, maximize: bool) -> Progress:
    """Return the progress of a study, in three further statements; `study_row` has its STUDY_COLUMNS.

    Raises:
        StudyNotFound: the study was deleted.
    """
    if study_row is None:
        raise StudyNotFound(f"the study '{record.name}' was deleted meanwhile")
    if study_row.deleted:
        raise StudyDeleted(record.name)
    parameters = {"study": record.study_id}
    phases = connection.execute(_PHASES, parameters).all()
    running = connection.execute(_RUNNING, parameters).all()
    best_of = "highest" if maximize else "lowest"
    best = _number_of_best(phases, maximize=maximize)
    best_row = None if best is None else connection.execute(_TRIAL, {**parameters, "number": best}).one()
    made, waiting = study_row.trials
    return Progress(
        **{name: int(sum(getattr(phase, name) for phase in phases)) for name in _COUNTS},  # a sum may be a Decimal
        control=Control(study_row.control),
        at_once=study_row.at_once,
        version=study_row.version,
        workers=len({(r.machine, r.worker) for r in running}),
        phases=tuple(
            PhaseCount(
                p.tier, Phase(p.phase), p.budget, p.budget - p.open - p.leased, (getattr(p, best_of) or [None])[0]
            )
            for p in phases
        ),
        running=tuple(
            RunningTrial(r.number, r.tier, Phase(r.phase), r.epoch, r.value, r.worker, r.kill, r.machine)
            for r in running
        ),
        best=None if best_row is None else _trial(best_row),
        others=OtherTrials(made - sum(phase.trials for phase in phases), waiting),
        unkept=study_row.unkept,
        violations=study_row.violations or {},
    )


def _number_of_best(phases: Sequence[Any], *, maximize: bool) -> int | None:
    """Return the number of the best sound trial; of those whose value is infinite, if no other is there, the first."""
    values = [best for p in phases if (best := p.highest if maximize else p.lowest) is not None]
    if values:
        return int(abs((max if maximize else min)(values)[1]))
    return min((p.first_sound for p in phases if p.first_sound is not None), default=None)


def slots_left(engine: Engine, study_id: int) -> int:
    """Return how many slots of a study's budget are not spent."""
    query = text("SELECT count(*) FROM caviar.slot WHERE study_id = :study AND state IN ('open', 'leased')")
    with engine.connect() as connection:
        return int(connection.execute(query, {"study": study_id}).scalar_one())


def read_trials(engine: Engine, study_id: int) -> list[TrialRecord]:
    """Return all slots of a study with their trials, by number."""
    with engine.connect() as connection:
        rows = connection.execute(text(_TRIALS + " ORDER BY s.number"), {"study": study_id})
        return [_trial(row) for row in rows]


def read_trial(engine: Engine, study_id: int, slot_number: int) -> TrialRecord:
    """Return a slot of a study with its trial.

    Raises:
        TrialNotFound: the study has no slot of that number, though another Optuna program may have such a trial.
    """
    with engine.connect() as connection:
        row = connection.execute(_TRIAL, {"study": study_id, "number": slot_number}).one_or_none()
        if row is None:
            name, last = connection.execute(_NUMBERS, {"study": study_id}).one()
            raise TrialNotFound(
                f"'{name}' has no trial {slot_number}; its trials are 0 to {last}: caviar trials {name}"
            )
        return _trial(row)


def last_finished(engine: Engine, study_id: int, count: int) -> list[int]:
    """Return the numbers of the trials that ended last, newest first."""
    query = (
        select(slot.c.number)
        .join(trials, trials.c.trial_id == slot.c.trial_id)
        .where(slot.c.study_id == study_id, slot.c.state == SlotState.DONE)
        .order_by(trials.c.datetime_complete.desc(), slot.c.number.desc())
        .limit(count)
    )
    with engine.connect() as connection:
        return list(connection.scalars(query))


def _trial(row: Any) -> TrialRecord:
    return TrialRecord(
        slot=slot_of(row),
        state=TrialState(row.state),
        value=row.value,
        parameters=row.parameters or {},
        named={shown(name): plain_value(value, kind) for name, value, kind in row.named or ()},
        epoch=row.epoch,
        attempts=row.attempts,
        violated=row.violated,
        attributes={key: from_json(value) for key, value in (row.attributes or {}).items()},
        seconds=row.seconds,
        host=row.host,
        optuna_number=row.optuna_number,
    )
