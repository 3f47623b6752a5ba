"""Train the trials of leased slots, as many at a time as fit into the worker's cohort.

When a trial ends, the next slot of the same phase takes its place in the cohort. Whatever training code raises ends its
trial, not the worker.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from itertools import islice

import torch
from optuna.trial import FrozenTrial
from sqlalchemy.exc import SQLAlchemyError

from caviar.epoch import Epoch
from caviar.models.cohort import Cohort
from caviar.models.cohort_kinds import groups
from caviar.models.training import Interrupted, Training
from caviar.storage.errors import CheckpointUnreachable, DatabaseAway, LeaseLost
from caviar.storage.records import Lease
from caviar.studies.errors import RanksDied
from caviar.studies.workers.cohort_size import CohortSize
from caviar.studies.workers.context import WorkerContext
from caviar.studies.workers.heartbeat import Heartbeat
from caviar.studies.workers.lease import HeldLease
from caviar.studies.workers.outbox import Outbox
from caviar.studies.workers.trial.assignment import Assigner, TrialAssigner
from caviar.studies.workers.trial.checkpoints import save_on_this_machine
from caviar.studies.workers.trial.decision import BY_ITSELF, Next, Verdict
from caviar.studies.workers.trial.failures import TrainingRaised, training_code
from caviar.studies.workers.trial.run import TrialRun

_LEASE_SECONDS = 5.0  # between two attempts to fill the cohort, where there were not enough slots
# Between two readings of other workers' trials: at least so many seconds, and for each of the trials that run, for each
# of which a reading costs: all workers together take no more than 100 readings a second, however many there are.
_REFRESH_SECONDS, _REFRESH_SECONDS_EACH = 0.25, 0.01


class Trainer:
    """Trains the slots that one worker leases, whose trials follow the study's strategy if no assigner is given."""

    def __init__(
        self,
        context: WorkerContext,
        assigner: Assigner | None = None,
        make_run: Callable[[WorkerContext, HeldLease, FrozenTrial, Outbox], TrialRun] = TrialRun,
    ) -> None:
        self._context = context
        self._size = CohortSize(context)
        self._assigner = assigner or TrialAssigner(context)
        self._make_run = make_run
        self._outbox = Outbox(context)
        self._runs: list[TrialRun] = []
        self._ended: dict[TrialRun, Verdict] = {}  # those whose end is not written yet, among all runs
        self._cohorts: dict[tuple[TrialRun, ...], Cohort] = {}  # by their members
        self._lease_at = 0.0  # when to lease slots for the places that are free
        self._partner: FrozenTrial | None = None  # whose values of what a cohort has in common later trials get
        self._partners = 0  # trials that have them
        self._refreshed_at = 0.0

    @property
    def together(self) -> int:
        """How many trials are trained at a time, which share this worker."""
        return self._size.now

    def work_on(self, lease: Lease) -> None:
        """Train a leased slot, and others that join its cohort, until all have ended or the worker is to stop.

        Raises:
            DatabaseAway, CheckpointUnreachable: the patience is over; what was not written is saved on this machine.
        """
        context = self._context
        new = [lease]
        try:
            with Heartbeat(context.ledger, context.options.renew_seconds) as self._heartbeat:
                self._partner, self._lease_at = None, 0.0
                self._begin(new)
                while self._runs:
                    new = self._lease_more()
                    self._begin(new)
                    self._train_epoch()
        except DatabaseAway as error:
            raise DatabaseAway("; ".join([str(error), *self._save_on_this_machine()])) from error
        except RanksDied:
            raise
        except Exception as error:
            # It concerns one trial; the others shall lose nothing by it.
            saved = self._save_on_this_machine() if isinstance(error, CheckpointUnreachable) else []
            with suppress(SQLAlchemyError):  # at once, for another machine; else when the leases expire
                for abandoned in [*(run.lease for run in self._runs), *new]:
                    context.ledger.release(abandoned)
            if saved:
                raise CheckpointUnreachable("; ".join([str(error), *saved])) from error
            raise
        finally:
            self._runs.clear()
            self._ended.clear()
            self._cohorts.clear()

    def _save_on_this_machine(self) -> list[str]:
        return save_on_this_machine([(run.held.number, run.save_on_this_machine) for run in self._runs])

    def _lease_more(self) -> list[Lease]:
        """Lease slots for the places that are free; none while the database is away, for the trials here go on."""
        context, free = self._context, self._size.now - len(self._runs)
        if free <= 0 or time.monotonic() < self._lease_at or context.is_leaving:
            return []
        if context.outage.seconds or self._outbox.is_sending:
            return []
        try:
            at_work = [run.held.number for run in self._runs]
            room = context.time.room(self._size.now)
            leases = context.ledger.lease_more(self._runs[0].lease, free, at_work, new=room.for_trial)
        except SQLAlchemyError as error:
            context.outage.failed(error)
            return []
        self._lease_at = time.monotonic() + _LEASE_SECONDS  # or when a run leaves
        return leases

    def _begin(self, leases: list[Lease]) -> None:
        """Begin the trials of leased slots; the leases leave the list one by one."""
        for lease in list(leases):
            held, begun = HeldLease(lease), lease.trial_id is not None
            self._heartbeat.add(held)
            try:
                trial = self._assigner.assign(lease, self._partner)
            except LeaseLost:  # another worker has it, or its study was changed: nothing was written for it here
                self._heartbeat.remove(held)
                self._context.release(lease)
            else:
                self._refreshed_at = time.monotonic()  # by the assigner
                held.lease = replace(lease, trial_id=trial._trial_id)
                run = self._make_run(self._context, held, trial, self._outbox)
                self._runs.append(run)
                if not begun:
                    self._share(trial)
                self._attempt(run, partial(self._open, run, partial(run.open, begun=begun)))
            leases.remove(lease)

    def _share(self, trial: FrozenTrial) -> None:
        """Let the next trials have this one's values of what a cohort has in common, but no more than one cohort."""
        if self._partner is None:
            self._partner, self._partners = trial, 0
        self._partners += 1
        if self._partners >= self._size.now:
            self._partner = None

    def _open(self, run: TrialRun, open_: Callable[[], bool]) -> bool:
        return open_() or self._finish(run, Verdict(Next.COMPLETE, "finished"))

    def _finish(self, run: TrialRun, verdict: Verdict) -> bool:
        run.finish(verdict)
        return False

    def _train_epoch(self) -> None:
        """Train one epoch of each trial, write all of them, and let the trials leave that are over."""
        results: list[tuple[TrialRun, Epoch]] = []
        for members in self._groups():
            try:
                trained = self._train(members)
            except Interrupted:
                if len(members) == 1 and members[0].limit.is_over and not self._leave_epoch(alive=False):
                    self._attempt(members[0], partial(self._time_out, members[0]))
                    continue
                for run in members:
                    run.drop()
                for run, result in results:
                    self._attempt(run, partial(self._judge, run, result, ()))
                for run in list(self._runs):
                    self._attempt(run, partial(self._leave, run, in_epoch=run in members))
                return
            if not trained and len(members) == 1 and members[0] in self._runs:
                self._ended[members[0]] = BY_ITSELF
            for run, result in zip(members, trained, strict=bool(trained)):
                run.take(result)
                results.append((run, result))
        if self._outbox.try_to_send():
            self._refresh()
        running = [run.trial for run in self._runs]  # those that are stopped now, too
        for run, result in results:
            self._attempt(run, partial(self._judge, run, result, running))
        self._end_trials()

    def _end_trials(self) -> None:
        """Write how trials ended whose epochs are written; once no other trial goes on, however long that takes.

        On a slow line epochs of the others may be on their way at any time: only an outage is waited for.
        """
        none_goes_on = len(self._ended) == len(self._runs)
        is_away = self._context.outage.seconds > 0 or self._outbox.is_sending
        for run, verdict in list(self._ended.items()):
            if none_goes_on or not (is_away or self._outbox.unwritten(run.held)):
                self._attempt(run, partial(self._finish, run, verdict))

    def _train(self, members: Sequence[TrialRun]) -> list[Epoch]:
        """Train one epoch of trials that are one group; return nothing if that was not possible, or if the trial is
        alone and its training has come to its end by itself."""
        self._context.output.follow(members[0].held.number)
        try:
            with training_code(self._context.pulse), self._context.pulse.epoch():
                if len(members) == 1:
                    return self._train_alone(members[0])
                return self._cohort(members).epoch(self._leave_epoch)
        except TrainingRaised as raised:
            error = raised.error
        if len(members) == 1:
            self._attempt(members[0], partial(self._fail, members[0], error))
            return []
        for run in members:
            run.drop()
        self._cohorts.clear()
        torch.cuda.empty_cache()  # of the larger cohort
        self._size.shrink(error, len(members))
        for run in members:
            self._attempt(run, partial(self._open, run, run.reopen))
        return []

    def _train_alone(self, run: TrialRun) -> list[Epoch]:
        """Train one epoch of a trial, which may be left because the trial takes too long; in a cohort that waits for
        the end of the epoch, since the others would lose it, too."""
        limit = run.limit
        with limit.epoch(), self._context.pulse.until(limit.deadline, run.held.number, limit.seconds):
            epochs = run.training.epochs(
                self._context.study.last_epoch, lambda alive=True: self._leave_epoch(alive) or limit.is_over
            )
            return list(islice(epochs, 1))

    def _groups(self) -> list[list[TrialRun]]:
        """Divide the trials into those that are trained as one program."""
        running = [run for run in self._runs if run not in self._ended]
        by_training = {id(run.training): run for run in running}
        stackable = [run.training for run in running if isinstance(run.training, Training)]
        alike = [[by_training[id(training)] for training in group] for group in groups(stackable)]
        alike += [[run] for run in running if not isinstance(run.training, Training)]
        largest = self._size.now
        return [group[at : at + largest] for group in alike for at in range(0, len(group), largest)]

    def _cohort(self, members: Sequence[TrialRun]) -> Cohort:
        key = tuple(members)
        if key not in self._cohorts:
            self._cohorts[key] = Cohort([t for run in members if isinstance(t := run.training, Training)])
        return self._cohorts[key]

    def _judge(self, run: TrialRun, result: Epoch, running: Sequence[FrozenTrial]) -> bool:
        if run.held.requested.leave:
            self._context.pulse.leave()
        verdict = run.judge(result, running)
        if verdict.next is Next.GO_ON:
            run.go_on()
        else:
            self._ended[run] = verdict
        return True

    def _fail(self, run: TrialRun, error: Exception) -> bool:
        if isinstance(error, RanksDied):  # no fault of the trial, as far as is known: it is lost as with its worker
            raise error
        run.fail(error)
        return False

    def _time_out(self, run: TrialRun) -> bool:
        run.time_out()
        return False

    def _leave(self, run: TrialRun, in_epoch: bool) -> bool:
        """Give a trial back; if its epoch was left in its middle, as it was before that epoch."""
        if not in_epoch:
            return self._finish(run, self._ended.get(run, Verdict(Next.GIVE_BACK, "given back")))
        run.leave_epoch()
        return False

    def _attempt(self, run: TrialRun, step: Callable[[], bool]) -> None:
        """Do one step of a run, which leaves the worker if the step returns False: it does not go on."""
        try:
            try:
                goes_on = step()
            except TrainingRaised as raised:
                goes_on = self._fail(run, raised.error)
            except Interrupted:
                goes_on = self._leave(run, in_epoch=True)
        except LeaseLost:  # another worker has it, or its study was changed: nothing more was written for it here
            goes_on = False
            self._context.release(run.lease)
        if not goes_on:
            run.close()
            self._runs.remove(run)
            self._ended.pop(run, None)
            self._heartbeat.remove(run.held)
            self._outbox.forget(run.held)
            self._cohorts.clear()
            self._lease_at = self._refreshed_at = 0.0

    def _leave_epoch(self, alive: bool = True) -> bool:
        """Return True, between two batches, if the epoch is to be left where it is; as `Leave` says."""
        return self._context.asks_to_leave([run.held for run in self._runs], alive)

    def _refresh(self) -> None:
        """Read the other trials, if one of this worker ended, or if the last reading is long ago."""
        pause = max(_REFRESH_SECONDS, _REFRESH_SECONDS_EACH * self._context.history.running)
        if time.monotonic() - self._refreshed_at < pause:
            return
        try:
            self._context.history.refresh()
        except SQLAlchemyError as error:
            self._context.outage.failed(error)
        else:
            self._refreshed_at = time.monotonic()
