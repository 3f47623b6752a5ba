"""`caviar delete`: delete a study, after asking."""

from __future__ import annotations

from typing import Annotated

import typer

import caviar
from caviar.studies.cli.options import Database, StoredStudy
from caviar.studies.cli.output import print_line


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
        status = caviar.status(study, database=engine)
        may_be_deleted = yes or status.leased  # which `caviar.delete` refuses
        if not may_be_deleted and not typer.confirm(f"Delete '{study}' with {status.done} finished trials?"):
            print_line("nothing was deleted")
            return
        caviar.delete(study, database=engine)
    print_line(f"deleted '{study}'")
