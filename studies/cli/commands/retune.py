"""`caviar retune`: a new study that begins with what an earlier one knew."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.text import Text

import caviar
from caviar.studies.cli.options import Database, DataDir, StoredStudy
from caviar.studies.cli.output import print_line, spinner
from caviar.studies.results.formatting import number


def retune(
    study: StoredStudy,
    name: Annotated[str, typer.Option(metavar="NAME", help="Name of the new study.")],
    data: Annotated[str | None, typer.Option(metavar="NAME", help="Another data set.")] = None,
    widen: Annotated[
        list[str] | None, typer.Option(metavar="HYPERPARAMETER", help="Give it a wider range; may be given repeatedly.")
    ] = None,
    epochs: Annotated[int | None, typer.Option(metavar="N", help="Epochs of each trial, instead of as before.")] = None,
    budget: Annotated[int | None, typer.Option(metavar="N", help="Trials, instead of as many as before.")] = None,
    seed: Annotated[int | None, typer.Option(metavar="N", help="Seed, instead of the next one.")] = None,
    accept: Annotated[
        bool, typer.Option("--accept", help="Train with the code here, though the study was trained with other code.")
    ] = False,
    data_dir: DataDir = None,
    database: Database = None,
) -> None:
    """Begin a new study with what an earlier one knew: its winner is tried second, its trials are a prior.

    The model learns from the earlier trials too, as far as the new ones agree with them.

    Examples: caviar retune digits --name digits-wider --widen learning_rate, caviar retune mnist --name fashion
    --data fashion_mnist, caviar retune digits --name digits-longer --epochs 60

    In Python: caviar.retune("digits", "digits-wider", widen=["learning_rate"])
    """
    wider = widen or []
    with spinner("loading PyTorch, and checking the study"):
        new = caviar.retune(
            study, name, widen=wider, data=data, epochs=epochs, budget=budget, seed=seed, accept=accept,
            data_dir=data_dir, database=database,
        )  # fmt: skip
    learns = f", and learns from {len(new.prior)} of its trials" if new.strategy == "tiered" else ""
    print_line(Text.assemble((name, "bold"), f" tries the winner of '{study}' second{learns}"))
    width = max(map(len, new.scales()))
    for hyperparameter, scale in new.scales().items():
        remark = "  (wider)" if hyperparameter in wider else ""
        before = number(new.prior[0].values[hyperparameter])
        print_line(f"  {hyperparameter:<{width}}  {before} won before; {scale}{remark}")
    print_line(f"\nrun it with: caviar run {name}", style="dim")
