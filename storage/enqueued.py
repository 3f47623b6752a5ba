"""Enqueue a trial: say which values the next one shall have. It is written as Optuna's `enqueue_trial` writes it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine, text

from caviar.storage import optuna_tables as optuna
from caviar.storage.errors import NoSlotLeft, StudyDeleted
from caviar.storage.events import log_event
from caviar.storage.records import StudyRecord
from caviar.storage.states import EventKind

_FIXED = "fixed_params"  # the system attribute in which Optuna keeps the values

# In the order in which a worker that begins a trial locks them.
_LOCK = text("""
    SELECT o.study_id FROM caviar.study s JOIN public.studies o ON o.study_id = s.optuna_study_id
    WHERE s.study_id = :study FOR NO KEY UPDATE OF s, o
""")

# Slots that would take an enqueued trial: the default values and the best of an earlier study are trained in any case.
_ROOM = text("""
    SELECT count(*) FROM caviar.slot WHERE study_id = :study AND trial_id IS NULL AND state IN ('open', 'leased')
    AND phase NOT IN ('default', 'prior')
""")
_WAITING = text("SELECT count(*) FROM public.trials WHERE study_id = :optuna_study AND state = 'WAITING'")
_ENQUEUE = text(f"""
    WITH counted AS ({optuna.NEXT_NUMBER})
    INSERT INTO public.trials (number, study_id, state) SELECT next, :optuna_study, 'WAITING' FROM counted
    RETURNING trial_id, number
""")


@dataclass(frozen=True)
class Place:
    """The place of an enqueued trial: how many wait before it, and its number in Optuna's tools."""

    ahead: int
    optuna_number: int


def enqueue_trial(engine: Engine, record: StudyRecord, values: Mapping[str, Any], by: str) -> Place:
    """Let the next slot that begins have these values, behind the trials that wait already.

    Raises:
        NoSlotLeft: as many trials wait as there are slots that could take one.
        StudyDeleted: another Optuna program deleted the study.
    """
    with engine.begin() as connection:
        key = {"study": record.study_id, "optuna_study": connection.scalar(_LOCK, {"study": record.study_id})}
        if key["optuna_study"] is None:
            raise StudyDeleted(record.name)
        room, waiting = connection.scalar(_ROOM, key) or 0, connection.scalar(_WAITING, key) or 0
        if waiting >= room:
            left = "every trial has begun" if not room else f"the {room} trial(s) that have not begun are taken already"
            raise NoSlotLeft(
                f"nothing could try these values in '{record.name}': {left}; give it more with: "
                f"caviar extend {record.name} --budget N"
            )
        row = connection.execute(_ENQUEUE, key).one()
        optuna.set_attributes(connection, "trial_system_attributes", row.trial_id, {_FIXED: dict(values)})
        optuna.set_attributes(connection, "trial_user_attributes", row.trial_id, {"enqueued by": by})
        detail = {"values": dict(values), "by": by, "number_in_optuna": row.number}
        log_event(connection, record.study_id, EventKind.ENQUEUED, **detail)
    return Place(waiting, row.number)
