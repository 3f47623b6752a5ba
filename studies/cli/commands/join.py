"""`caviar join`: the one command that another machine needs to work on a study."""

from __future__ import annotations

import os
from typing import Annotated

import typer
from rich.text import Text

import caviar
from caviar.limits import WORKERS
from caviar.studies.cli.options import (
    Cohort,
    EpochTimeout,
    StoredStudy,
    TimeLimit,
    TrainingOptions,
    cohort_size,
    takes_training_options,
)
from caviar.studies.cli.output import print_line
from caviar.studies.cli.progress import EventPrinter
from caviar.studies.cli.steps import print_steps
from caviar.studies.cli.winner import print_winner
from caviar.studies.results.sentences import sentence


@takes_training_options
def join(
    study: StoredStudy,
    gpus: Annotated[
        str | None, typer.Option(metavar="WHICH", help="all, none, or numbers such as 0,2; without it, all there are.")
    ] = None,
    workers_per_gpu: Annotated[int, typer.Option(min=1, max=WORKERS, metavar="N", help="Processes on each GPU.")] = 1,
    workers: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=WORKERS,
            metavar="N",
            help="Processes on the CPU, one core each; without a GPU, one for each core.",
        ),
    ] = None,
    allow_mismatch: Annotated[
        bool, typer.Option("--allow-mismatch", help="Join with other code, data or clock than the study's; recorded.")
    ] = False,
    cohort: Cohort = "auto",
    epoch_timeout: EpochTimeout = None,
    time: TimeLimit = None,
    restartable: Annotated[
        bool,
        typer.Option(
            "--restartable",
            help="Exit with 75, instead of 0, where a signal or --time ends it before the study is done, so that a "
            "scheduler starts it again.",
        ),
    ] = False,
    *,
    options: TrainingOptions,
) -> int:
    """Work on a study that is in the database, with this machine's GPUs or cores, until it is done.

    The definition comes from the database; before anything is computed, this machine's code, versions, data and
    clock are compared with those that the study was begun with. A model of your own must be importable: run it in
    the folder that has it.

    Examples: caviar join digits, caviar join digits --gpus 0,2 --workers-per-gpu 2, caviar join digits --workers 8

    In Python: caviar.join("digits", gpus="0,2", workers_per_gpu=2)
    """
    size = cohort_size(cohort)
    with EventPrinter("comparing this machine with the study", is_joining=True) as printer:
        try:
            result = caviar.join(
                study, gpus=gpus, workers_per_gpu=workers_per_gpu, workers=workers, allow_mismatch=allow_mismatch,
                cohort=size, epoch_timeout=epoch_timeout, time=time, on_event=printer, **vars(options),
            )  # fmt: skip
        except KeyboardInterrupt:
            done = f"{printer.progress.done} of {printer.progress.budget} trials are done; " if printer.progress else ""
            print_line(f"left; {done}nothing is lost; come back with: caviar join {study}")
            return 130
    if result.is_done:
        return _print_end(result, "" if printer.has_worked else "nothing is left to do")
    now = result.status
    done = f"{now.done} of {now.budget} trials"
    if result.freed is not None:
        print_line(f"left: {sentence(result.freed)}; {done} are done; nothing is lost; "
                   f"come back with: caviar join {study}")  # fmt: skip
        return 0
    if result.was_asked_to_stop or result.time_is_over:
        print_line(f"left; {done} are done; nothing is lost; come back with: caviar join {study}")
        return os.EX_TEMPFAIL if restartable else 0
    if printer.has_worked:
        print_line(f"'{study}' was stopped: {done} are done; see why with: caviar history {study}; "
                   f"go on with: caviar resume {study}")  # fmt: skip
    else:
        print_line(f"'{study}' is stopped at {done}; go on with: caviar resume {study}")
    return 0


def _print_end(result: caviar.RunResult, why: str) -> int:
    name = result.status.name
    print_line(Text.assemble((f"{name} is complete", "bold"), f": {why}" if why else ""))
    if result.winner is None:
        print_line(f"no trial came to a result; see why with: caviar history {name}")
        return 1
    print_winner(result.winner)
    print_steps(result.next_steps)
    return 0
