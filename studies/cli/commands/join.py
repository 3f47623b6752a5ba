"""`caviar join`: the one command that another machine needs to work on a study."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from caviar.studies.cli.commands.best import print_winner, winner
from caviar.studies.cli.commands.data import data_folder
from caviar.studies.cli.options import DataDir, StoredStudy
from caviar.studies.cli.output import DatabaseUrl, database, say, tell
from caviar.studies.cli.work import Cohort, Grace, Lease, Patience, Renew, cohort_size, measure, printer, work

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from caviar.storage.records import StudyRecord
    from caviar.storage.status import Progress
    from caviar.studies.definition import Study
    from caviar.studies.workers.local.options import WorkerOptions
    from caviar.studies.workers.local.signals import Stop
    from caviar.studies.workers.local.supervisor import Outcome


def join(
    study: StoredStudy,
    gpus: Annotated[
        str | None, typer.Option(metavar="WHICH", help="all, none, or numbers such as 0,2; without it, all there are.")
    ] = None,
    workers_per_gpu: Annotated[int, typer.Option(min=1, metavar="N", help="Processes on each GPU.")] = 1,
    workers: Annotated[
        int | None,
        typer.Option(
            min=0, max=256, metavar="N", help="Processes on the CPU, one core each; without a GPU, one for each core."
        ),
    ] = None,
    allow_mismatch: Annotated[
        bool, typer.Option("--allow-mismatch", help="Join with other code, data or clock than the study's; noted.")
    ] = False,
    cohort: Cohort = "auto",
    lease: Lease = 60,
    renew: Renew = 15,
    grace: Grace = 20,
    patience: Patience = 900,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
) -> int:
    """Work on a study that is in the database, with this machine's GPUs or cores, until it is done.

    The definition comes from the database; before anything is computed, this machine's code, versions, data and
    clock are compared with those that the study was begun with. A model of your own must be importable: run it in
    the folder that has it.

    Examples: caviar join digits, caviar join digits --gpus 0,2 --workers-per-gpu 2, caviar join digits --workers 8
    """
    from caviar.storage.definitions import load_study
    from caviar.storage.settings import read_settings
    from caviar.studies.lifecycle.manager import definition_of, progress, refuse_panda
    from caviar.studies.results.summaries import state_of
    from caviar.studies.workers.local.devices import places, visible_gpus
    from caviar.studies.workers.local.options import WorkerOptions
    from caviar.studies.workers.local.pool import WorkerPool
    from caviar.studies.workers.local.preparation import check_machine
    from caviar.studies.workers.local.signals import Stop

    size = cohort_size(cohort)
    with Stop(grace) as stop, database(database_url, hurry=lambda: stop.asked) as engine:
        record = load_study(engine, study)
        refuse_panda(engine, record)
        definition = definition_of(record)
        folder = data_folder(data_dir)
        order = WorkerOptions(read_settings(database_url), record.name, folder, lease, renew, grace, patience, size)
        now = progress(engine, record)
        if state_of(now) == "stopped":
            tell(f"'{study}' is stopped at {now.done} of {now.budget} trials; go on with: caviar resume {study}")
            return 0
        if state_of(now) == "done":
            return _finish(engine, record, order, stop, now, "nothing is left to do")
        WorkerPool.warm_up()  # the workers' imports, while this process has its own
        listener = printer("comparing this machine with the study")
        code = check_machine(engine, record, folder, allow_mismatch=allow_mismatch, on_event=listener)
        order = replace(order, code=code, allow_mismatch=allow_mismatch)
        devices = places(gpus, workers_per_gpu, workers, visible_gpus())
        _say_start(record, definition, devices)
        outcome = work(engine, record, definition, order, devices, stop)
        _say_outcome(outcome, devices)
        if outcome.now.done == outcome.now.budget and not stop.asked:
            return _finish(engine, outcome.record, order, stop, outcome.now)
        return _say_left(study, outcome.now, stop)


def _say_start(record: StudyRecord, definition: Study, devices: list[str]) -> None:
    from collections import Counter

    from caviar.studies.workers.local.devices import cores

    told = ", ".join(f"{count} on {device}" for device, count in Counter(devices).items())
    tell(
        f"joining {record.name}: {definition.budget} trials of {definition.model} on {definition.data}, "
        f"{definition.strategy}; workers: {told}"
    )
    if devices.count("cpu") > cores():
        say(f"this machine has {cores()} cores for {devices.count('cpu')} workers, which will wait for one another")


def _say_outcome(outcome: Outcome, devices: list[str]) -> None:
    restarts = f", {outcome.restarts} restarted" if outcome.restarts else ""
    tell(
        f"this machine finished {outcome.trials} trial(s) with {len(devices)} worker(s){restarts} "
        f"in {outcome.seconds:.0f} s"
    )


def _say_left(study: str, now: Progress, stop: Stop) -> int:
    told = f"{now.done} of {now.budget} trials are done"
    if stop.asked:
        tell(f"left; {told}; nothing is lost; come back with: caviar join {study}")
        return 130 if stop.interrupted else 0
    tell(f"'{study}' was stopped: {told}; see why with: caviar history {study}; go on with: caviar resume {study}")
    return 0


def _finish(engine: Engine, record: StudyRecord, order: WorkerOptions, stop: Stop, now: Progress, why: str = "") -> int:
    """Measure the winner, unless another machine has done so, and show it."""
    from caviar.models.data import check_available
    from caviar.models.errors import DataUnavailable
    from caviar.storage.errors import CheckpointUnreachable
    from caviar.studies.dashboard.note import leave_note
    from caviar.studies.lifecycle.manager import definition_of

    try:
        check_available(definition_of(record).data, order.data_dir)
        if not measure(engine, record, order, stop):
            return _say_left(record.name, now, stop)
    except (DataUnavailable, CheckpointUnreachable) as error:
        say(f"the winner is tested elsewhere: {error}")
    tell(f"[bold]{record.name} is complete[/]" + (f": {why}" if why else ""))
    facts = winner(engine, record)
    if facts is None:
        tell(f"no trial came to a result; see why with: caviar trials {record.name}")
        return 1
    print_winner(facts)
    leave_note(engine, record, facts)
    tell(f"\nnext: caviar trials {record.name}  (every trial)", style="dim", markup=False)
    return 0
