"""Commands that train a panda: `train` its days, and `try` several ways to go on for a short look."""

from __future__ import annotations

from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from caviar.studies.cli.commands.data import data_folder
from caviar.studies.cli.options import DataDir
from caviar.studies.cli.output import DatabaseUrl, database, out, settings_line, tell, unicode
from caviar.studies.cli.panda.standing import AllowMismatch, Name, Settings, print_standing
from caviar.studies.cli.sparkline import ASCII, BLOCKS, sparkline
from caviar.studies.cli.work import Grace, Lease, Patience, Renew, printer
from caviar.studies.results.formatting import number

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sqlalchemy import Engine

    from caviar.epoch import Epoch
    from caviar.storage.pandas import DayRecord
    from caviar.storage.records import StudyRecord
    from caviar.studies.workers.context import WorkerContext
    from caviar.studies.workers.local.options import WorkerOptions
    from caviar.studies.workers.local.signals import Stop


def train(
    name: Name,
    days: Annotated[int, typer.Option(min=1, metavar="N", help="Days, one after the other.")] = 1,
    allow_mismatch: AllowMismatch = False,
    lease: Lease = 60,
    renew: Renew = 15,
    grace: Grace = 20,
    patience: Patience = 900,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
) -> int:
    """Train on from the last day, on this machine's GPU or one of its cores; a day that was left goes on first.

    Ctrl-C stops after the epoch; the same command, on any machine, goes on. One process at a time trains a panda.

    Example: caviar panda train baby --days 3
    """
    from caviar.studies.panda.journal import read_journal
    from caviar.studies.panda.train import train_days
    from caviar.studies.workers.local.signals import Stop

    with Stop(grace) as stop, database(database_url, hurry=lambda: stop.asked) as engine:
        record = _free(engine, name)
        folder = data_folder(data_dir)
        _check(engine, record, folder, allow_mismatch)
        order = order_for(record, folder, lease, renew, grace, patience, database_url)
        with working(engine, record, order, stop) as context:
            if not train_days(context, days, _hear):
                return _say_left(name, stop)
        print_standing(read_journal(engine, record), "")
    return 0


def try_(
    name: Name,
    settings: Settings,
    epochs: Annotated[int, typer.Option(min=1, metavar="N", help="Of each look.")] = 2,
    pick: Annotated[bool, typer.Option("--pick", help="Go on with the best one.")] = False,
    allow_mismatch: AllowMismatch = False,
    lease: Lease = 60,
    renew: Renew = 15,
    grace: Grace = 20,
    patience: Patience = 900,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
) -> int:
    """Look at several ways to go on for a few epochs, all from where the panda is, as one program where that is faster.

    Each value is a look of its own, beside one that changes nothing. Nothing else of the panda changes, but for --pick.

    Example: caviar panda try baby learning_rate=0.01,0.03 momentum=0.99 --epochs 2
    """
    from caviar.studies.lifecycle.manager import definition_of
    from caviar.studies.panda.candidates import parse_candidates
    from caviar.studies.panda.planning import candidate_days
    from caviar.studies.panda.settings import NUDGEABLE, check_names
    from caviar.studies.panda.train import train as train_days
    from caviar.studies.workers.local.signals import Stop

    candidates = [{}, *(check_names(each, NUDGEABLE) for each in parse_candidates(settings))]
    with Stop(grace) as stop, database(database_url, hurry=lambda: stop.asked) as engine:
        record = _free(engine, name)
        folder = data_folder(data_dir)
        _check(engine, record, folder, allow_mismatch)
        order = order_for(record, folder, lease, renew, grace, patience, database_url, cohort=len(candidates))
        with working(engine, record, order, stop) as context:
            plan = partial(candidate_days, study=definition_of(record), name=name, candidates=candidates, epochs=epochs)
            days = train_days(context, plan, _hear, finish_first=False)
        if any(day.state == "open" for day in days):
            return _say_left(name, stop)
        _show(engine, record, [day.number for day in days], pick)
    return 0


def _say_left(name: str, stop: Stop) -> int:
    why = "left" if stop.asked else "somebody let it rest"
    tell(f"{why}; nothing is lost; go on with: caviar panda train {name}")
    return 130 if stop.interrupted else 0


def _show(engine: Engine, record: StudyRecord, numbers: list[int], pick: bool) -> None:
    """Show looks side by side, the best one first, and go on with that one where that is wanted."""
    from caviar.storage.pandas import go_back
    from caviar.studies.cli.commands.control import by
    from caviar.studies.panda.candidates import best_first, within_noise
    from caviar.studies.panda.journal import read_journal

    journal = read_journal(engine, record)
    days = best_first(journal, numbers)
    values = [value for day in days for value in day.finite_curve]
    low, high = min(values, default=0.0), max(values, default=1.0)
    table = Table("day", journal.metric, "by epoch", "training loss", "validation loss", "settings",
                  box=None, header_style="bold", pad_edge=False)  # fmt: skip
    for day in days:
        curve = sparkline(day.finite_curve, low, high, BLOCKS if unicode() else ASCII)
        losses = number(day.last("training_loss")), number(day.last("validation_loss"))
        table.add_row(
            str(day.day), number(day.last("curve")), curve, *losses, settings_line(day.changed) or "as it was"
        )
    out().print(table)
    if warning := within_noise(days):
        tell(warning)
    best = days[0]
    if pick and best.saved:
        go_back(engine, record, best.day, by(), pick=True)
        tell(f"the next day builds on day {best.day}; go on with: caviar panda train {record.name}")
    elif not best.saved:
        tell("none of them can be gone on with")
    else:
        tell(f"\nnext: caviar panda back {record.name} --to {best.day}  (go on with the best)\n"
             f"      caviar panda train {record.name}  (go on as it was)", style="dim", markup=False)  # fmt: skip


def _free(engine: Engine, name: str) -> StudyRecord:
    """Return a panda that nobody trains, and that no dead process of this machine holds.

    Raises:
        PandaBusy: somebody trains it.
    """
    from caviar.storage.definitions import load_study
    from caviar.storage.pandas import read_life, refuse_busy
    from caviar.studies.lifecycle.manager import free_dead_workers

    record = load_study(engine, name)
    free_dead_workers(engine, record)
    refuse_busy(record, read_life(engine, record))
    return record


def _check(engine: Engine, record: StudyRecord, folder: Path, allow_mismatch: bool) -> None:
    from caviar.studies.workers.local.preparation import check_machine

    listener = printer("comparing this machine with the study")
    check_machine(engine, record, folder, allow_mismatch=allow_mismatch, on_event=listener)


def _hear(day: DayRecord, result: Epoch) -> None:
    tell(
        f"{'look' if day.is_look else 'day'} {day.number}  epoch {result.epoch}  accuracy {result.accuracy:.4f}  "
        f"training loss {result.training_loss:.4g}  validation loss {result.validation_loss:.4g}  "
        f"learning rate {number(result.learning_rate)}  {result.seconds:.1f} s"
    )


def order_for(
    record: StudyRecord,
    folder: Path,
    lease: float,
    renew: float,
    grace: float,
    patience: float,
    url: str | None,
    cohort: int = 1,
) -> WorkerOptions:
    """Return what this process is to do for a panda.

    Raises:
        OptionError: a lease would end before it is renewed.
    """
    from caviar.storage.settings import read_settings
    from caviar.studies.workers.local.options import WorkerOptions

    return WorkerOptions(read_settings(url), record.name, folder, lease, renew, grace, patience, cohort)


@contextmanager
def working(engine: Engine, record: StudyRecord, order: WorkerOptions, stop: Stop) -> Iterator[WorkerContext]:
    """Be the panda's worker, on this machine's GPU or else on one core, from `with` to its end."""
    from caviar.storage.errors import DatabaseAway
    from caviar.storage.workers import end_worker
    from caviar.studies.workers.context import begin_work
    from caviar.studies.workers.local.devices import visible_gpus

    context = begin_work(engine, record, order, "cuda:0" if visible_gpus() else "cpu", stop)
    try:
        yield context
    finally:
        with suppress(DatabaseAway):  # then it is told by its silence
            context.outage.insist(lambda: end_worker(engine, context.process.worker_id))
