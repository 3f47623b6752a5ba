"""`caviar panda back`: go back to the end of an earlier day."""

from __future__ import annotations

from typing import Annotated

import typer

import caviar
from caviar.studies.cli.options import Database
from caviar.studies.cli.output import print_line, settings_line
from caviar.studies.cli.panda.standing import Name, print_standing


def back(
    name: Name,
    to: Annotated[
        int | None,
        typer.Option(
            metavar="DAY", help="The day to whose end it goes; without it, the day before.", show_default=False
        ),
    ] = None,
    database: Database = None,
) -> None:
    """Go back to the end of an earlier day, and build the next one on that; the branch that is left stays in the log.

    Example: caviar panda back baby --to 2

    In Python: caviar.panda.back("baby", to=2)
    """
    result = caviar.panda.back(name, to, database=database)
    for dropped in result.dropped:
        print_line(f"dropped, since it had not taken effect: {settings_line(dropped.settings)}", markup=False)
    print_standing(
        result.journal, f"the next day of {name} builds on day {result.day}; what came after stays in its log"
    )
