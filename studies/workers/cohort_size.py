"""Choose how many trials a worker trains as one program: as many as make it faster, by a short measurement."""

from __future__ import annotations

from typing import Any

import torch

from caviar.models.cohort_kinds import why_alone
from caviar.models.cohort_pace import measure
from caviar.models.training import Training
from caviar.storage.events import record_event
from caviar.storage.states import EventKind
from caviar.studies.workers.context import WorkerContext
from caviar.studies.workers.trial.build import assemble
from caviar.studies.workers.trial.failures import TrainingRaised, describe, training_code

# A cohort is at most this share of the budget, so that most trials learn from others.
_SHARE_OF_BUDGET = 8
_MOST = 128


class CohortSize:
    """The size of one worker's cohorts now: the one in its options, or measured; less if memory does not suffice."""

    def __init__(self, context: WorkerContext) -> None:
        self._context = context
        given = context.options.cohort
        self.now = given if given is not None else self._measured()

    def shrink(self, error: Exception, members: int) -> None:
        """Halve the size after an epoch of so many members ran out of memory; after any other error, make it 1."""
        self.now = min(self.now, members // 2 if isinstance(error, torch.OutOfMemoryError) else 1)
        self._record(why=describe(error)["error"])

    def _measured(self) -> int:
        study, data = self._context.study, self._context.bench.data
        limit = min(_MOST, study.budget // _SHARE_OF_BUDGET)
        if limit < 2 or data is None:
            return 1
        values = {name: scale.default for name, scale in study.scales().items()}

        def make(number: int) -> Training:
            self._context.pulse.beat()
            return assemble(study, number, values, data)

        self.now = 1
        try:
            with training_code(self._context.pulse):
                why = why_alone(make(0))
                if why is None:
                    self.now, times = measure(make, limit)
        except TrainingRaised as raised:  # a trial that raises it too fails with it
            why = describe(raised.error)["error"]
        if why is not None:
            self._record(why=why)
        else:
            self._record(times_as_fast=round(times, 1))
        return self.now

    def _record(self, **detail: Any) -> None:
        context, study_id = self._context, self._context.record.study_id
        detail |= {"worker_id": context.process.worker_id, "size": self.now}
        context.outage.insist(lambda: record_event(context.engine, study_id, EventKind.COHORT_SIZE, **detail))
