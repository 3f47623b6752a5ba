"""`caviar run`: begin a study or go on with it, with workers on this machine, to its winner."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

from caviar.studies.cli.commands.best import print_winner, winner
from caviar.studies.cli.commands.data import data_folder
from caviar.studies.cli.options import DataDir, Selector
from caviar.studies.cli.output import DatabaseUrl, database, say, tell
from caviar.studies.cli.work import Cohort, Grace, Lease, Patience, Renew, cohort_size, measure, printer, work

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from caviar.storage.records import StudyRecord
    from caviar.storage.status import Progress
    from caviar.studies.definition import Study
    from caviar.studies.workers.local.signals import Stop


def run(
    study: Selector,
    workers: Annotated[
        int, typer.Option(min=1, max=256, metavar="N", help="Processes that train, on this machine.")
    ] = 1,
    budget: Annotated[int | None, typer.Option(metavar="N", help="Trials, instead of the study's own number.")] = None,
    name: Annotated[str | None, typer.Option(metavar="NAME", help="Keep the study under another name.")] = None,
    strategy: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="tiered; classic, without a model; or to compare: random, grid, tpe, gp."),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(metavar="N", help="Of the search and of every trial, instead of the study's.")
    ] = None,
    accept: Annotated[
        bool, typer.Option("--accept", help="Make a changed definition the study's next version, if that is possible.")
    ] = False,
    cohort: Cohort = "auto",
    lease: Lease = 60,
    renew: Renew = 15,
    grace: Grace = 20,
    patience: Patience = 900,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
) -> int:
    """Run a study, or go on with it where it stopped.

    Ctrl-C stops after the epoch; the same command goes on. Any number of them may run at once, on any machine
    that reaches the database: together they make exactly the study's budget of trials.

    Examples: caviar run digits --workers 2, caviar run digits --strategy random --name digits-random,
    caviar run my_study.py --budget 100
    """
    from caviar.storage.settings import read_settings
    from caviar.studies.dashboard.note import leave_note
    from caviar.studies.definition import change
    from caviar.studies.lifecycle.loader import select_stored
    from caviar.studies.lifecycle.manager import definition_of, progress
    from caviar.studies.lifecycle.revision import compare
    from caviar.studies.workers.local.devices import spread, visible_gpus
    from caviar.studies.workers.local.options import WorkerOptions
    from caviar.studies.workers.local.preparation import begin_or_resume
    from caviar.studies.workers.local.signals import Stop

    given = {"--budget": budget, "--name": name, "--strategy": strategy, "--seed": seed}
    again = " ".join(
        ["caviar run", study, *(f"{option} {value}" for option, value in given.items() if value is not None)]
    )
    size = cohort_size(cohort)
    with Stop(grace) as stop, database(database_url, hurry=lambda: stop.asked) as engine:
        definition = change(select_stored(engine, study), budget=budget, name=name, strategy=strategy, seed=seed)
        folder = data_folder(data_dir)
        order = WorkerOptions(read_settings(database_url), definition.name, folder, lease, renew, grace, patience, size)
        started = time.monotonic()
        opened = begin_or_resume(engine, definition, order, accept=accept, on_event=printer("checking the study"))
        record, order = opened.record, opened.options
        if opened.begun:
            leave_note(engine, record)
        if compare(definition, definition_of(record)).changes:
            say(f"this is an earlier version of '{record.name}', which goes on with version {record.version}")
        definition = definition_of(record)
        now = progress(engine, record)
        if now.done < now.budget:
            _say_start(definition, workers)
            outcome = work(engine, record, definition, order, spread(workers, visible_gpus()), stop)
            record, now = outcome.record, outcome.now
        if now.done < now.budget or not measure(engine, record, order, stop):
            return _say_stopped(engine, record, now, stop, again)
        return _say_complete(engine, record, definition_of(record), time.monotonic() - started, study)


def _say_start(definition: Study, workers: int) -> None:
    from caviar.studies.workers.local.devices import cores

    tell(
        f"{definition.name}: {definition.budget} trials of {definition.model} on {definition.data}, "
        f"{definition.strategy}, seed {definition.seed}; {workers} worker(s)",
    )
    if workers < cores():
        say(f"this machine has {cores()} cores, of which a worker uses one: --workers {cores()} uses them all")


def _say_stopped(engine: Engine, record: StudyRecord, now: Progress, stop: Stop, again: str) -> int:
    from caviar.storage.events import read_events

    if now.control == "stop" and not stop.asked:
        stopped = read_events(engine, record.study_id, "stopped")[-1].detail
        if "why" not in stopped:
            tell(f"stopped by {stopped.get('by', 'somebody')} at {now.done} of {now.budget} trials; "
                 f"go on with: {again}", markup=False)  # fmt: skip
            return 0
        tell(f"stopped: {stopped['why']}", markup=False)
        tell(
            f"{now.failed} of {now.budget} trials are spent on it. Once its code is mended, go on with: {again}; "
            f"begin anew with: caviar delete {record.name}",
        )
        return 1
    tell(f"stopped at {now.done} of {now.budget} trials; nothing is lost; go on with: {again}", markup=False)
    return 130 if stop.interrupted else 0 if stop.asked else 1


def _say_complete(engine: Engine, record: StudyRecord, definition: Study, seconds: float, selector: str) -> int:
    from caviar.studies.cli.view import saved
    from caviar.studies.dashboard.note import leave_note
    from caviar.studies.lifecycle.manager import progress

    now = progress(engine, record)
    counts = f"{now.complete} complete, {now.pruned} pruned, {now.failed} failed"
    counts += f", {now.abandoned} abandoned" if now.abandoned else ""
    took = f"; this run took {seconds:.0f} s" if seconds > 1 else ""
    tell(f"[bold]{record.name} is complete[/]: {now.done} trials ({counts}); {saved(definition, now)}{took}")
    facts = winner(engine, record)
    if facts is None:
        tell(f"no trial came to a result; see why with: caviar trials {record.name}")
        return 1
    print_winner(facts)
    leave_note(engine, record, facts)
    run_ = f"caviar run {selector} --budget {definition.budget}"
    lines = [f"caviar trials {record.name}  (every trial)"]
    if definition.strategy != "random":
        other = f"--strategy random --seed {definition.seed} --name {record.name}-random"
        lines.append(f"{run_} {other}  (was the search worth it?)")
    again = f"--strategy {definition.strategy} --seed {definition.seed + 1} --name {record.name}-2"
    lines.append(f"{run_} {again}  (does it hold?)")
    tell("\nnext: " + "\n      ".join(lines), style="dim", markup=False)
    return 0
