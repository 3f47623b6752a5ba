"""`caviar data`: the data sets on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from studies.cli.output import out

app = typer.Typer(help="Show and download data sets.", rich_markup_mode="rich")

DataDir = Annotated[
    Path | None,
    typer.Option(
        "--data-dir",
        envvar="CAVIAR_DATA_DIR",
        show_default=False,
        help="Folder of the data sets; without it, one in this user's cache.",
    ),
]


@app.command("ls")
def ls(data_dir: DataDir = None) -> None:
    """Show the data sets, and which of them are on this machine. Example: caviar data ls"""
    from models.data import check_available, data_names, default_data_dir
    from models.errors import DataUnavailable

    folder = data_dir or default_data_dir()
    for name in data_names():
        try:
            check_available(name, folder)
            out().print(f"{name:<15} here")
        except DataUnavailable:
            out().print(f"{name:<15} fetch it with: caviar data fetch {name}", style="dim")


@app.command("fetch")
def fetch(
    name: Annotated[str, typer.Argument(help="A data set of: caviar data ls")],
    data_dir: DataDir = None,
) -> None:
    """Download a data set, with a progress bar. Example: caviar data fetch mnist"""
    from models.data import default_data_dir
    from models.data import fetch as fetch_data

    folder = data_dir or default_data_dir()
    fetched = fetch_data(name, folder)
    out().print(f"{name} {'is now' if fetched else 'was already'} in {folder}")
