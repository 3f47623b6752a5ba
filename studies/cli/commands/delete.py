"""`caviar delete`: delete a study, after asking."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

import caviar
from caviar.storage.errors import StudyDeleted
from caviar.studies.cli.options import Database, StoredStudy
from caviar.studies.cli.output import print_line
from caviar.studies.errors import OptionError


def delete(
    study: StoredStudy,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")] = False,
    database: Database = None,
) -> None:
    """Delete a study with all its trials, from Optuna's tables too. Asks for confirmation first.

    Example: caviar delete digits-random

    In Python: caviar.delete("digits-random")
    """
    with caviar.connect(database) as engine:
        try:
            status = caviar.status(study, database=engine)
        except StudyDeleted:
            asked, what = not yes, f"what is left of '{study}'"
        else:
            asked = not (yes or status.leased)  # which `caviar.delete` refuses
            what = f"'{study}' with {status.done} finished trials"
        if asked and not _confirmed(what):
            print_line("nothing was deleted")
            return
        caviar.delete(study, database=engine)
    print_line(f"deleted '{study}'")


def _confirmed(what: str) -> bool:
    try:
        return typer.confirm(f"Delete {what}?")
    except typer.Abort:
        if sys.stdin.isatty():  # Ctrl-C
            raise
        raise OptionError(f"nobody answers whether to delete {what}; if you mean it, give --yes") from None
