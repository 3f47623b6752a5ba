"""Put workers for a study on a scheduler: Slurm, Kubernetes or Ray."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Engine
from sqlalchemy.engine import URL
from sqlalchemy.exc import SQLAlchemyError

from caviar.errors import CaviarError
from caviar.storage.embedded import is_server_of
from caviar.storage.engine import require_writable
from caviar.storage.records import StudyRecord
from caviar.storage.settings import Settings
from caviar.storage.timing import GRACE
from caviar.studies.api.session import opened, settings_of
from caviar.studies.errors import LaunchFailed, NothingToDo, OptionError
from caviar.studies.launch.remarks import remarks_on
from caviar.studies.launch.request import LaunchRequest
from caviar.studies.launch.scheduler import Scheduler, SchedulerKind, Task
from caviar.studies.launch.schedulers import scheduler_kind, scheduler_of
from caviar.studies.launch.site import read_site
from caviar.studies.launch.submissions import Submission, read_submissions, record_stop, record_submission
from caviar.studies.launch.template import write_template
from caviar.studies.lifecycle.manager import progress, refuse_panda
from caviar.studies.results.summaries import StudyState, state_of
from caviar.studies.workers.local.options import read_duration
from caviar.text import one_line, shown


@dataclass(frozen=True)
class Launch:
    """What `launch` submitted, or would submit.

    Attributes:
        text: the script or manifest.
        by_hand: the command that submits the text from its standard input.
        submission: None where nothing was submitted.
        output: where one can read what its workers print: files, or a command.
        remarks: what keeps workers from training, such as other code in this folder than the study's; in words.
    """

    text: str
    by_hand: str
    submission: Submission | None = None
    output: str = ""
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class LaunchStatus:
    """A job that was submitted, and what its scheduler says of it.

    Attributes:
        tasks: those that wait or run now; none once the job has ended.
        output: where one can read what its workers printed, such as why they ended: files, or a command.
        error: why the scheduler says nothing, such as one that is not reached from this machine.
    """

    submission: Submission
    tasks: tuple[Task, ...] = ()
    output: str = ""
    error: str = ""


def launch(
    study: str,
    on: str,
    *,
    workers: int = 1,
    gpus_per_worker: float = 0,
    workers_per_gpu: int = 1,
    time: float | str | None = None,
    grace: float = GRACE,
    site: str | Path | None = None,
    dry_run: bool = False,
    database: str | Engine | None = None,
) -> Launch:
    """Submit identical workers for a study to a scheduler, which may end, move and restart each of them as it likes.

    Args:
        on: `slurm`, `kubernetes` or `ray`.
        workers: tasks of the scheduler; each is one command `caviar join`.
        gpus_per_worker: GPUs of each task; 0 for one worker process on the CPU.
        workers_per_gpu: worker processes on each GPU of a task.
        time: how long a task may take before Slurm ends and requeues it, or how long Kubernetes keeps the whole job:
            seconds, or a text such as `90min` or `4h`; None for as long as the site allows. Ray has no such limit.
        grace: seconds that the current epoch may take after a signal to stop.
        site: a file of the site's settings; None for caviar-launch.toml in this folder, if it is there.
        dry_run: submit nothing.

    Raises:
        StudyNotFound: no study has that name; begin it with `run`.
        NothingToDo: every trial of it is done.
        OptionError: a number is out of its range, or workers there would not reach the database.
        DefinitionError: this is called while the code of a study is imported.
        LaunchFailed: the scheduler refuses it.

    Examples:
        >>> caviar.launch("digits", "slurm", workers=8, gpus_per_worker=1, time="4h").submission.job
        '4711'
    """
    kind, settings = scheduler_kind(on), read_site(None if site is None else Path(site))
    request = LaunchRequest(
        study, workers, gpus_per_worker, workers_per_gpu, read_duration("time", time), grace, settings.worker.options
    )
    scheduler = scheduler_of(kind, settings)
    with opened(study, database) as (engine, record):
        refuse_panda(engine, record)
        state = _check_open(engine, record)
        scheduler.check_database(_shared(settings_of(database)))
        remarks = remarks_on(record, state, kind, settings)
        text = scheduler.text(request)
        if dry_run:
            return Launch(text, scheduler.by_hand(), remarks=remarks)
        require_writable(engine)  # before there is a job that nothing could be written of
        job = scheduler.submit(request)
        try:
            submission = record_submission(engine, record, kind, job, workers)
        except (CaviarError, SQLAlchemyError) as error:
            why = one_line(str(error))
            raise LaunchFailed(f"{kind} has job {job}, which could not be written to the study's history ({why}): "
                               f"end it by {kind}'s own commands") from error  # fmt: skip
    return Launch(text, scheduler.by_hand(), submission, scheduler.output(study, job), remarks)


def launched(
    study: str, *, site: str | Path | None = None, database: str | Engine | None = None
) -> tuple[LaunchStatus, ...]:
    """Return the jobs that were submitted for a study, and what the scheduler says of their tasks, oldest first.

    Args:
        site: a file of the site's settings; None for caviar-launch.toml in this folder, if it is there.

    Raises:
        StudyNotFound: no study has that name.

    Examples:
        >>> [task.state for job in caviar.launched("digits") for task in job.tasks]
        ['RUNNING', 'RUNNING', 'PENDING']
    """
    with _jobs(study, site, database) as (_, _, jobs):
        return tuple(_status(study, job, scheduler) for job, scheduler in jobs)


def _status(study: str, job: Submission, scheduler: Scheduler) -> LaunchStatus:
    try:
        tasks = () if job.is_stopped else scheduler.tasks(job.job)
        return LaunchStatus(job, tasks, scheduler.output(study, job.job))
    except (LaunchFailed, OptionError) as error:  # another scheduler's jobs are shown all the same
        return LaunchStatus(job, error=str(error))


def stop_launched(
    study: str, *, site: str | Path | None = None, database: str | Engine | None = None
) -> tuple[Submission, ...]:
    """End the jobs that were submitted for a study; return those that waited or ran.

    Their workers finish their epoch within the grace, and give their trials back. Where the scheduler does not wait for
    that, the epoch in progress is trained again.

    Args:
        site: a file of the site's settings; None for caviar-launch.toml in this folder, if it is there.

    Raises:
        StudyNotFound: no study has that name.
        LaunchFailed: a scheduler does not answer, or refuses it; the jobs of others are ended all the same.

    Examples:
        >>> [job.job for job in caviar.stop_launched("digits")]
        ['4711']
    """
    ended, failed = [], []
    with _jobs(study, site, database) as (engine, record, jobs):
        require_writable(engine)
        for job, scheduler in jobs:
            try:
                if not job.is_stopped and scheduler.tasks(job.job):
                    scheduler.stop(job.job)
                    record_stop(engine, record, job)
                    ended.append(job)
            except (LaunchFailed, OptionError) as error:
                failed.append(f"job {shown(job.job)} of {job.scheduler}: {error}")
    if failed:
        raise LaunchFailed("; ".join(failed) + (f"; ended: {', '.join(job.job for job in ended)}" if ended else ""))
    return tuple(ended)


def init_launch(on: str, path: str | Path | None = None) -> Path:
    """Write a file of a site's settings, each with what it means; return its path.

    Args:
        on: `slurm`, `kubernetes` or `ray`.
        path: None for caviar-launch.toml in this folder.

    Raises:
        OptionError: there is such a file.

    Examples:
        >>> caviar.init_launch("slurm").name
        'caviar-launch.toml'
    """
    return write_template(scheduler_kind(on), None if path is None else Path(path))


@contextmanager
def _jobs(
    study: str, site: str | Path | None, database: str | Engine | None
) -> Iterator[tuple[Engine, StudyRecord, list[tuple[Submission, Scheduler]]]]:
    """Open a study, with each job that was submitted for it and its scheduler."""
    settings = read_site(None if site is None else Path(site))
    with opened(study, database) as (engine, record):
        found = read_submissions(engine, record)
        schedulers: dict[SchedulerKind, Scheduler] = {each.scheduler: scheduler_of(each.scheduler, settings)
                                                      for each in found}  # fmt: skip
        yield engine, record, [(each, schedulers[each.scheduler]) for each in found]


def _check_open(engine: Engine, record: StudyRecord) -> StudyState:
    """Return the state of a study; refuse one for which workers have nothing to do."""
    state = state_of(progress(engine, record))
    if state == StudyState.DONE:
        raise NothingToDo(f"every trial of '{record.name}' is done; see: caviar best {record.name}; for more trials: "
                          f"caviar extend {record.name} --budget N")  # fmt: skip
    if state == StudyState.STOPPED:
        raise NothingToDo(f"'{record.name}' is stopped, and its workers would leave at once; first give: "
                          f"caviar resume {record.name}")  # fmt: skip
    return state


def _shared(settings: Settings) -> URL:
    """Return the address of a database, which other machines can reach."""
    if settings.database_url is None or is_server_of(settings.database_url, settings.home):
        raise OptionError("the study is on the built-in server, which no other machine reaches: begin it on a "
                          "PostgreSQL that the scheduler's machines reach, by CAVIAR_DATABASE_URL")  # fmt: skip
    return settings.database_url
