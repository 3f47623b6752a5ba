"""`caviar panda note`: add a remark to a panda's journal."""

from __future__ import annotations

from typing import Annotated

import typer

import caviar
from caviar.studies.cli.options import Database
from caviar.studies.cli.output import print_line
from caviar.studies.cli.panda.standing import Name


def note(
    name: Name,
    text: Annotated[str, typer.Argument(metavar="TEXT", help="What you saw, or want to try.")],
    database: Database = None,
) -> None:
    """Add a remark to the journal.

    Example: caviar panda note baby "dropout next, if it still overfits"

    In Python: caviar.panda.note("baby", "dropout next, if it still overfits")
    """
    journal = caviar.panda.note(name, text, database=database)
    print_line(f"noted on day {journal.head}; see: caviar panda log {name}")
