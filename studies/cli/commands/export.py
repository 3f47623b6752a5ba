"""`caviar export`: a study's trials, or its epochs, for other programs."""

from __future__ import annotations

from typing import Annotated

import typer

from caviar.studies.cli.options import StoredStudy
from caviar.studies.cli.output import DatabaseUrl, database, tell, working


def export(
    study: StoredStudy,
    to: Annotated[
        str,
        typer.Option(
            metavar="WHERE", help="trials.csv, trials.parquet, trials.json, tensorboard:FOLDER or mlflow:URI."
        ),
    ],
    epochs: Annotated[bool, typer.Option("--epochs", help="A row for each epoch instead of each trial.")] = False,
    database_url: DatabaseUrl = None,
) -> None:
    """Write a study's trials for other programs, with their hyperparameters as they were trained.

    A file that is there is replaced. TensorBoard and MLflow get a run for each trial, with its epochs. Another export
    to the same MLflow doubles nothing: it adds to each run what has come since. A password that MLflow asks for
    belongs into MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD.

    Examples: caviar export digits --to trials.csv, caviar export digits --to curves.parquet --epochs,
    caviar export digits --to tensorboard:runs, caviar export digits --to mlflow:sqlite:///mlflow.db
    """
    from caviar.storage.definitions import load_study
    from caviar.studies.results.export.targets import export_study

    with database(database_url) as engine, working("writing the study"):
        where = export_study(engine, load_study(engine, study), to, epochs=epochs)
    tell(where, markup=False)
