"""Requests to a study's workers, from any machine: pause, stop, resume, end one trial, and free a machine."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Engine, Row, delete, select, text, update

from caviar.storage.checkpoints import of_trial, remove_files
from caviar.storage.errors import TrialNotFound, TrialNotRunning, WorkerNotFound
from caviar.storage.events import log_event
from caviar.storage.losses import end_early, killed_after, reap
from caviar.storage.records import FreedMachine, StudyRecord
from caviar.storage.states import SPENT, Control, EventKind, SlotState
from caviar.storage.tables import checkpoint, slot, study, worker
from caviar.storage.timing import SILENT
from caviar.text import shown

_LISTED = 20  # hosts and jobs that an error names
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


# The workers that are there, and whether they are on that host, which may be given without its domain, or in that job,
# which may be given without the number of the task.
_THERE = text("""
    SELECT w.worker_id, w.study_id, st.name, w.host, w.job, w.leave,
           w.host = :target OR split_part(w.host, '.', 1) = :target OR w.job = :target
             OR coalesce(starts_with(w.job, :target || '_')
                         AND substr(w.job, length(:target) + 2) ~ '^[0-9]+$', false) AS is_meant
    FROM caviar.worker w JOIN caviar.study st USING (study_id)
    WHERE w.ended_at IS NULL AND (CAST(:study AS integer) IS NULL OR w.study_id = :study)
      AND (w.last_seen > now() - make_interval(secs => :silent)
           OR EXISTS (SELECT FROM caviar.slot s WHERE s.worker_id = w.worker_id AND s.state = 'leased'))
    ORDER BY w.host, w.job, w.worker_id
""")


def free_machine(engine: Engine, target: str, study_id: int | None = None, **why: Any) -> FreedMachine:
    """Let the workers of a host, or of a scheduler's job, leave after their epoch.

    Each hears it when it renews a lease, writes an epoch or looks for a slot. The history of each study gets an event,
    if any of its workers had not been asked before.

    Args:
        target: a host, with or without its domain; or a job, with or without the number of its task.
        study_id: whose workers; None for those of all studies.
        why: details for the event, such as who asked.

    Raises:
        WorkerNotFound: no worker is there; the message names the hosts and jobs that there are.
    """
    with engine.begin() as connection:
        there = connection.execute(_THERE, {"target": target, "study": study_id, "silent": SILENT}).all()
        meant = [row for row in there if row.is_meant]
        if not meant:
            raise WorkerNotFound(_nobody(target, there))
        ids = sorted(row.worker_id for row in meant)
        asked = update(worker).where(worker.c.worker_id.in_(ids), ~worker.c.leave).values(leave=True)
        new = connection.scalars(asked.returning(worker.c.study_id)).all()
        for of_study, count in Counter(new).items():
            log_event(connection, of_study, EventKind.FREED, host_or_job=target, workers=count, **why)
    studies, hosts = sorted({row.name for row in meant}), sorted({shown(row.host) for row in meant})
    return FreedMachine(len(meant), len(meant) - len(new), tuple(hosts), tuple(studies))


def _nobody(target: str, there: Sequence[Row[Any]]) -> str:
    hosts, jobs = sorted({shown(row.host) for row in there}), sorted({shown(row.job) for row in there if row.job})
    lists = [f"{what} {', '.join(names[:_LISTED])}{' ...' if len(names) > _LISTED else ''}"
             for what, names in (("on", hosts), ("in the jobs", jobs)) if names]  # fmt: skip
    others = f"; there are workers {' and '.join(lists)}" if lists else "; no worker is at work"
    return f"no worker is on a host or in a job '{shown(target)}'{others}"


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
