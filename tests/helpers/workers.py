"""What the tests of this folder share: a registered study, and workers in this process."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from uuid import uuid4

import torch
from sqlalchemy import Engine

from caviar.models.data import Data, load
from caviar.storage.ledger import Ledger
from caviar.storage.processes import machine_id
from caviar.storage.records import StudyRecord, WorkerRecord
from caviar.storage.trials import TrialLog
from caviar.storage.workers import register_worker
from caviar.studies.api.session import settings_of
from caviar.studies.definition import Study
from caviar.studies.lifecycle.manager import open_study
from caviar.studies.lifecycle.provenance import package_versions
from caviar.studies.way import Way
from caviar.studies.workers.context import WorkerContext
from caviar.studies.workers.local.options import WorkerOptions
from caviar.studies.workers.local.signals import Stop
from caviar.studies.workers.trial.build import THREADS, Bench
from caviar.studies.workers.worker import Worker
from tests.helpers.studies import small_study

torch.set_num_threads(THREADS)
_DATA: list[Data] = []


def digits() -> Data:
    if not _DATA:
        _DATA.append(load("digits", Path("nowhere"), torch.device("cpu")))
    return _DATA[0]


def register(engine: Engine, **fields: Any) -> tuple[StudyRecord, Study]:
    study = small_study(**fields)
    return open_study(engine, study), study


def register_process(engine: Engine, record: StudyRecord, pid: int = 1, machine: str | None = None) -> WorkerRecord:
    process = WorkerRecord(uuid4(), "test", machine or machine_id(), pid, "cpu", package_versions())
    register_worker(engine, record.study_id, process)
    return process


def ledger(engine: Engine, record: StudyRecord, seconds: float = 60, **process: Any) -> Ledger:
    worker_id = register_process(engine, record, **process).worker_id
    return Ledger(engine, record.study_id, record.version, worker_id, seconds)


def log(engine: Engine, record: StudyRecord) -> TrialLog:
    return TrialLog(engine, record.version, 60)


def worker(engine: Engine, record: StudyRecord, study: Study, stop: Stop | None = None, **options: Any) -> Worker:
    given = WorkerOptions(settings_of(engine), record.name, Path("nowhere"), **options)
    process = register_process(engine, record)
    data, asked = digits() if study.way is Way.MODEL else None, stop or Stop()
    bench = Bench(torch.device("cpu"), data, is_stopping=lambda: asked.asked)
    return Worker(WorkerContext(engine, record, study, process, bench, asked, given))
