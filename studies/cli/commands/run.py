"""`caviar run`: begin a study or go on with it, with workers on this machine, to its winner."""

from __future__ import annotations

from shlex import quote
from typing import Annotated

import typer
from rich.text import Text

import caviar
from caviar.limits import WORKERS
from caviar.studies.cli.options import (
    Cohort,
    EpochTimeout,
    Selector,
    TimeLimit,
    TrainingOptions,
    cohort_size,
    takes_training_options,
)
from caviar.studies.cli.output import print_line
from caviar.studies.cli.progress import EventPrinter
from caviar.studies.cli.steps import print_steps
from caviar.studies.cli.winner import print_winner
from caviar.studies.results.formatting import duration, of_planned
from caviar.studies.results.sentences import rare_ends, sentence


@takes_training_options
def run(
    study: Selector,
    workers: Annotated[
        int, typer.Option(min=1, max=WORKERS, metavar="N", help="Processes that train, on this machine.")
    ] = 1,
    budget: Annotated[int | None, typer.Option(metavar="N", help="Trials, instead of the study's own number.")] = None,
    name: Annotated[str | None, typer.Option(metavar="NAME", help="Keep the study under another name.")] = None,
    strategy: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="tiered; classic, without a model; or to compare: random, grid, tpe, gp, or one of Optuna's samplers, "
            "such as optuna:CmaEsSampler.",
        ),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(metavar="N", help="Seed of the search and of every trial, instead of the study's.")
    ] = None,
    until: Annotated[
        str | None,
        typer.Option(
            metavar="RULE",
            help="End early when 40 more trials promise less: 'gain < noise' of one training, or 'gain < 0.001'; "
            "'budget' never ends early.",
        ),
    ] = None,
    accept: Annotated[
        bool,
        typer.Option(
            "--accept", help="Make a changed definition or model the study's next version, if that is possible."
        ),
    ] = False,
    cohort: Cohort = "auto",
    epoch_timeout: EpochTimeout = None,
    time: TimeLimit = None,
    *,
    options: TrainingOptions,
) -> int:
    """Run a study, or go on with it where it stopped.

    Ctrl-C stops after the epoch; the same command goes on. Any number of them may run at once, on any machine
    that reaches the database: together they make exactly the study's budget of trials.

    Examples: caviar run digits --workers 2, caviar run digits --strategy random --name digits-random,
    caviar run my_study.py --budget 100

    In Python: caviar.run("digits", workers=2)
    """
    given = {
        "--budget": budget, "--name": name, "--strategy": strategy, "--seed": seed, "--until": until, "--time": time,
    }  # fmt: skip
    again = " ".join(
        [
            "caviar run",
            study,
            *(f"{option} {quote(str(value))}" for option, value in given.items() if value is not None),
        ]
    )
    size = cohort_size(cohort)
    with EventPrinter("checking the study") as printer:
        try:
            result = caviar.run(
                study, workers=workers, budget=budget, name=name, strategy=strategy, seed=seed, until=until,
                accept=accept, cohort=size, epoch_timeout=epoch_timeout, time=time, on_event=printer, **vars(options),
            )  # fmt: skip
        except KeyboardInterrupt:
            done = f"{printer.progress.done} of {printer.progress.budget} trials" if printer.progress else "once"
            print_line(f"stopped at {done}; nothing is lost; go on with: {again}")
            return 130
    if result.is_done:
        return _print_end(result)
    return _print_stop(result, again)


def _print_stop(result: caviar.RunResult, again: str) -> int:
    now = result.status
    if result.freed is not None:
        print_line(f"left at {now.done} of {now.budget} trials: {sentence(result.freed)}; nothing is lost; "
                   f"go on with: {again}")  # fmt: skip
        return 0
    if result.time_is_over:
        hint = "" if now.done else "  (with a longer --time: no trial has ended yet)"
        print_line(
            f"stopped at {now.done} of {now.budget} trials, since its time is over or too short for another; "
            f"nothing is lost; go on with: {again}{hint}"
        )
        return 0
    if result.stopped is None:
        print_line(f"stopped at {now.done} of {now.budget} trials; nothing is lost; go on with: {again}")
        return 0 if result.was_asked_to_stop else 1
    detail = result.stopped.detail
    if "why" not in detail:
        print_line(f"stopped by {detail.get('by', 'somebody')} at {now.done} of {now.budget} trials; "
                   f"go on with: {again}")  # fmt: skip
        return 0
    print_line(f"stopped: {detail['why']}")
    anew = f"begin anew with: caviar delete {now.name}"
    # Trials of another metric could not be compared: where the study names the wrong one, there is no going on.
    mended = f"Once its code reports it, go on with: {again} --accept; if the study is to name another metric, {anew}"
    if "unmeasured" not in detail:
        mended = f"Once its code is mended, go on with: {again} --accept; {anew}"
    print_line(f"{now.failed} of {now.budget} trials are spent on it. {mended}")
    return 1


def _print_end(result: caviar.RunResult) -> int:
    now, study = result.status, result.study
    counts = f"{now.complete} complete, {now.pruned} pruned, {now.failed} failed"
    counts += rare_ends(now)
    trained = f"{of_planned(now.epochs.trained, study.planned_epochs(now.done))} epochs trained"
    took = f"; this run took {duration(result.seconds)}" if result.seconds > 1 else ""
    print_line(Text.assemble((f"{now.name} is complete", "bold"), f": {now.done} trials ({counts}); {trained}{took}"))
    if result.ended_early is not None:
        print_line(f"{sentence(result.ended_early)}; go on without that rule: caviar extend {now.name} --budget N")
    if result.winner is None:
        print_line(f"no trial came to a result; see why with: caviar history {now.name}")
        return 1
    print_winner(result.winner)
    print_steps(result.next_steps)
    return 0
