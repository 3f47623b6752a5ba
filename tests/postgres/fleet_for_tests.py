"""What the tests of this folder share: a registered study, and workers in this process."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from uuid import uuid4

import torch
from sqlalchemy import Engine

from models.data import Data, load
from storage.ledger import Ledger
from storage.processes import machine_id
from storage.records import StudyRecord, WorkerRecord
from storage.settings import read_settings
from storage.trials import TrialLog
from storage.workers import register_worker
from studies.assembly import THREADS
from studies.definition import Study
from studies.manager import open_study
from studies.provenance import package_versions
from studies.signals import Stop
from studies.worker import Worker
from studies.worker_context import WorkerContext
from studies.worker_order import Order
from tests.studies_for_tests import small_study

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


def worker(engine: Engine, record: StudyRecord, study: Study, stop: Stop | None = None, **order: Any) -> Worker:
    told = Order(read_settings(), record.name, Path("nowhere"), **order)
    process = register_process(engine, record)
    return Worker(WorkerContext(engine, record, study, process, digits(), stop or Stop(), told))
