"""`caviar export`: a study's trials, or its epochs, for other programs."""

from __future__ import annotations

from pathlib import Path
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
    from caviar.studies.errors import NothingToDo
    from caviar.studies.lifecycle.manager import definition_of
    from caviar.studies.results.export.rows import epoch_table, read_exported, trial_table
    from caviar.studies.results.export.to_file import write_table
    from caviar.studies.results.export.to_mlflow import without_password, write_mlflow
    from caviar.studies.results.export.to_tensorboard import write_tensorboard

    kind, where = _target(to, epochs)
    with database(database_url) as engine, working("reading the study"):
        record = load_study(engine, study)
        trials = read_exported(engine, record, epochs=epochs or kind != "file")
    if kind != "file" and all(t.facts["began"] is None for t in trials):
        raise NothingToDo(f"no trial of '{study}' has begun yet; go on with: caviar run {study}")
    definition = definition_of(record)
    with working(f"writing {len(trials)} trials"):
        if kind == "tensorboard":
            count = write_tensorboard(trials, Path(where))
            told = f"{count} trials are in {where}; look at them with: tensorboard --logdir {where}"
        elif kind == "mlflow":
            count, shown = write_mlflow(record, trials, where), without_password(where)
            look = "" if where.startswith("http") else f"; look at them with: mlflow ui --backend-store-uri {shown}"
            told = f"{count} trials are in the experiment '{study}' at {shown}{look}"
        else:
            write_table((epoch_table if epochs else trial_table)(definition, trials), Path(where))
            what = f"{sum(len(t.curve) for t in trials)} epochs" if epochs else f"{len(trials)} trials"
            more = f"caviar report {study} --open" if epochs else f"caviar export {study} --to epochs.csv --epochs"
            told = f"{what} are in {where}; {'see them' if epochs else 'every epoch of them'} with: {more}"
    tell(told, markup=False)


def _target(to: str, epochs: bool) -> tuple[str, str]:
    """Return `file`, `tensorboard` or `mlflow`, and where that is.

    Raises:
        OutputError: it is none of them.
    """
    from caviar.studies.errors import OutputError
    from caviar.studies.results.export.to_file import SUFFIXES
    from caviar.studies.results.export.to_mlflow import without_password

    kind, _, where = to.partition(":")
    if kind in ("tensorboard", "mlflow") and where:
        if epochs:
            raise OutputError(f"--epochs is for files; {kind} has every epoch anyway: leave it out")
        return kind, where
    if Path(to).suffix.lower() not in SUFFIXES:
        raise OutputError(
            f"--to {without_password(to)}: give a file that ends in {', '.join(SUFFIXES)}, tensorboard:FOLDER or "
            f"mlflow:URI"
        )
    return "file", to
