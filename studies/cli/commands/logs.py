"""`caviar logs`: what the training of a trial printed."""

from __future__ import annotations

from typing import Annotated

import typer

import caviar
from caviar.limits import TRIALS
from caviar.studies.cli.options import Database, StoredStudy
from caviar.studies.cli.output import print_text


def logs(
    study: StoredStudy,
    trial: Annotated[
        int | None,
        typer.Argument(
            min=0, max=TRIALS, show_default=False,
            help="Number of a trial; without it, what workers printed outside of trials.",
        ),
    ] = None,
    database: Database = None,
) -> None:  # fmt: skip
    """Print what the training of a trial has printed on this machine.

    Workers of run and join keep it in a file for each trial, the last half megabyte at least.

    Example: caviar logs digits 7

    In Python: caviar.logs("digits", 7)
    """
    print_text(caviar.logs(study, trial, database=database))
