"""Supervise the workers of this machine: until the study is done or stopped, or this process is asked to stop.

Nothing here prints or draws; what happens is passed to a callback as the records of `events`.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from caviar.storage.definitions import load_study
from caviar.storage.errors import DatabaseAway
from caviar.storage.events import read_events
from caviar.storage.files import CheckpointFiles
from caviar.storage.outage import Outage
from caviar.storage.processes import machine_id
from caviar.storage.records import EventRecord, StudyRecord, WorkerDeath
from caviar.storage.states import Control, EventKind
from caviar.storage.status import Progress
from caviar.storage.trial_logs import TrialLogs
from caviar.storage.workers import finished_by
from caviar.studies.lifecycle.manager import definition_of, free_dead_workers, take_snapshot
from caviar.studies.workers.local import events
from caviar.studies.workers.local.options import WorkerOptions
from caviar.studies.workers.local.patience import reported_outage
from caviar.studies.workers.local.pool import WorkerPool
from caviar.studies.workers.local.signals import Stop

_STEP_SECONDS = 0.5  # between two looks at the workers of this machine
# Between two snapshots of the study, each of which costs the more the more workers there are: all commands together
# take some `_LOOKS_PER_SECOND`, however many machines work on it.
_LOOK_SECONDS, _LONGEST_LOOK = 0.5, 30.0
_LOOKS_PER_SECOND = 20.0
_KEPT_SECONDS = 4.0  # between two snapshots for which a connection is kept


@dataclass(frozen=True)
class Outcome:
    """What the workers of this machine did, and the study when they left it."""

    record: StudyRecord
    now: Progress
    time_is_over: bool  # whether they left because the command's time was over, or too short for another trial
    trials: int  # that these workers finished
    restarts: int  # of workers that died
    is_freed: bool  # whether they left because somebody freed this machine
    seconds: float  # from the start of the workers to their end


def supervise(
    engine: Engine,
    record: StudyRecord,
    options: WorkerOptions,
    devices: Sequence[str],
    stop: Stop,
    on_event: events.Listener = events.ignore,
) -> Outcome:
    """Run one worker process on each device until the study is done or stopped, or this process is asked to stop.

    While the study is paused its workers leave; they come back when it goes on. A worker that is killed, or leaves by
    itself, is replaced, as is one whose training hangs.

    Events are passed to `on_event`, in this thread.

    Raises:
        WorkersFailed: a worker ended with an error, or one died too often in a row.
        DatabaseAway: the database was away for longer than the patience.
        BadCheckpointsAddress: no checkpoints can be kept where CAVIAR_CHECKPOINTS says.
    """
    started = time.monotonic()
    if options.settings.checkpoints:
        CheckpointFiles(options.settings.checkpoints)  # refuses a bad address before anything is leased
    outage = reported_outage(options.settings, options.patience, lambda: stop.overdue, on_event)
    if freed := outage.insist(lambda: free_dead_workers(engine, record)):
        on_event(events.TrialsFreed(freed))
    has_files, logs = options.settings.checkpoints is not None, TrialLogs(options.settings.home, record.label)
    watch = _Watch(engine, record, outage, stop, on_event, options.until, has_files=has_files)
    with _freeing_dead(engine, record, watch.deaths), WorkerPool(options, devices, logs) as pool:
        watch.until_over(pool)
        if stop.asked or watch.is_late:
            on_event(events.Stopping(options.grace))
    trials = watch.last_look(pool.pids)
    time_is_over = watch.is_late or pool.too_long is not None
    seconds = time.monotonic() - started
    return Outcome(watch.record, watch.progress, time_is_over, trials, pool.restarts, pool.is_freed, seconds)


class _Watch:
    """Watches a study and the pool of workers on it."""

    def __init__(
        self, engine: Engine, record: StudyRecord, outage: Outage, stop: Stop, on_event: events.Listener,
        until: float | None, *, has_files: bool,
    ) -> None:  # fmt: skip
        self.record = record
        self._engine = engine
        self._outage = outage
        self._stop = stop
        self._on_event = on_event
        self._until = until
        self._said_no_time = False
        self._look_at = 0.0  # when the next snapshot is due
        self._running = -1  # workers of this machine at the last one
        self.deaths: dict[int, WorkerDeath] = {}  # of workers, by process id, that the database does not know of
        self._messages: tuple[EventRecord, ...] = ()  # the latest events of the last look
        self._cohort_events = len(outage.insist(self._read_cohort_events))
        self._reasons: set[str] = set()  # of cohort sizes that were reported
        self.progress = outage.insist(lambda: take_snapshot(engine, record)).progress
        # Why states are not kept, as it was reported last; where they go to files now, of before this run.
        self._unkept = self.progress.unkept if has_files else None

    @property
    def is_late(self) -> bool:
        """Whether the command's time is over."""
        return self._until is not None and time.monotonic() >= self._until

    def until_over(self, pool: WorkerPool) -> None:
        """Replace workers and report what happens, until no worker is needed any more, this process is to stop, or its
        time is over."""
        while not (self._stop.asked or self.is_late):
            wanted = self.progress.control == Control.RUN and self.progress.open > 0
            known = set(self.deaths)
            pool.replace_dead(self.deaths, wanted=wanted, asked=asked_to_leave(self.progress))
            for death in [death for pid, death in self.deaths.items() if pid not in known]:
                self._on_event(events.WorkerDied(death.why))
            self._report_time(pool)
            try:
                if self.deaths:
                    free_dead_workers(self._engine, self.record, self.deaths)
                    self.deaths.clear()
                if time.monotonic() >= self._look_at or pool.running() != self._running:
                    self._running = pool.running()
                    self._look()
                    pause = look_seconds(self.progress.workers)
                    self._look_at = time.monotonic() + pause
                    if pause > _KEPT_SECONDS:
                        self._engine.dispose()  # many workers need the server's connections
            except SQLAlchemyError as error:
                self._outage.failed(error)
            else:
                if self._is_over(pool):
                    return
            pool.wait(max(_STEP_SECONDS, self._outage.pause))

    def _report_time(self, pool: WorkerPool) -> None:
        """Report, once, that a worker has left because it had no time for another trial."""
        if pool.too_long is not None and self._until is not None and not self._said_no_time:
            self._said_no_time = True
            self._on_event(events.NoTimeLeft(pool.too_long, max(0.0, self._until - time.monotonic())))

    def last_look(self, pids: set[int]) -> int:
        """Report the study as the workers left it; return how many trials the processes of these ids finished."""
        try:
            self._outage.insist(self._look)
            return self._outage.insist(lambda: finished_by(self._engine, self.record.study_id, machine_id(), pids))
        except DatabaseAway:
            if not self._stop.asked:  # a process that stops waits for nothing
                raise
            return 0

    def _look(self) -> None:
        """Read the study, with its current definition, and report it."""
        snapshot = take_snapshot(self._engine, self.record)
        if snapshot.progress.version != self.record.version:
            self.record = load_study(self._engine, self.record.name)
        if snapshot.messages != self._messages:  # else nothing new is in the study's history
            self._report_cohorts()
            self._messages = snapshot.messages
        self._outage.over()
        if snapshot.progress.unkept not in (None, self._unkept):
            self._unkept = snapshot.progress.unkept
            self._on_event(events.StatesNotKept(self._unkept))
        self.progress = snapshot.progress
        self._on_event(events.Progressed(definition_of(self.record), snapshot))

    def _is_over(self, pool: WorkerPool) -> bool:
        """Return whether nothing is left, or all workers have left: the study is stopped, this machine is freed, or no
        time is left for a trial."""
        nothing_left = self.progress.open + self.progress.leased == 0
        is_stopped = (self.progress.control == Control.STOP or pool.is_freed) and not pool.running()
        return nothing_left or is_stopped or (pool.too_long is not None and not pool.is_occupied)

    def _report_cohorts(self) -> None:
        """Report new sizes of cohorts; workers that measured about the same are reported once."""
        sizes = self._read_cohort_events()
        for event in sizes[self._cohort_events :]:
            reason = str(event.detail.get("why", "measured"))
            if reason not in self._reasons:
                self._reasons.add(reason)
                self._on_event(events.CohortSized(**event.detail))
        self._cohort_events = len(sizes)

    def _read_cohort_events(self) -> list[EventRecord]:
        return read_events(self._engine, self.record.study_id, EventKind.COHORT_SIZE)


def look_seconds(workers: int) -> float:
    """Return the time between two snapshots of a study that so many workers train, by one of their commands.

    Commands that were started at the same moment look at different ones.
    """
    seconds = min(max(_LOOK_SECONDS, workers / _LOOKS_PER_SECOND), _LONGEST_LOOK)
    return seconds if seconds == _LOOK_SECONDS else seconds * random.uniform(0.75, 1.25)


def asked_to_leave(now: Progress) -> set[int]:
    """Return the ids of this machine's processes whose training somebody has asked to leave in the middle of an epoch.

    Whoever asks to end a trial would wait for the epoch's end, but a training that hangs has none.
    """
    all_of_them = now.at_once and now.control != Control.RUN
    asked = [trial for trial in now.running if all_of_them or trial.is_killed]
    return {int(trial.worker.rpartition(":")[2]) for trial in asked if trial.machine == machine_id()}


@contextmanager
def _freeing_dead(engine: Engine, record: StudyRecord, deaths: Mapping[int, WorkerDeath]) -> Iterator[None]:
    """Free, at the end, the trials that workers of this machine held when they were killed."""
    try:
        yield
    finally:
        with suppress(SQLAlchemyError):  # else their leases expire
            free_dead_workers(engine, record, deaths)
