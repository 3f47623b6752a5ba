"""One attempt at a trial of an Optuna objective: the objective ends it, and what it suggests is written at once."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Literal

import optuna
from optuna.trial import FrozenTrial

from caviar.epoch import Epoch
from caviar.models.functions import load_function
from caviar.storage.attempts import write_attribute, write_parameter
from caviar.storage.errors import DatabaseAway, LeaseLost
from caviar.studies.search.other_programs import FIXED
from caviar.studies.search.slot_sampler import Samplers, SlotSampler
from caviar.studies.workers.context import WorkerContext
from caviar.studies.workers.lease import HeldLease
from caviar.studies.workers.outbox import Outbox
from caviar.studies.workers.trial.build import seed_parts
from caviar.studies.workers.trial.decision import Next, Verdict
from caviar.studies.workers.trial.failures import training_code
from caviar.studies.workers.trial.resumption import LoadedCheckpoint
from caviar.studies.workers.trial.run import TrialRun
from caviar.studies.workers.trial.training import TrialTraining
from caviar.studies.workers.user.objective import ObjectiveTraining
from caviar.studies.workers.user.optuna_trial import make_trial


class ObjectiveRun(TrialRun):
    """An attempt at a trial that an objective trains.

    The objective decides when the trial ends. It is told to stop by `trial.should_prune`; a request to pause or stop
    waits for it, since it would begin again, unless that is to be at once or the grace is over.

    Args:
        samplers: of the worker's runs, which may remember what they have read.
    """

    def __init__(
        self, context: WorkerContext, held: HeldLease, trial: FrozenTrial, outbox: Outbox, *, samplers: Samplers
    ) -> None:
        super().__init__(context, held, trial, outbox)
        self._samplers = samplers

    @property
    def training(self) -> ObjectiveTraining:
        assert isinstance(self._training, ObjectiveTraining), "the trial is not open"
        return self._training

    def resume(self, checkpoint: LoadedCheckpoint) -> tuple[TrialTraining, str | None]:  # noqa: ARG002
        """Return the training, which begins with the values that an earlier attempt was suggested."""
        context, study = self.context, self.context.study
        context.outage.insist(partial(context.history.refresh, self.trial._trial_id))
        before = context.history.trial(self.trial._trial_id)
        assert study.objective is not None
        with training_code(context.pulse):
            objective = load_function(study.objective)
        make = partial(self._make_trial, before)
        seed = seed_parts(study, self.held.number)
        return ObjectiveTraining(objective, make, seed, study.metric, self._reason_to_prune), None

    def _make_trial(self, before: FrozenTrial, training: ObjectiveTraining) -> optuna.trial.Trial:
        study, history = self.context.study, self.context.history
        asked = before.system_attrs.get(FIXED, {})
        sampler = SlotSampler(study, self.lease.slot, history.study(), asked, self._samplers)
        return make_trial(study.name, history, before, sampler, _Desk(self, training))

    def is_over(self, epoch: int) -> bool:  # noqa: ARG002
        """Return False: only the objective knows."""
        return False

    def judge(self, result: Epoch, running: Sequence[FrozenTrial]) -> Verdict:  # noqa: ARG002
        """Let the trial go on; the objective hears what is asked of it."""
        self.held.check()
        if self.held.requested.kill:
            self.training.killed = f"killed by hand after epoch {result.epoch}"
        elif self.limit.is_over:
            self.training.killed = self.limit.why
        return Verdict(Next.GO_ON, "")

    def _reason_to_prune(self) -> str | None:
        # Trained once more after its worker died: that the trial goes on was decided the first time.
        repeated = self.training.epoch < self.lease.epoch
        return None if repeated or not self.training.epoch else self.reason_to_stop(())

    def end(self, verdict: Verdict) -> None:  # noqa: ARG002
        """Write how the objective ended the trial."""
        outcome, epoch = self.training.outcome, self.training.epoch
        assert outcome is not None, "the objective runs"
        if outcome.pruned is not None:
            self._end.close("PRUNED", outcome.value, outcome.pruned, epoch)
        elif outcome.value is not None and math.isfinite(outcome.value):
            self._end.close("COMPLETE", outcome.value, "finished", epoch)
        else:
            self._end.diverge(f"diverged: the objective returned {outcome.value}", epoch)

    def write(self, statement: Callable[[], None], training: ObjectiveTraining) -> None:
        """Write something within the objective, however long that takes, or leave the objective.

        That the lease is lost, or the database away, is no error of the objective's: the worker finds it out again.
        """
        training.check()
        try:
            self.context.outage.insist(statement)
        except (LeaseLost, DatabaseAway):
            training.unwind()


class _Desk:
    """What the trial of an objective asks of its worker."""

    def __init__(self, run: ObjectiveRun, training: ObjectiveTraining) -> None:
        self._run, self._training = run, training
        self.report, self.is_to_stop = training.report, training.is_to_stop

    def write_parameter(self, name: str, value: float, kind: str) -> None:
        engine, lease = self._run.context.engine, self._run.lease
        self._run.write(lambda: write_parameter(engine, lease, name, value, kind), self._training)

    def write_attribute(self, of: Literal["user", "system"], key: str, value: Any) -> None:
        engine, lease = self._run.context.engine, self._run.lease
        self._run.write(lambda: write_attribute(engine, lease, of, key, value), self._training)
