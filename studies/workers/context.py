"""What one worker works with: its study, its data, and its ways to the database, made once for all its parts."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import optuna
import torch
from sqlalchemy import Engine

from caviar.models.data import Data, load
from caviar.storage.checkpoints import CheckpointStore
from caviar.storage.events import log_event, read_events
from caviar.storage.files import CheckpointFiles
from caviar.storage.history import History
from caviar.storage.ledger import Ledger
from caviar.storage.outage import Outage
from caviar.storage.processes import machine_id
from caviar.storage.records import Lease, StudyRecord, WorkerRecord
from caviar.storage.trials import TrialLog
from caviar.storage.unsent import UnsentStates
from caviar.storage.workers import register_worker
from caviar.studies.definition import Study
from caviar.studies.lifecycle.manager import definition_of
from caviar.studies.lifecycle.provenance import package_versions
from caviar.studies.workers.local.options import WorkerOptions
from caviar.studies.workers.local.signals import Stop
from caviar.studies.workers.trial.build import THREADS


@dataclass
class WorkerContext:
    """A worker's study, data and ways to the database.

    Attributes:
        record: the study with the definition that this worker knows.
        process: this process, registered already.
        data: on the device that trains.
        stop: read between batches and epochs.
        outage: shared by all that this worker does with the database.
        ledger, log, history, checkpoints, unsent: how it reads and writes trials.
    """

    engine: Engine
    record: StudyRecord
    study: Study
    process: WorkerRecord
    data: Data
    stop: Stop
    order: WorkerOptions

    def __post_init__(self) -> None:
        record, order = self.record, self.order
        self.outage = Outage(order.patience, lambda: self.stop.overdue)
        self.ledger = Ledger(
            self.engine, record.study_id, record.version, self.process.worker_id, order.lease_seconds
        )  # fmt: skip
        self.log = TrialLog(self.engine, record.version, order.lease_seconds)
        self.history = History(self.engine, record.optuna_study_id, maximize=self.study.maximize)
        files = CheckpointFiles(order.settings.checkpoints) if order.settings.checkpoints else None
        self.checkpoints = CheckpointStore(self.engine, record, files)
        self.unsent = UnsentStates(order.settings.home, record)

    def release(self, lease: Lease) -> None:
        """Give a slot back, once the database can be told.

        Raises:
            DatabaseAway: the patience is over.
        """
        self.outage.insist(lambda: self.ledger.release(lease))

    def note(self, kind: str, lease: Lease, **detail: Any) -> None:
        """Write an event about a trial; the same one twice is written once.

        Raises:
            DatabaseAway: the patience is over.
        """

        def write() -> None:
            known = read_events(self.engine, self.record.study_id, kind)
            if any(e.slot == lease.slot.number and e.detail == detail for e in known):
                return
            with self.engine.begin() as connection:
                log_event(
                    connection, self.record.study_id, kind,
                    slot=lease.slot.number, worker_id=self.process.worker_id, **detail,
                )  # fmt: skip

        self.outage.insist(write)


def begin_work(engine: Engine, record: StudyRecord, order: WorkerOptions, device: str, stop: Stop) -> WorkerContext:
    """Make this process a worker of a study, on a device such as cpu or cuda:0.

    Raises:
        DataUnavailable: the data are not here.
        DatabaseAway: the patience is over.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)  # a worker has no terminal of its own
    torch.set_num_threads(THREADS)
    if device.startswith("cuda"):
        torch.cuda.set_device(device)  # whatever a model makes on "cuda" is to be here too
    study = definition_of(record)
    data = load(study.data, order.data_dir, torch.device(device))
    process = WorkerRecord(uuid4(), socket.gethostname(), machine_id(), os.getpid(), device, package_versions())
    context = WorkerContext(engine, record, study, process, data, stop, order)
    context.outage.insist(lambda: register_worker(engine, record.study_id, process))
    return context
