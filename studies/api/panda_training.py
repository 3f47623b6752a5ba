"""Open a panda for training in this process: the database, the checks of this machine, and the panda's worker."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict, Unpack

from sqlalchemy import Engine

from caviar.storage.definitions import load_study
from caviar.storage.engine import require_writable
from caviar.storage.errors import StudyDeleted, StudyNotFound
from caviar.storage.pandas import read_life, refuse_busy
from caviar.storage.records import StudyRecord
from caviar.storage.timing import GRACE, LEASE, PATIENCE, RENEW
from caviar.studies.api.session import connect, data_folder, settings_of
from caviar.studies.definition import Study
from caviar.studies.lifecycle.loader import select_study
from caviar.studies.lifecycle.manager import definition_of, free_dead_workers
from caviar.studies.panda.records import DayEpoch
from caviar.studies.workers.local.events import RunEvent
from caviar.studies.workers.local.options import WorkerOptions
from caviar.studies.workers.local.patience import reported_outage
from caviar.studies.workers.local.signals import Stop
from caviar.text import shown

if TYPE_CHECKING:
    from caviar.studies.workers.context import WorkerContext

Listener = Callable[[RunEvent | DayEpoch], None]
Definition = Study | str | Path | None


class Options(TypedDict, total=False):
    """Keywords of every function that trains, with the meaning and the default that they have in `caviar.run`."""

    lease: float
    renew: float
    grace: float
    patience: float
    data_dir: str | Path | None
    database: str | Engine | None


@contextmanager
def training_machine(
    name: str,
    *,
    cohort: int = 1,
    lease: float = LEASE,
    renew: float = RENEW,
    grace: float = GRACE,
    patience: float = PATIENCE,
    data_dir: str | Path | None = None,
    database: str | Engine | None = None,
) -> Iterator[tuple[Engine, WorkerOptions, Stop]]:
    """Open the database for a training that signals stop."""
    with Stop(grace) as stop, connect(database, hurry=lambda: stop.asked) as engine:
        require_writable(engine)
        settings, folder = settings_of(database), data_folder(data_dir)
        yield engine, WorkerOptions(settings, name, folder, lease, renew, grace, patience, cohort), stop


@contextmanager
def training_panda(
    name: str,
    study: Definition,
    allow_mismatch: bool,
    on_event: Listener,
    plan: Callable[..., object] | None = None,
    cohort: int = 1,
    **options: Unpack[Options],
) -> Iterator[WorkerContext]:
    """Be the worker of a panda that no process trains; days that dead processes of this machine held are freed.

    `plan` is called with the panda's life and its study, and raises an error before anything is written.
    """
    from caviar.studies.panda.train import panda_worker
    from caviar.studies.workers.local.preparation import check_machine

    with training_machine(name, cohort=cohort, **options) as (engine, worker, stop):
        import_model(study)
        outage = reported_outage(worker.settings, worker.patience, lambda: stop.asked, on_event)
        record = outage.insist(lambda: load_panda(engine, name))
        outage.insist(lambda: free_dead_workers(engine, record))
        life = outage.insist(lambda: read_life(engine, record))
        refuse_busy(record, life)
        if plan is not None:
            plan(life, study=definition_of(record))
        outage.insist(
            lambda: check_machine(engine, record, worker.data_dir, allow_mismatch=allow_mismatch, on_event=on_event)
        )
        with panda_worker(engine, record, worker, stop) as context:
            yield context


def load_panda(engine: Engine, name: str) -> StudyRecord:
    """Return the panda of that name, or the study.

    Raises:
        StudyNotFound: the database has neither; the message says how a panda begins.
    """
    try:
        return load_study(engine, name)
    except StudyDeleted:
        raise
    except StudyNotFound as error:
        begin = f"caviar panda start {shlex.quote(shown(name))} --study STUDY"
        raise StudyNotFound(f"{error}; begin a panda of that name with: {begin}") from error


@contextmanager
def opened_panda(name: str, database: str | Engine | None) -> Iterator[tuple[Engine, StudyRecord]]:
    """Open a database, and yield it with the panda of that name.

    Raises:
        StudyNotFound: the database has none.
    """
    with connect(database) as engine:
        yield engine, load_panda(engine, name)


def import_model(study: Definition) -> None:
    """Make a model of the user's own importable: reading the study's file puts the file's folder on Python's path.

    Only the caller names that file. The database names modules, never a place to load them from.
    """
    if isinstance(study, str | Path):
        select_study(str(study))
