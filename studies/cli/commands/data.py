"""`caviar data`: the data sets on this machine."""

from __future__ import annotations

from typing import Annotated

import typer

import caviar
from caviar.studies.cli.options import DataDir
from caviar.studies.cli.output import out, print_line

app = typer.Typer(help="List and download data sets.", rich_markup_mode="markdown")


@app.command("ls")
def ls(data_dir: DataDir = None) -> None:
    """List the data sets, and which of them are on this machine.

    Example: caviar data ls

    In Python: caviar.data_sets()
    """
    for data in caviar.data_sets(data_dir=data_dir):
        if data.is_here:
            out().print(f"{data.name:<15} here")
        else:
            out().print(f"{data.name:<15} fetch it with: caviar data fetch {data.name}", style="dim")


@app.command("fetch")
def fetch(name: Annotated[str, typer.Argument(help="A data set of: caviar data ls")], data_dir: DataDir = None) -> None:
    """Download a data set, with a progress bar.

    Example: caviar data fetch mnist

    In Python: caviar.fetch_data("mnist")
    """
    fetched = caviar.fetch_data(name, data_dir=data_dir)
    print_line(f"{name} is now in {caviar.data_folder(data_dir)}" if fetched else f"{name} was here already")
