"""Checks before workers start: the study can be trained, its data are here, and this machine computes the same."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Engine

from caviar.storage.definitions import find_study
from caviar.storage.engine import clock_skew
from caviar.storage.events import record_event
from caviar.storage.records import StudyRecord
from caviar.storage.states import EventKind
from caviar.studies.definition import Study
from caviar.studies.errors import CodeMissing
from caviar.studies.lifecycle.loader import importing_project, refuse_nested_run
from caviar.studies.lifecycle.manager import definition_of, open_study, progress
from caviar.studies.lifecycle.provenance import (
    Difference,
    code_key,
    code_of,
    compare,
    origin,
    own_paths,
    provenance_of,
    refuse_fatal,
    refuse_mismatch,
    refuse_other_code,
)
from caviar.studies.workers.local.events import (
    CheckBegan,
    CheckEnded,
    CommandFound,
    DataFetched,
    Listener,
    MachineDiffers,
    ModelFound,
    ignore,
)
from caviar.studies.workers.local.options import WorkerOptions
from caviar.studies.workers.local.pool import WorkerPool
from caviar.user_code import file_of

if TYPE_CHECKING:
    from caviar.models.data import Data


@dataclass(frozen=True)
class Opened:
    """A study that is ready for workers of this machine."""

    record: StudyRecord
    options: WorkerOptions  # with the digest of this machine's training code
    begun: bool  # whether the study was not there before


def check_and_fetch(study: Study, data_dir: Path, on_event: Listener = ignore) -> None:
    """Check that a study can be trained, which runs the user's code, and download its data set where it is missing.

    Where the data, the loss or a metric are the user's, the defaults are trained for one step.
    """
    find_user_modules()
    with _checking(study, on_event), importing_project():
        from caviar.studies.workers.trial.checks import check

        own_data = _load(study, data_dir) if study.data in own_paths(study) else None  # first: it has the shapes
        check(study)
    fetch_data(study, data_dir, on_event)
    if study.data is not None and (own_data or study.loss or study.metrics):
        with _checking(study, on_event), importing_project():
            from caviar.studies.workers.trial.rehearsal import rehearse

            rehearse(study, own_data or _load(study, data_dir))


def _load(study: Study, data_dir: Path) -> Data:
    import torch

    from caviar.models.data import load

    return load(study.built_in.data, data_dir, torch.device("cpu"))


def fetch_data(study: Study, data_dir: Path, on_event: Listener = ignore) -> None:
    """Download a study's data set where it is missing."""
    from caviar.models.data import fetch

    if study.data is not None and fetch(study.data, data_dir):
        on_event(DataFetched(study.data, data_dir))


def find_user_modules() -> None:
    """Let models be found in the working directory."""
    refuse_nested_run()
    if os.getcwd() not in sys.path:
        sys.path.insert(1, os.getcwd())  # after the script's folder; workers get this path


@contextmanager
def _checking(study: Study, on_event: Listener) -> Iterator[None]:
    on_event(CheckBegan(study))
    try:
        yield
    finally:
        on_event(CheckEnded())


def check_machine(
    engine: Engine, record: StudyRecord, data_dir: Path, *, allow_mismatch: bool = False, on_event: Listener = ignore
) -> str | None:
    """Fetch a study's data, compare this machine with the study, and return the digest of its training code.

    Other code, data or another clock raise `MachineMismatch`, or are allowed and written to the study's history. The
    database names the model's module, and other code may have that name here: none of it runs before it was compared.
    """
    study = definition_of(record)
    find_user_modules()
    with _checking(study, on_event):
        import_module("caviar.models.data")  # loads PyTorch
    fetch_data(study, data_dir, on_event)

    def refuse(differences: Sequence[Difference]) -> bool:
        if differences:
            on_event(MachineDiffers(tuple(differences)))
        refuse_fatal(differences)
        return refuse_mismatch(record.name, record.provenance, differences, allowed=allow_mismatch)

    with _saying_origin(record):
        here = provenance_of(study, data_dir, run=False)
    differences = compare(record.provenance, here, clock_skew(engine))
    mismatched = refuse(differences)
    _check_found(study, data_dir, on_event)
    if here.data is None:
        now = compare(record.provenance, provenance_of(study, data_dir))
        of_data = [difference for difference in now if difference.what == "data"]
        mismatched = refuse(of_data) or mismatched
        differences += of_data
    if differences:
        kind = EventKind.MISMATCH_ALLOWED if mismatched else EventKind.OTHER_VERSIONS
        record_event(engine, record.study_id, kind, **{d.label: f"{d.there} there, {d.here} here" for d in differences})
    return code_key(here)


@contextmanager
def _saying_origin(stored: StudyRecord) -> Iterator[None]:
    """Say where code can be had that is not here."""
    try:
        yield
    except CodeMissing as error:
        source = origin(stored.provenance)
        raise CodeMissing(f"{error}; '{stored.name}' was begun with {source}" if source else str(error)) from error


def check_stored(
    stored: StudyRecord, study: Study, data_dir: Path, *, accept: bool = False, on_event: Listener = ignore
) -> None:
    """Do what `check_and_fetch` does for a study whose definition comes from the database, if its code is the same.

    The database names the modules of the user's code, and other code may have these names here: none of it runs before
    it was compared.

    Args:
        stored: whose code it has to be; perhaps of an earlier study.
        accept: run other code, too.

    Raises:
        MachineMismatch: the code here is not that of the stored study, and is not accepted.
        CodeMissing: it is not here.
    """
    find_user_modules()
    with _saying_origin(stored):
        here = code_of(definition_of(stored))
    if not accept:
        refuse_other_code(stored, here)
    fetch_data(study, data_dir, on_event)
    _check_found(study, data_dir, on_event)


def _check_found(study: Study, data_dir: Path, on_event: Listener) -> None:
    """Do what `check_and_fetch` does, and name the files of the user's code first: the database chose it, no person."""
    if study.command is not None:
        on_event(CommandFound(study.command, Path.cwd()))
    for path in own_paths(study):
        file = file_of(path)
        if file is not None:
            on_event(ModelFound(path, file, _owner_of(file)))
    check_and_fetch(study, data_dir, on_event)


def _owner_of(file: Path) -> str:
    try:
        return file.owner()
    except (KeyError, OSError):  # a user without a name
        return str(file.stat().st_uid)


def begin_or_resume(
    engine: Engine,
    study: Study,
    options: WorkerOptions,
    *,
    stored: StudyRecord | None = None,
    accept: bool = False,
    in_processes: bool = True,
    on_event: Listener = ignore,
) -> Opened:
    """Begin a study, or go on with the one of that name, ready for workers of this machine.

    A study that has spent its budget is opened as it is: neither its model nor its data need to be here, unless other
    code is to be accepted.

    Args:
        stored: where the database has the definition, if it comes from there. It names the model's module, and other
            code may have that name here: none of it runs before it was compared.
        in_processes: whether the workers are to be processes of their own.
    """
    record = find_study(engine, study.name)
    if record is not None and not _has_work(engine, record, study.budget):
        here = None
        if accept:  # of other code, too: what is here is compared
            find_user_modules()
            here = provenance_of(study, options.data_dir)
        return Opened(open_study(engine, study, here, accept=accept), options, begun=False)
    if in_processes:
        WorkerPool.warm_up()  # the workers' imports, while this process has its own
    if stored is None:
        check_and_fetch(study, options.data_dir, on_event)
    else:
        check_stored(stored, study, options.data_dir, accept=accept, on_event=on_event)
    here = provenance_of(study, options.data_dir)
    opened = open_study(engine, study, here, accept=accept)
    return Opened(opened, replace(options, code=code_key(here)), begun=record is None)


def _has_work(engine: Engine, record: StudyRecord, budget: int) -> bool:
    now = progress(engine, record)
    return now.done < now.budget or now.budget < budget
