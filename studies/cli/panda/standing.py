"""The arguments that panda commands share, and the lines that say where a panda stands."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from caviar.studies.cli.output import print_line, settings_line
from caviar.studies.results.formatting import number

if TYPE_CHECKING:
    from caviar.studies.panda.records import Journal

Name = Annotated[str, typer.Argument(metavar="NAME", help="A panda in the database.")]
Settings = Annotated[list[str], typer.Argument(metavar="SETTING=VALUE ...", help="Such as learning_rate=0.01.")]
ModelStudy = Annotated[
    str | None,
    typer.Option("--study", metavar="STUDY", help="File or module of your own model, if it isn't found from here."),
]


def print_standing(journal: Journal, first_line: str) -> None:
    """Print where a panda stands, what its curve shows, and what comes next."""
    head, advice = journal.last_day, journal.advice
    value = f"{journal.metric} {number(head.last('curve'))} after epoch {head.epoch}" if head.curve else ""
    for line in (first_line, f"day {head.day}: {value}; {head.verdict}", settings_line(head.settings)):
        print_line(line, markup=False)
    if advice:
        print_line(f"advice: {advice.why}", markup=False)
    commands = advice.commands if advice else (f"caviar panda train {journal.name}",)
    steps = [*commands, f"caviar panda log {journal.name}  (its whole life)"]
    print_line("\nnext: " + "\n      ".join(steps), style="dim", markup=False)
