"""What was submitted for a study: events of its history, of which nothing but checked names goes to a scheduler."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import Engine

from caviar.storage.events import read_events, record_event
from caviar.storage.records import EventRecord, StudyRecord
from caviar.storage.states import EventKind
from caviar.storage.who import current_user
from caviar.studies.launch.scheduler import SchedulerKind


@dataclass(frozen=True)
class Submission:
    """A job that was submitted to a scheduler.

    Attributes:
        scheduler: which one.
        job: its name there.
        workers: how many tasks it has.
        by: who submitted it, as `name@host`.
        at: when, by the database's clock.
        is_stopped: whether `caviar launch stop` ended it.
    """

    scheduler: SchedulerKind
    job: str
    workers: int
    by: str
    at: datetime
    is_stopped: bool = False


def record_submission(
    engine: Engine, record: StudyRecord, scheduler: SchedulerKind, job: str, workers: int
) -> Submission:
    """Write to a study's history that a job was submitted, and by whom."""
    detail = {"scheduler": scheduler, "job": job, "workers": workers, "by": current_user()}
    record_event(engine, record.study_id, EventKind.LAUNCHED, **detail)
    own = (each for each in read_submissions(engine, record) if (each.scheduler, each.job) == (scheduler, job))
    return next(own)


def record_stop(engine: Engine, record: StudyRecord, submission: Submission) -> None:
    """Write to a study's history that a job was ended, and by whom."""
    detail = {"scheduler": submission.scheduler, "job": submission.job, "by": current_user()}
    record_event(engine, record.study_id, EventKind.LAUNCH_STOPPED, **detail)


def read_submissions(engine: Engine, record: StudyRecord) -> tuple[Submission, ...]:
    """Return the jobs that were submitted for a study, oldest first; events that are not of that form are left out."""
    events = read_events(engine, record.study_id, EventKind.LAUNCHED, EventKind.LAUNCH_STOPPED)
    found: dict[tuple[str, str], Submission] = {}
    ended = {_key(event) for event in events if event.kind == EventKind.LAUNCH_STOPPED}
    for event in events:
        submission = _submission(event) if event.kind == EventKind.LAUNCHED else None
        if submission is not None:
            key = (submission.scheduler, submission.job)
            found[key] = replace(submission, is_stopped=key in ended)
    return tuple(found.values())


def _key(event: EventRecord) -> tuple[str, str]:
    return str(event.detail.get("scheduler")), str(event.detail.get("job"))


def _submission(event: EventRecord) -> Submission | None:
    scheduler, job = _key(event)
    workers = event.detail.get("workers")
    if scheduler not in list(SchedulerKind) or not isinstance(workers, int):
        return None
    return Submission(SchedulerKind(scheduler), job, workers, str(event.detail.get("by", "")), event.at)
