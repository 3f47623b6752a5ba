"""Train a study on this machine: begin it or go on with it, or join one that another machine has begun.

Loading this module loads neither PyTorch nor Optuna: the fork server of the workers starts first, and loads them at the
same time as this process does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING

from sqlalchemy import Engine

from caviar.models.errors import DataUnavailable
from caviar.storage.definitions import load_study
from caviar.storage.embedded import is_installed
from caviar.storage.engine import require_writable
from caviar.storage.errors import CheckpointUnreachable, DatabaseAway
from caviar.storage.events import read_events
from caviar.storage.outage import Outage
from caviar.storage.records import EventRecord, StudyRecord
from caviar.storage.states import Control, EventKind
from caviar.storage.status import Progress
from caviar.storage.timing import GRACE, LEASE, PATIENCE, RENEW
from caviar.studies.api.session import connect, data_folder, settings_of
from caviar.studies.api.standing import status_of
from caviar.studies.dashboard.note import leave_note
from caviar.studies.definition import Study, change
from caviar.studies.lifecycle.loader import select_stored
from caviar.studies.lifecycle.manager import definition_of, progress, refuse_panda
from caviar.studies.lifecycle.revision import compare
from caviar.studies.results.summaries import StudyState, StudyStatus, state_of
from caviar.studies.workers.local.devices import check_places, check_workers, places, spread, visible_gpus
from caviar.studies.workers.local.events import (
    EarlierVersion,
    Listener,
    TestedElsewhere,
    WorkersEnded,
    WorkersStarted,
    ignore,
)
from caviar.studies.workers.local.options import WorkerOptions, read_duration
from caviar.studies.workers.local.patience import reported_outage
from caviar.studies.workers.local.pool import WorkerPool
from caviar.studies.workers.local.preparation import begin_or_resume, check_machine
from caviar.studies.workers.local.signals import Stop
from caviar.studies.workers.local.supervisor import Outcome, supervise

if TYPE_CHECKING:
    from caviar.studies.results.next_steps import Step
    from caviar.studies.results.winner import Winner


@dataclass(frozen=True)
class RunResult:
    """The outcome of `run` or `join`.

    Attributes:
        study, status: its definition and progress when this machine's workers left it.
        winner: None before the study is done, or if no trial came to a result.
        seconds: how long the call took.
        was_asked_to_stop: whether SIGTERM, SIGUSR1 or SIGUSR2 ended it.
        time_is_over: whether the call's `time` ended it, or was too short for another trial.
        freed: the event by which somebody freed this machine, whose workers left; None if nobody did.
        stopped: the event that stopped the study for all machines; None if none did.
        ended_early: the event by which it ended before its budget was spent, as its rule says; None if it did not.
        next_steps: what to do next, the most useful step first; empty where there is no winner yet.
    """

    study: Study
    status: StudyStatus
    winner: Winner | None
    seconds: float
    was_asked_to_stop: bool = False
    time_is_over: bool = False
    freed: EventRecord | None = None
    stopped: EventRecord | None = None
    ended_early: EventRecord | None = None
    next_steps: tuple[Step, ...] = ()

    @property
    def is_done(self) -> bool:
        """Whether every trial is finished, and the winner is measured on the test set here or elsewhere."""
        return self.status.state == StudyState.DONE and not self.was_asked_to_stop and self.freed is None


def run(
    study: Study | str | Path,
    *,
    workers: int = 1,
    budget: int | None = None,
    name: str | None = None,
    strategy: str | None = None,
    seed: int | None = None,
    until: str | None = None,
    accept: bool = False,
    cohort: int | None = None,
    epoch_timeout: float | str | None = None,
    time: float | str | None = None,
    on_event: Listener = ignore,
    lease: float = LEASE,
    renew: float = RENEW,
    grace: float = GRACE,
    patience: float = PATIENCE,
    data_dir: str | Path | None = None,
    database: str | Engine | None = None,
) -> RunResult:
    """Run a study to its winner, or go on with it where it stopped.

    Any number of these calls, and of `join`, may work on a study at once, on any machine that reaches the database:
    together they make exactly the study's budget of trials. It can be called from a script without a main guard, from
    a notebook, and from any thread; signals are heard in the main thread.

    Args:
        study: a definition, a name of the catalog or of a study in the database, a path to a .py file with a `STUDY`,
            or `package.module:NAME`.
        workers: processes that train on this machine.
        budget: the number of trials, instead of the study's own.
        name: another name to keep the study under.
        strategy: the search strategy, instead of the study's own.
        seed: the seed of the search and of every trial, instead of the study's own.
        until: when the search ends, instead of the study's own rule: `budget`, `gain < noise`, or `gain < 0.001`.
        accept: make a changed definition the study's next version, if its trials stay comparable. For a study that is
            named as in the database, also run its model's code where it is other code than the study's.
        cohort: trials that a worker trains as one program; 1 for one by one, None for as many as make it faster.
        epoch_timeout: instead of the study's own, how long an epoch may go without a batch before the training counts
            as hung, and its worker is replaced: seconds, or a text such as `90s`, `30min`, `2h`. If neither is given,
            ten times the longest epoch of these workers so far, but at least 5 minutes, and an hour before the first
            epoch of any of them: give more where a later model takes longer to compile.
        time: how long this call may take: seconds, or a text such as `90min` or `2h`. No trial begins that is not
            expected to end in it, by the time that the study's last trials took. One that has not ended by then is
            given back, and the next call goes on with it.
        on_event: called, in this thread, with each record of `caviar.studies.workers.local.events`, such as
            `Progressed`.
        lease: seconds of silence after which a worker loses its trials.
        renew: seconds between two signs of life of a worker.
        grace: seconds that the current epoch may take after a signal to stop.
        patience: seconds to wait for a database that is away.

    Raises:
        UnknownStudy: nothing has that name.
        DefinitionError: the definition is not valid, or cannot be trained.
        DefinitionChanged: the study has another definition in the database, and `accept` is False.
        NotComparable: its trials could not be compared with those of this definition.
        OptionError: the options contradict one another.
        DataUnavailable: the data are not here, and cannot be downloaded.
        WorkersFailed: a worker ended with an error, or died too often.
        DatabaseAway: the database was away for longer than the patience.
        KeyboardInterrupt: Ctrl-C ended it, gracefully: each worker has given its trials back after its epoch.

    Examples:
        >>> result = caviar.run("digits", workers=2)
        >>> result.winner.hyperparameters

        >>> def show(event):
        ...     if isinstance(event, caviar.Progressed):
        ...         print(event.snapshot.progress.done, "trials are done")
        >>> caviar.run(study, on_event=show)
    """
    started = monotonic()
    leave_at = _leave_at(time, started)
    check_workers(workers)
    settings = settings_of(database)
    if settings.database_url is None and not is_installed(settings.home):
        WorkerPool.warm_up()  # whatever the study is, it is new: the workers' imports, while the server is installed
    with Stop(grace) as stop, connect(database, hurry=lambda: stop.asked) as engine:
        require_writable(engine)
        outage = reported_outage(settings, patience, lambda: stop.asked, on_event)
        given, stored = (
            (study, None) if isinstance(study, Study) else outage.insist(lambda: select_stored(engine, str(study)))
        )
        definition = change(given, budget=budget, name=name, strategy=strategy, seed=seed, until=until)
        options = WorkerOptions(
            settings, definition.name, data_folder(data_dir), lease, renew, grace, patience, cohort,
            ranks=definition.gpus,
            epoch_timeout=read_duration("epoch-timeout", epoch_timeout) or definition.epoch_timeout, until=leave_at,
        )  # fmt: skip
        opened = outage.insist(
            lambda: begin_or_resume(engine, definition, options, stored=stored, accept=accept, on_event=on_event)
        )
        record, options = opened.record, opened.options
        if opened.begun:
            leave_note(engine, record)
        if (revision := compare(definition, definition_of(record))).changes:
            on_event(EarlierVersion(record.name, record.version, tuple(revision.comparable)))
        now, outcome = outage.insist(lambda: progress(engine, record)), None
        if now.done < now.budget:
            devices = spread(workers, visible_gpus(), options.ranks)
            outcome = _work(engine, record, options, devices, stop, on_event)
            record, now = outcome.record, outcome.now
        is_measured = _may_measure(now, outcome) and measure_winner(engine, record, options, stop, outage, on_event)
        return _result(engine, record, now, stop, outage, started, outcome, is_measured=is_measured)


def join(
    study: str,
    *,
    gpus: str | None = None,
    workers_per_gpu: int = 1,
    workers: int | None = None,
    allow_mismatch: bool = False,
    cohort: int | None = None,
    epoch_timeout: float | str | None = None,
    time: float | str | None = None,
    on_event: Listener = ignore,
    lease: float = LEASE,
    renew: float = RENEW,
    grace: float = GRACE,
    patience: float = PATIENCE,
    data_dir: str | Path | None = None,
    database: str | Engine | None = None,
) -> RunResult:
    """Work on a study that is in the database, with this machine's GPUs or cores, until it is done or stopped.

    The definition comes from the database. Before anything is trained, this machine's code, versions, data and clock
    are compared with those that the study was begun with.

    Args:
        gpus: `all`, `none`, or numbers such as `0,2`; None for all that there are.
        workers_per_gpu: processes on each GPU.
        workers: processes on the CPU, one core each; None for one on each core of a machine without a GPU.
        allow_mismatch: train with other code, data or clock than the study's; its history records that.
        cohort, epoch_timeout, time, on_event, lease, renew, grace, patience: as for `run`.

    Returns:
        The outcome; a study that was stopped or done before is left as it is.

    Raises:
        NotComparable: the study is a panda.
        MachineMismatch: this machine would train something else, and that is not allowed.
        OptionError: there is no such GPU.
        CaviarError: as `run` does.

    Examples:
        >>> caviar.join("digits", gpus="0,2", workers_per_gpu=2, database="postgresql://me@host/database")
    """
    started = monotonic()
    leave_at = _leave_at(time, started)
    check_places(gpus, workers_per_gpu, workers)
    with Stop(grace) as stop, connect(database, hurry=lambda: stop.asked) as engine:
        require_writable(engine)
        settings, folder = settings_of(database), data_folder(data_dir)
        outage = reported_outage(settings, patience, lambda: stop.asked, on_event)
        record = outage.insist(lambda: load_study(engine, study))
        outage.insist(lambda: refuse_panda(engine, record))
        options = WorkerOptions(
            settings, study, folder, lease, renew, grace, patience, cohort, ranks=definition_of(record).gpus,
            epoch_timeout=read_duration("epoch-timeout", epoch_timeout) or definition_of(record).epoch_timeout,
            until=leave_at,
        )  # fmt: skip

        def check() -> str | None:
            return check_machine(engine, record, folder, allow_mismatch=allow_mismatch, on_event=on_event)

        now, outcome = outage.insist(lambda: progress(engine, record)), None
        if state_of(now) not in (StudyState.STOPPED, StudyState.DONE):
            WorkerPool.warm_up()  # the workers' imports, while this process has its own
            options = replace(options, code=outage.insist(check), allow_mismatch=allow_mismatch)
            devices = places(gpus, workers_per_gpu, workers, visible_gpus(), options.ranks)
            outcome = _work(engine, record, options, devices, stop, on_event)
            record, now = outcome.record, outcome.now
        elif now.done == now.budget and not outage.insist(lambda: _is_concluded(engine, record)):
            outage.insist(check)  # the winner may have to be trained again
        is_measured = _may_measure(now, outcome) and _measure_here_or_elsewhere(
            engine, record, options, stop, outage, on_event
        )
        return _result(engine, record, now, stop, outage, started, outcome, is_measured=is_measured)


def _leave_at(time: float | str | None, started: float) -> float | None:
    seconds = read_duration("time", time)
    return None if seconds is None else started + seconds


def _work(
    engine: Engine, record: StudyRecord, options: WorkerOptions, devices: Sequence[str], stop: Stop, on_event: Listener
) -> Outcome:
    """Run workers until the study is done or stopped, the time is over, or somebody frees this machine."""
    on_event(WorkersStarted(definition_of(record), tuple(devices)))
    outcome = supervise(engine, record, options, devices, stop, on_event)
    on_event(WorkersEnded(len(devices), outcome.trials, outcome.restarts, outcome.seconds))
    return outcome


def _may_measure(now: Progress, outcome: Outcome | None) -> bool:
    """Return whether the study is done, and this machine may measure its winner: not one that somebody frees."""
    return now.done == now.budget and not (outcome is not None and outcome.is_freed)


def measure_winner(
    engine: Engine, record: StudyRecord, options: WorkerOptions, stop: Stop, outage: Outage, on_event: Listener = ignore
) -> bool:
    """Measure the winner of a study that is done on the test set; return False if this process was asked to stop.

    Raises:
        DatabaseAway: the patience is over.
        CheckpointUnreachable: the winner's weights are in a place that this machine does not reach.
        DataUnavailable: the data are not here.
    """
    from caviar.studies.results.conclusion import conclude

    def asked() -> bool:
        return stop.asked

    try:
        return not stop.asked and conclude(engine, record, options.data_dir, asked, outage, on_event)
    except DatabaseAway:
        if not stop.asked:  # a process that stops does not wait for it
            raise
        return False


def _is_concluded(engine: Engine, record: StudyRecord) -> bool:
    from caviar.studies.results.conclusion import is_concluded

    return is_concluded(engine, record)


def _measure_here_or_elsewhere(
    engine: Engine, record: StudyRecord, options: WorkerOptions, stop: Stop, outage: Outage, on_event: Listener
) -> bool:
    """Do what `measure_winner` does, unless this machine lacks the data or the weights, as a machine that joins may."""
    from caviar.models.data import check_available

    try:
        data = definition_of(record).data
        if data is not None:
            check_available(data, options.data_dir)
        return measure_winner(engine, record, options, stop, outage, on_event)
    except (DataUnavailable, CheckpointUnreachable) as error:
        on_event(TestedElsewhere(str(error)))
        return True


def _result(
    engine: Engine,
    record: StudyRecord,
    now: Progress,
    stop: Stop,
    outage: Outage,
    started: float,
    outcome: Outcome | None,
    *,
    is_measured: bool,
) -> RunResult:
    """Return how a study stands when this machine leaves it; `outcome` is None where it did not work on it.

    Raises:
        KeyboardInterrupt: Ctrl-C is why it leaves.
    """
    if stop.interrupted and not is_measured:
        raise KeyboardInterrupt
    winner, steps = outage.insist(lambda: _conclusion(engine, record)) if is_measured else (None, ())
    if winner is not None:
        leave_note(engine, record, winner, steps)
    is_freed = outcome is not None and outcome.is_freed and not stop.asked
    freed = outage.insist(lambda: _last(engine, record, EventKind.FREED)) if is_freed else None
    is_stopped = now.control == Control.STOP and not (is_measured or stop.asked or is_freed)
    stopped = outage.insist(lambda: _last(engine, record, EventKind.STOPPED)) if is_stopped else None
    early = outage.insist(lambda: _last(engine, record, EventKind.ENDED_EARLY)) if is_measured else None
    is_early = early is not None and early.detail.get("budget") == now.budget  # else it went on
    return RunResult(
        study=definition_of(record),
        status=outage.insist(lambda: status_of(engine, record, now, winner)),
        winner=winner,
        seconds=monotonic() - started,
        was_asked_to_stop=stop.asked and not is_measured,
        time_is_over=outcome is not None and outcome.time_is_over and not is_measured,
        freed=freed,
        stopped=stopped,
        ended_early=early if is_early else None,
        next_steps=steps,
    )


def _last(engine: Engine, record: StudyRecord, kind: EventKind) -> EventRecord | None:
    """Return the last event of a kind; None where there is none."""
    found = read_events(engine, record.study_id, kind)
    return found[-1] if found else None


def _conclusion(engine: Engine, record: StudyRecord) -> tuple[Winner | None, tuple[Step, ...]]:
    """Return the winner of a study that is done, and what to do next."""
    from caviar.studies.results.report.reading import read_winner_and_steps

    return read_winner_and_steps(engine, record)
