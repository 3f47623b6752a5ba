"""One worker: lease a slot, train its trial, and go on with the next, until nothing is left or it is to stop."""

from __future__ import annotations

import random
import time
from functools import partial

from caviar.storage.states import Control
from caviar.storage.workers import end_worker
from caviar.studies.search.slot_sampler import samplers_of
from caviar.studies.way import Way
from caviar.studies.workers.context import WorkerContext
from caviar.studies.workers.trainer import Trainer
from caviar.studies.workers.trial.objective_run import ObjectiveRun

# Seconds between two attempts to lease what another worker may lose: at most two, or a sixth of a lease. Many workers
# may wait for the last trials of a study.
_FIRST_WAIT, _LONGEST_WAIT, _WAITS_IN_LEASE = 0.5, 2.0, 6
_STEP_SECONDS = 0.2  # of a wait, between two questions whether to leave


class Worker:
    """Trains the trials of one study."""

    def __init__(self, context: WorkerContext) -> None:
        self.context = context
        self._trainer = _trainer(context)

    def run(self) -> None:
        """Work until nothing is left, the study is paused, stopped or changed, this worker is asked to leave, or no
        trial can begin that would end in the command's time.

        While other workers train what is left, it waits: they may lose it.
        """
        context, wait = self.context, _FIRST_WAIT
        while not context.is_leaving:
            room = context.outage.insist(lambda: context.time.room(self._trainer.together))
            if context.time.ran_short:
                context.pulse.leave_for_want_of_time(room.trial_seconds)
                break
            lease = context.outage.insist(partial(context.ledger.lease, new=room.for_trial))
            if lease is not None:
                self._trainer.work_on(lease)
                wait = _FIRST_WAIT
                continue
            if not room.for_trial:
                context.pulse.leave_for_want_of_time(room.trial_seconds)
                break
            standing = context.outage.insist(context.ledger.standing)
            if standing.leave:
                context.pulse.leave()
                break
            nothing = standing.open + standing.leased == 0
            if nothing or standing.control != Control.RUN or standing.version != context.record.version:
                break
            self._wait(wait)
            wait = min(max(_LONGEST_WAIT, context.options.lease_seconds / _WAITS_IN_LEASE), wait * 1.5)
        context.outage.insist(lambda: end_worker(context.engine, context.process.worker_id))

    def _wait(self, seconds: float) -> None:
        """Wait about so long, each worker its own time, or until this worker is to leave."""
        until = time.monotonic() + seconds * random.uniform(0.75, 1.25)
        while not self.context.is_leaving and (left := until - time.monotonic()) > 0:
            time.sleep(min(left, _STEP_SECONDS))


def _trainer(context: WorkerContext) -> Trainer:
    if context.study.way is Way.OBJECTIVE:
        return Trainer(context, make_run=partial(ObjectiveRun, samplers=samplers_of(context.study)))
    return Trainer(context)
