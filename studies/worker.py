"""A worker: lease a slot, train it, next; until nothing is left or somebody asks it to leave."""

from __future__ import annotations

import time

from sqlalchemy import Engine

from models.data import Data
from storage.ledger import Ledger
from storage.outage import Outage
from storage.records import StudyRecord, WorkerRecord
from storage.workers import end_worker
from studies.definition import Study
from studies.signals import Stop
from studies.trainer import Trainer
from studies.worker_order import Order

_FIRST_WAIT, _LONGEST_WAIT = 0.5, 2.0  # seconds between two looks for work that another worker may lose


class Worker:
    """Works on one study.

    Args:
        record: the study with the definition that this worker knows.
        process: this process, registered already.
        data: on the device that trains.
        stop: read between batches and epochs.
    """

    def __init__(
        self,
        engine: Engine,
        record: StudyRecord,
        study: Study,
        process: WorkerRecord,
        data: Data,
        stop: Stop,
        order: Order,
    ) -> None:
        self._engine = engine
        self._process = process
        self._version = record.version
        self._stop = stop
        self._outage = Outage(order.patience, lambda: stop.overdue)
        self._ledger = Ledger(engine, record.study_id, record.version, process.worker_id, order.lease_seconds)
        self._trainer = Trainer(engine, record, study, process, data, stop, self._ledger, self._outage, order)

    def run(self) -> None:
        """Work until nothing is left, the study is paused, stopped or changed, or this process is asked to stop.

        While others train what is left, wait: they may lose it.

        Raises:
            DatabaseAway: the patience is over; what was not written is kept on this machine.
        """
        wait = _FIRST_WAIT
        while not self._stop.asked:
            lease = self._outage.insist(self._ledger.lease)
            if lease is not None:
                self._trainer.work_on(lease)
                wait = _FIRST_WAIT
                continue
            standing = self._outage.insist(self._ledger.standing)
            nothing = standing.open + standing.leased == 0
            if nothing or standing.control != "run" or standing.version != self._version:
                break
            time.sleep(wait)
            wait = min(_LONGEST_WAIT, wait * 1.5)
        self._outage.insist(lambda: end_worker(self._engine, self._process.worker_id))
