"""`caviar export`: write a study's trials, or its epochs, for other programs."""

from __future__ import annotations

from typing import Annotated

import typer

import caviar
from caviar.studies.cli.options import Database, StoredStudy
from caviar.studies.cli.output import print_line, spinner
from caviar.studies.results.export.targets import forms


def export(
    study: StoredStudy,
    to: Annotated[
        str,
        typer.Option(metavar="TARGET", help=f"A file or a service: {forms()}."),
    ],
    epochs: Annotated[
        bool, typer.Option("--epochs", help="Write a row for each epoch, instead of one for each trial.")
    ] = False,
    database: Database = None,
) -> None:
    """Write a study's trials for other programs, with their hyperparameters as they were trained.

    An existing file is replaced. TensorBoard and MLflow get a run for each trial, with its epochs. A second export to
    the same MLflow adds to each run what is new since the first. If MLflow asks for a password, set
    MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD.

    Examples: caviar export digits --to trials.csv, caviar export digits --to curves.parquet --epochs,
    caviar export digits --to tensorboard:runs, caviar export digits --to mlflow:sqlite:///mlflow.db

    In Python: caviar.export("digits", "trials.csv")
    """
    with spinner("exporting the study"):
        where = caviar.export(study, to, epochs=epochs, database=database)
    print_line(where)
