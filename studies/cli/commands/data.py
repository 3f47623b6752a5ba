"""`caviar data`: the data sets on this machine."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from caviar.studies.cli.output import out

app = typer.Typer(help="Show and download data sets.", rich_markup_mode="markdown")

DataDir = Annotated[
    Path | None,
    typer.Option(
        "--data-dir",
        envvar="CAVIAR_DATA_DIR",
        show_default=False,
        help="Folder of the data sets; without it, one in this user's cache.",
    ),
]


def data_folder(option: Path | None) -> Path:
    """Return the folder that the option or CAVIAR_DATA_DIR names, or one in this user's cache."""
    named = option or os.environ.get("CAVIAR_DATA_DIR")  # who calls this without a command has no option that read it
    if named:
        return Path(named).expanduser().absolute()
    import platformdirs

    return Path(platformdirs.user_cache_dir("caviar", appauthor=False)) / "data"


@app.command("ls")
def ls(data_dir: DataDir = None) -> None:
    """Show the data sets, and which of them are on this machine.

    Example: caviar data ls
    """
    from caviar.models.data import check_available, data_names
    from caviar.models.errors import DataUnavailable

    folder = data_folder(data_dir)
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
    """Download a data set, with a progress bar.

    Example: caviar data fetch mnist
    """
    from caviar.models.data import fetch as fetch_data

    folder = data_folder(data_dir)
    fetched = fetch_data(name, folder)
    out().print(f"{name} {'is now' if fetched else 'was already'} in {folder}")
