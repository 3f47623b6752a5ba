"""The pages that commands write: their options, and what is said when one is written."""

from __future__ import annotations

import webbrowser
from pathlib import Path
from typing import Annotated

import typer

from caviar.studies.cli.output import print_line
from caviar.studies.errors import OptionError

PageFile = Annotated[
    Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write the page there.", show_default=False)
]
OpenPage = Annotated[bool, typer.Option("--open", help="Open the page in a browser.")]


def page_file(file: Path | None, name: str, *, opens: bool, as_json: bool) -> Path | None:
    """Return where a page is to be written: the given file, or `name` in this folder if it is to be opened.

    Raises:
        OptionError: JSON is asked for, too.
    """
    if as_json and (file is not None or opens):
        raise OptionError("--json prints no page: leave it out, or leave out --output and --open")
    return Path(name) if file is None and opens else file


def show_page(what: str, file: Path, *, opens: bool) -> None:
    """Say where a page was written and how large it is, and open it if that was asked for."""
    print_line(f"the {what} is {file} ({file.stat().st_size / 2**20:.1f} MB)")
    if opens:
        webbrowser.open(file.resolve().as_uri())
