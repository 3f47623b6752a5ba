"""The study, the data and the access to the database that the parts of one worker share."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import optuna
import torch
from optuna.trial import FrozenTrial
from sqlalchemy import Engine

from caviar.models.data import load
from caviar.storage.checkpoints import CheckpointStore
from caviar.storage.curves import recent_seconds
from caviar.storage.events import read_events, record_event
from caviar.storage.files import CheckpointFiles
from caviar.storage.history import History
from caviar.storage.ledger import Ledger
from caviar.storage.outage import Outage
from caviar.storage.processes import machine_id
from caviar.storage.records import Lease, StudyRecord, WorkerRecord
from caviar.storage.states import Control, EventKind
from caviar.storage.trials import TrialLog
from caviar.storage.unsent import UnsentStates
from caviar.storage.workers import is_unregistered, register_worker
from caviar.studies.definition import Study
from caviar.studies.lifecycle.manager import definition_of
from caviar.studies.lifecycle.provenance import package_versions, refuse_other_data
from caviar.studies.search.other_programs import learned
from caviar.studies.way import Way
from caviar.studies.workers.lease import HeldLease, all_lost
from caviar.studies.workers.local.devices import split_place
from caviar.studies.workers.local.job import host_name, scheduler_job
from caviar.studies.workers.local.options import WorkerOptions
from caviar.studies.workers.local.output import Output
from caviar.studies.workers.local.pulse import Pulse
from caviar.studies.workers.local.signals import Stop
from caviar.studies.workers.time_left import TimeLeft
from caviar.studies.workers.trial.build import THREADS, Bench
from caviar.text import storable

if TYPE_CHECKING:
    from caviar.studies.workers.user.caller import Caller
    from caviar.studies.workers.user.rank_starter import RankStarter


@dataclass
class WorkerContext:
    """The study, the data and the access to the database of one worker.

    Whatever waits for the database raises `DatabaseAway` when the patience is over.
    """

    engine: Engine
    record: StudyRecord  # with the definition that this worker knows
    study: Study
    process: WorkerRecord  # registered already
    bench: Bench  # the device that trains, and the data on it
    stop: Stop
    options: WorkerOptions
    pulse: Pulse = field(default_factory=Pulse)
    output: Output = field(default_factory=Output)  # where what is printed goes

    def __post_init__(self) -> None:
        record, options = self.record, self.options
        self.outage = Outage(options.patience, lambda: self.stop.overdue, recover=self._register_anew)
        worker_id, lease_seconds = self.process.worker_id, options.lease_seconds
        self.ledger = Ledger(self.engine, record.study_id, record.version, worker_id, lease_seconds)
        self.log = TrialLog(self.engine, record.version, lease_seconds)
        self.history = History(
            self.engine,
            record.optuna_study_id,
            maximize=self.study.maximize,
            learn=partial(_learned, self.study),
            grows=self.study.by_trials,
        )
        self.time = TimeLeft(options.until, self.study.epochs, lambda: recent_seconds(self.engine, record.study_id))
        files = CheckpointFiles(options.settings.checkpoints) if options.settings.checkpoints else None
        self.checkpoints = CheckpointStore(self.engine, record, files)
        self.tens_looked_at = 1  # finished trials, in tens, at which the study's rule was looked at last
        self.unsent = UnsentStates(options.settings.home, record)

    def _register_anew(self, error: Exception) -> bool:
        """Register this worker once more if the database has lost its row; return whether it had.

        Another thread of this worker may do so at the same time: then there is nothing left to do.
        """
        if not is_unregistered(error):
            return False
        register_worker(self.engine, self.record.study_id, self.process)
        return True

    @property
    def is_leaving(self) -> bool:
        """Whether this worker is to leave after its epoch."""
        return self.stop.asked or self.pulse.leaves

    def asks_to_leave(self, held: Sequence[HeldLease], alive: bool = True) -> bool:
        """Return True if this worker is to leave trials without waiting for the end of anything; as `Leave` says."""
        if alive:
            self.pulse.beat()
        at_once = any(one.requested.at_once and one.requested.control != Control.RUN for one in held)
        return self.stop.overdue or self.time.is_over or at_once or all_lost(held)

    def release(self, lease: Lease) -> None:
        """Give a slot back, as soon as the database answers."""
        self.outage.insist(lambda: self.ledger.release(lease))

    def record_event(self, kind: EventKind, lease: Lease, **detail: Any) -> None:
        """Write an event about a trial, unless the same one is written already."""

        study_id, worker_id, number = self.record.study_id, self.process.worker_id, lease.slot.number

        def write() -> None:
            earlier = read_events(self.engine, study_id, kind)
            if not any(e.slot == number and e.detail == storable(detail) for e in earlier):
                record_event(self.engine, study_id, kind, slot=number, worker_id=worker_id, **detail)

        self.outage.insist(write)


def _learned(study: Study, trial: FrozenTrial) -> FrozenTrial | None:
    """Return what the search learns of a finished trial of another Optuna program; None if nothing."""
    known = learned(study, trial)
    return known if known is not None and study.is_possible(known.value or 0.0) else None


def begin_work(
    engine: Engine,
    record: StudyRecord,
    options: WorkerOptions,
    device: str,
    stop: Stop,
    pulse: Pulse | None = None,
    output: Output | None = None,
    caller: Caller | None = None,
    starter: RankStarter | None = None,
) -> WorkerContext:
    """Make this process a worker of a study, on a device such as cpu or cuda:0, or several, such as cuda:0,cuda:1.

    Args:
        pulse: its signs of life, where another process supervises it.
        output: where what its trainings print goes; None for where this process prints.
        caller: the program that trains the trials itself, if this is its process.
        starter: starts the ranks of a trial that has several devices.
    """
    pulse = pulse or Pulse()
    if caller is None:  # else the terminal is the program's own
        optuna.logging.set_verbosity(optuna.logging.ERROR)
    torch.set_num_threads(THREADS)
    study, devices = definition_of(record), split_place(device)
    if device.startswith("cuda") and (caller or not study.gpus):  # else only the ranks use it
        torch.cuda.set_device(device)  # whatever a model makes on "cuda" is to be here too
    bench = Bench(
        torch.device(devices[0]), caller=caller, is_stopping=lambda: stop.asked,
        devices=devices if study.gpus else (), starter=starter, write=(output or Output()).write,
    )  # fmt: skip
    if study.way is Way.MODEL:
        with pulse.training():
            data = load(study.built_in.data, options.data_dir, bench.device)
        if not options.allow_mismatch:
            refuse_other_data(record, data.digest)
        bench = Bench(bench.device, data)
    process = WorkerRecord(
        uuid4(), host_name(), machine_id(), os.getpid(), device, package_versions(), scheduler_job()
    )  # fmt: skip
    context = WorkerContext(engine, record, study, process, bench, stop, options, pulse, output or Output())
    context.outage.insist(lambda: register_worker(engine, record.study_id, process))
    return context
