"""Workers of this machine on one study, from their start to its end: what `run` and `join` have in common."""

from __future__ import annotations

import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from caviar.studies.cli.output import say, working

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from sqlalchemy import Engine

    from caviar.storage.outage import Outage
    from caviar.storage.records import Progress, StudyRecord
    from caviar.studies.definition import Study
    from caviar.studies.workers.local.options import WorkerOptions
    from caviar.studies.workers.local.signals import Stop

_LOOK_SECONDS = 0.5  # between two looks at the database

# The defaults stand in studies/workers/local/options.py and storage/outage.py, which are not imported for --help.
Lease = Annotated[
    float, typer.Option(min=0.5, metavar="SECONDS", help="After which a worker that is not heard of loses its trial.")
]
Renew = Annotated[float, typer.Option(min=0.1, metavar="SECONDS", help="Between two signs of life of a worker.")]
Grace = Annotated[
    float, typer.Option(min=0, metavar="SECONDS", help="That an epoch may take to its end after a signal to stop.")
]
Patience = Annotated[
    float,
    # At most storage/outage.py's MOST_PATIENCE: after that, what a worker holds may be removed.
    typer.Option(
        min=0, max=86_400, metavar="SECONDS", help="That a database that is away is waited for; then exit 75."
    ),
]
Cohort = Annotated[
    str, typer.Option(metavar="N", help="Trials that a worker trains as one program; auto: as many as make it faster.")
]


def cohort_size(given: str) -> int | None:
    """Read `--cohort`; None for auto.

    Raises:
        OptionError: it is neither auto nor a number from 1.
    """
    from caviar.studies.errors import OptionError

    if given == "auto":
        return None
    if given.isdecimal() and int(given) > 0:
        return int(given)
    raise OptionError(
        f"--cohort {given}: give auto, or how many trials each worker trains as one program; 1 for one by one"
    )


@dataclass(frozen=True)
class Outcome:
    """Where the study is, and by which definition, when the workers of this machine leave it; and what they did."""

    record: StudyRecord
    now: Progress
    trials: int
    restarts: int
    seconds: float


def prepare(study: Study, folder: Path, doing: str) -> None:
    """Check, before anything is registered or leased, that all is there that a study needs; fetch its data.

    Args:
        folder: of data sets.
        doing: what is done, for whoever waits.

    Raises:
        DefinitionError: it cannot be trained.
        DataUnavailable: the data are not here, and could not be fetched.
    """
    from caviar.studies.workers.local.pool import WorkerPool

    WorkerPool.warm_up()  # the workers' imports, while this process has its own
    check_and_fetch(study, folder, doing)


def check_and_fetch(study: Study, folder: Path, doing: str) -> None:
    """Check that a study can be trained, and fetch its data; arguments and errors are those of `prepare`."""
    with working(f"loading PyTorch, and {doing}"):
        from caviar.models.data import fetch
        from caviar.studies.workers.trial.build import check

        check(study)
    if fetch(study.data, folder):
        say(f"the data set '{study.data}' is now in {folder}")


def measure(engine: Engine, record: StudyRecord, order: WorkerOptions, stop: Stop) -> bool:
    """Measure the winner of a study that is done; False where this process was asked to stop before.

    Raises:
        DatabaseAway: the patience is over.
        CheckpointUnreachable: the winner's weights are in a place that this machine does not reach.
        DataUnavailable: the data are not here.
    """
    from caviar.storage.errors import DatabaseAway
    from caviar.storage.outage import Outage
    from caviar.studies.results.winner import conclude

    def asked() -> bool:
        return stop.asked

    try:
        outage = Outage(order.patience, asked)
        return not stop.asked and outage.insist(lambda: conclude(engine, record, order.data_dir, asked))
    except DatabaseAway:
        if not stop.asked:  # whoever stops does not wait for it
            raise
        return False


def work(
    engine: Engine, record: StudyRecord, study: Study, order: WorkerOptions, devices: Sequence[str], stop: Stop
) -> Outcome:
    """Run workers until the study is done or stopped, or this process is asked to stop; show how it goes.

    While the study is paused they leave, and come back when it goes on.

    Raises:
        WorkersFailed: a worker ended with an error, or died too often.
        DatabaseAway: the database was away for longer than the patience.
        BadCheckpointsAddress: no checkpoints can be kept where CAVIAR_CHECKPOINTS says.
    """
    from sqlalchemy.exc import SQLAlchemyError

    from caviar.storage.definitions import load_study
    from caviar.storage.errors import DatabaseAway
    from caviar.storage.files import CheckpointFiles
    from caviar.storage.outage import Outage
    from caviar.storage.processes import machine_id
    from caviar.storage.workers import finished_by
    from caviar.studies.cli.display import Display
    from caviar.studies.cli.sentences import CohortNews
    from caviar.studies.lifecycle.manager import definition_of, free_dead_workers, look
    from caviar.studies.results.summaries import state_of
    from caviar.studies.workers.local.pool import WorkerPool

    started = time.monotonic()
    if order.settings.checkpoints:
        CheckpointFiles(order.settings.checkpoints)  # refuses a bad address before anything is leased
    freed = free_dead_workers(engine, record)
    if freed:
        say(f"{freed} unfinished trial(s) of workers that died on this machine go on")
    outage = Outage(order.patience, lambda: stop.overdue)
    news = CohortNews(engine, record)
    seen, died = look(engine, record), False
    with Display(study) as display:
        with _freeing_dead(engine, record), WorkerPool(order, devices) as fleet:
            while not stop.asked:
                died = bool(fleet.look(wanted=seen.progress.control == "run" and seen.progress.open > 0)) or died
                try:
                    if died:
                        free_dead_workers(engine, record)
                        died = False
                    seen = look(engine, record)
                    if seen.progress.version != record.version:
                        record = load_study(engine, record.name)
                        display.change(definition_of(record))
                except SQLAlchemyError as error:
                    _wait_for_database(order, outage, error)
                else:
                    _say_back(outage.over())
                    if not display.live:
                        news.tell()
                    display.show(seen)
                    state = state_of(seen.progress)
                    # A study that is stopped still has epochs that come to their end.
                    if state == "done" or (state == "stopped" and not fleet.running()):
                        break
                fleet.wait(max(_LOOK_SECONDS, outage.pause))
            if stop.asked:
                say(f"stopping: each worker finishes its epoch, for up to {order.grace:g} s; Ctrl-C leaves at once")
        trials = 0
        try:
            record = outage.insist(lambda: load_study(engine, record.name))
            display.change(definition_of(record))
            seen = outage.insist(lambda: look(engine, record))
            trials = outage.insist(lambda: finished_by(engine, record.study_id, machine_id(), fleet.pids))
        except DatabaseAway:
            if not stop.asked:  # whoever stops does not wait for it
                raise
        display.show(seen)
    return Outcome(record, seen.progress, trials, fleet.restarts, time.monotonic() - started)


@contextmanager
def _freeing_dead(engine: Engine, record: StudyRecord) -> Iterator[None]:
    """Open, at the end, what workers of this machine held when they were killed."""
    from sqlalchemy.exc import SQLAlchemyError

    from caviar.studies.lifecycle.manager import free_dead_workers

    try:
        yield
    finally:
        with suppress(SQLAlchemyError):  # else their leases expire
            free_dead_workers(engine, record)


def _wait_for_database(order: WorkerOptions, outage: Outage, error: Exception) -> None:
    """Say once that the database is away; start the built-in server again if it is that."""
    from caviar.storage.embedded import revive

    first = outage.seconds == 0
    outage.note(error)
    if order.settings.database_url is None:
        revive(order.settings.home, say)
    elif first:
        say(f"the database is away; the workers train on, and it is waited for, up to {order.patience / 60:.0f} min")


def _say_back(seconds: float) -> None:
    if seconds >= 1:
        say(f"the database is back, after {seconds:.0f} s")
