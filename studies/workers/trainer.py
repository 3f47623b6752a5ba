"""Trains leased slots: one, and as many beside it as its cohort holds, each a trial of its own.

A member that ends leaves its place to the next slot of the same phase. Training code is expected to fail in its own
ways; whatever it raises ends its trial, not the worker.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial

import torch
from optuna.trial import FrozenTrial
from sqlalchemy.exc import SQLAlchemyError

from caviar.epoch import Epoch
from caviar.models.cohort import Cohort
from caviar.models.cohort_kinds import groups
from caviar.models.training import Interrupted
from caviar.storage.errors import CheckpointUnreachable, DatabaseAway, LeaseLost
from caviar.storage.records import Lease
from caviar.studies.workers.cohort_size import CohortSize
from caviar.studies.workers.context import WorkerContext
from caviar.studies.workers.heartbeat import Heartbeat
from caviar.studies.workers.outbox import Outbox
from caviar.studies.workers.trial.assignment import Choose, Chooser
from caviar.studies.workers.trial.checkpoints import keep_here
from caviar.studies.workers.trial.decision import Next, Verdict
from caviar.studies.workers.trial.run import TrialRun
from caviar.studies.workers.trial.training_errors import TrainingRaised, training_code

_LOOK_AGAIN_SECONDS = 5.0  # for slots beside, where there were not enough
_LOOK_SECONDS = 0.25  # between two looks at what other workers' trials have done


class Trainer:
    """Trains the slots that one worker leases.

    Args:
        chooser: of their trials; None chooses as the study's strategy does.
        run: makes one attempt at a trial.
    """

    def __init__(
        self, context: WorkerContext, chooser: Choose | None = None, run: Callable[..., TrialRun] = TrialRun
    ) -> None:
        self._context = context
        self._size = CohortSize(context)
        self._chooser = chooser or Chooser(context)
        self._make_run = run
        self._outbox = Outbox(context)
        self._runs: list[TrialRun] = []
        self._cohorts: dict[tuple[int, ...], Cohort] = {}  # by the slots of their members
        self._look_at = 0.0  # when to look for slots that could take the free places
        self._beside: FrozenTrial | None = None  # whose values later ones get, of what a cohort has in common
        self._alike = 0  # trials that have them
        self._looked = 0.0

    def work_on(self, lease: Lease) -> None:
        """Train a leased slot and those beside it to their ends, or until the worker is asked to stop.

        Raises:
            DatabaseAway, CheckpointUnreachable: the patience is over; what was not written is kept on this machine.
        """
        context = self._context
        held = [lease]
        try:
            with Heartbeat(context.ledger, context.order.renew_seconds) as self._heartbeat:
                self._beside, self._look_at = None, 0.0
                self._take(held)
                while self._runs:
                    held = self._lease_more()
                    self._take(held)
                    self._train_epoch()
        except DatabaseAway as error:
            raise DatabaseAway("; ".join([str(error), *self._keep_here()])) from error
        except Exception as error:
            # Of one trial: the others lose nothing by it.
            kept = self._keep_here() if isinstance(error, CheckpointUnreachable) else []
            with suppress(SQLAlchemyError):  # at once, for another machine; else when the leases expire
                for abandoned in [*(run.lease for run in self._runs), *held]:
                    context.ledger.release(abandoned)
            if kept:
                raise CheckpointUnreachable("; ".join([str(error), *kept])) from error
            raise
        finally:
            self._runs.clear()
            self._cohorts.clear()

    def _keep_here(self) -> list[str]:
        return keep_here({run.lease.slot.number: run.keep_here for run in self._runs})

    def _lease_more(self) -> list[Lease]:
        """Lease slots for the places that are free."""
        context, free = self._context, self._size.now - len(self._runs)
        if free <= 0 or time.monotonic() < self._look_at or context.stop.asked:
            return []
        beside = self._runs[0].lease
        found = context.outage.insist(lambda: context.ledger.lease_beside(beside, free))
        self._look_at = time.monotonic() + _LOOK_AGAIN_SECONDS  # or when a run leaves
        return found

    def _take(self, leases: list[Lease]) -> None:
        """Make runs of leased slots, which leave the list one by one."""
        for lease in list(leases):
            self._heartbeat.hold(lease)
            try:
                named, trial = self._chooser.trial(lease, self._beside)
            except LeaseLost:  # another worker has it, or its study was changed: nothing was written for it here
                self._heartbeat.let_go(lease)
                self._context.release(lease)
            else:
                self._looked = time.monotonic()  # the chooser does
                run = self._make_run(self._context, named, trial, self._heartbeat, self._outbox)
                self._runs.append(run)
                if lease.trial_id is None:
                    self._share(trial)
                self._attempt(run, self._open, partial(run.open, begun=lease.trial_id is not None))
            leases.remove(lease)

    def _share(self, trial: FrozenTrial) -> None:
        """Let the next trials have this one's values of what a cohort has in common, but no more than one cohort."""
        if self._beside is None:
            self._beside, self._alike = trial, 0
        self._alike += 1
        if self._alike >= self._size.now:
            self._beside = None

    def _open(self, run: TrialRun, take_up: Callable[[], bool]) -> bool:
        return take_up() or self._finish(run, Verdict(Next.COMPLETE, "finished"))

    def _finish(self, run: TrialRun, verdict: Verdict) -> bool:
        run.finish(verdict)
        return False

    def _train_epoch(self) -> None:
        """Train one epoch of each trial, write all of them, and let those go that are over."""
        results: list[tuple[TrialRun, Epoch]] = []
        for members in self._groups():
            try:
                found = self._train(members)
            except Interrupted:
                for run in members:
                    run.drop()
                for run, result in results:
                    self._attempt(run, self._judge, result, ())
                for run in list(self._runs):
                    self._attempt(run, self._leave, run in members)
                return
            for run, result in zip(members, found, strict=bool(found)):
                run.take(result)
                results.append((run, result))
        if self._outbox.try_to_send():
            self._see_others()
        beside = [run.trial for run in self._runs]  # those that are stopped now, too
        for run, result in results:
            self._attempt(run, self._judge, result, beside)

    def _train(self, members: Sequence[TrialRun]) -> list[Epoch]:
        """Train one epoch of trials that are one group; return nothing where that was not possible.

        Raises:
            caviar.models.training.Interrupted: it was left in its middle.
        """
        try:
            with training_code():
                if len(members) == 1:
                    return [next(members[0].training.epochs(self._context.study.epochs, self._leave_epoch))]
                return self._cohort(members).epoch(self._leave_epoch)
        except TrainingRaised as raised:
            error = raised.error
        if len(members) == 1:
            self._attempt(members[0], self._fail, error)
            return []
        for run in members:
            run.drop()
        self._cohorts.clear()
        torch.cuda.empty_cache()  # of the larger cohort
        self._size.shrink(error, len(members))
        for run in members:
            self._attempt(run, self._open, run.open_again)
        return []

    def _groups(self) -> list[list[TrialRun]]:
        """Divide the trials into those that are trained as one program."""
        by_training = {id(run.training): run for run in self._runs}
        found = [[by_training[id(t)] for t in group] for group in groups([run.training for run in self._runs])]
        largest = self._size.now
        return [group[at : at + largest] for group in found for at in range(0, len(group), largest)]

    def _cohort(self, members: Sequence[TrialRun]) -> Cohort:
        key = tuple(run.lease.slot.number for run in members)
        if key not in self._cohorts:
            self._cohorts[key] = Cohort([run.training for run in members])
        return self._cohorts[key]

    def _judge(self, run: TrialRun, result: Epoch, beside: Sequence[FrozenTrial]) -> bool:
        verdict = run.judge(result, beside)
        if verdict.next is Next.GO_ON:
            run.go_on()
            return True
        return self._finish(run, verdict)

    def _fail(self, run: TrialRun, error: Exception) -> bool:
        run.fail(error)
        return False

    def _leave(self, run: TrialRun, in_epoch: bool) -> bool:
        """Give a trial back; one whose epoch was left in its middle as it was before."""
        if not in_epoch:
            return self._finish(run, Verdict(Next.GIVE_BACK, "given back"))
        run.leave_epoch()
        return False

    def _attempt(self, run: TrialRun, step: Callable[..., bool], *what: object) -> None:
        """Do something with a run; it leaves where that says that it does not go on."""
        try:
            try:
                goes_on = step(run, *what)
            except TrainingRaised as raised:
                goes_on = self._fail(run, raised.error)
            except Interrupted:
                goes_on = self._leave(run, in_epoch=True)
        except LeaseLost:  # another worker has it, or its study was changed: nothing more was written for it here
            goes_on = False
            self._context.release(run.lease)
        if not goes_on:
            self._runs.remove(run)
            self._heartbeat.let_go(run.lease)
            self._outbox.forget(run.lease)
            self._cohorts.clear()
            self._look_at = self._looked = 0.0

    def _leave_epoch(self) -> bool:
        """Say, between two batches, whether to leave the epoch where it is."""
        asked = self._heartbeat.asked
        return self._context.stop.overdue or self._heartbeat.in_vain() or (asked.at_once and asked.control != "run")

    def _see_others(self) -> None:
        """Read what other trials have done, if one of this worker ended, or if that is long ago."""
        if time.monotonic() - self._looked < _LOOK_SECONDS:
            return
        try:
            self._context.history.refresh()
        except SQLAlchemyError as error:
            self._context.outage.note(error)
        else:
            self._looked = time.monotonic()
