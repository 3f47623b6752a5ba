"""How many trials a worker trains as one program: as many as pay on its device, found by a short measurement."""

from __future__ import annotations

from typing import Any

import torch

from caviar.models.cohort_kinds import why_alone
from caviar.models.cohort_pace import measure
from caviar.models.training import Training
from caviar.storage.events import log_event
from caviar.studies.workers.context import WorkerContext
from caviar.studies.workers.trial.build import assemble
from caviar.studies.workers.trial.failures import describe, storable

# Of a study's budget, so that most of its trials learn from others.
_SHARE_OF_BUDGET = 8
_MOST = 128


class CohortSize:
    """The size of one worker's cohorts: as ordered, or measured; less where memory does not suffice.

    Attributes:
        now: at most so many trials are trained together.
    """

    def __init__(self, context: WorkerContext) -> None:
        self._context = context
        ordered = context.order.cohort
        self.now = ordered if ordered is not None else self._measured()

    def shrink(self, error: Exception, members: int) -> None:
        """After an epoch of so many members raised: half as many where memory was not enough, else one by one."""
        self.now = min(self.now, members // 2 if isinstance(error, torch.OutOfMemoryError) else 1)
        self._tell(why=describe(error)["error"])

    def _measured(self) -> int:
        study, data = self._context.study, self._context.data
        limit = min(_MOST, study.budget // _SHARE_OF_BUDGET)
        if limit < 2:
            return 1
        values = {name: scale.default for name, scale in study.scales().items()}

        def make(number: int) -> Training:
            return assemble(study, number, values, data)

        self.now = 1
        try:
            why = why_alone(make(0))
            if why is None:
                self.now, times = measure(make, limit)
        except Exception as error:  # noqa: BLE001 - a trial that raises it too is told as such
            why = describe(error)["error"]
        if why is not None:
            self._tell(why=storable(why))
        else:
            self._tell(times_as_fast=round(times, 1))
        return self.now

    def _tell(self, **detail: Any) -> None:
        context = self._context

        def write() -> None:
            with context.engine.begin() as connection:
                log_event(
                    connection, context.record.study_id, "cohort size",
                    worker_id=context.process.worker_id, size=self.now, **detail,
                )  # fmt: skip

        context.outage.insist(write)
