"""Requests to a study's workers, from any machine: pause, stop, resume, and end one trial."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Engine, delete, select, update

from caviar.storage.checkpoints import of_trial, remove_files
from caviar.storage.errors import TrialNotFound, TrialNotRunning
from caviar.storage.events import log_event
from caviar.storage.losses import end_early, killed_after, reap
from caviar.storage.records import StudyRecord
from caviar.storage.states import SPENT, Control, EventKind, SlotState
from caviar.storage.tables import checkpoint, slot, study

_EVENTS = {Control.RUN: EventKind.RESUMED, Control.PAUSE: EventKind.PAUSED, Control.STOP: EventKind.STOPPED}


def set_control(engine: Engine, study_id: int, control: str, *, at_once: bool = False, **why: Any) -> bool:
    """Set what the workers of a study shall do, and record an event if that is a change; return False if it is none.

    Args:
        at_once: interrupt the current epoch instead of finishing it.
        why: details for the event, such as who asked.
    """
    changed = update(study).where(
        study.c.study_id == study_id, (study.c.control != control) | (study.c.at_once != at_once)
    )
    with engine.begin() as connection:
        if not connection.execute(changed.values(control=control, at_once=at_once)).rowcount:
            return False
        log_event(connection, study_id, _EVENTS[Control(control)], at_once=at_once, **why)
    return True


def kill_trial(engine: Engine, record: StudyRecord, number: int, **why: Any) -> bool:
    """End a trial early, and spend its slot; return False if a worker trains it, which will end it after its epoch.

    Raises:
        TrialNotFound: the study has no such trial.
        TrialNotRunning: the trial has not begun, or has ended already.
    """
    of_slot = (slot.c.study_id == record.study_id, slot.c.number == number)
    with engine.begin() as connection:
        reap(connection, record.study_id)
        row = connection.execute(select(slot).where(*of_slot).with_for_update()).one_or_none()
        if row is None:
            raise TrialNotFound(f"'{record.name}' has no trial {number}; see: caviar trials {record.name}")
        if row.state in SPENT:
            raise TrialNotRunning(f"trial {number} of '{record.name}' has ended already ({row.state})")
        if row.trial_id is None:
            raise TrialNotRunning(f"trial {number} of '{record.name}' has not begun; there is nothing to end")
        log_event(connection, record.study_id, EventKind.KILL_ASKED, slot=number, **why)
        if row.state == SlotState.LEASED:
            connection.execute(update(slot).where(*of_slot).values(kill=True))
            return False
        connection.execute(update(slot).where(*of_slot).values(state=SlotState.DONE))
        if not end_early(connection, row.trial_id, row.epoch, killed_after(row.epoch)):  # this very moment
            raise TrialNotRunning(f"trial {number} of '{record.name}' was ended by another Optuna program")
        dropped = delete(checkpoint).where(*of_trial(record.study_id, number))
        addresses = connection.scalars(dropped.returning(checkpoint.c.address)).all()
    remove_files(engine, record.label, addresses)
    return True
