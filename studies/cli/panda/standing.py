"""The arguments that panda commands share, and the lines that say where a panda stands."""

from __future__ import annotations

import shlex
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from caviar.studies.cli.lines import settings
from caviar.studies.cli.output import print_line, print_pieces
from caviar.studies.cli.steps import print_steps
from caviar.studies.results.formatting import number

if TYPE_CHECKING:
    from caviar.studies.panda.records import Journal

_TRAINING = ("caviar panda train", "caviar panda nudge")  # the commands that need the model's code
Name = Annotated[str, typer.Argument(metavar="NAME", help="A panda in the database.")]
Settings = Annotated[list[str], typer.Argument(metavar="SETTING=VALUE ...", help="Such as learning_rate=0.01.")]
ModelStudy = Annotated[
    str | None,
    typer.Option("--study", metavar="STUDY", help="File or module of your own model, if it isn't found from here."),
]


def again(command: str, study: str | None) -> str:
    """Return a command with the option `--study` of the present one: a model that it found by that is found again."""
    return f"{command} --study {shlex.quote(study)}" if study else command


def print_standing(journal: Journal, first_line: str, study: str | None = None) -> None:
    """Print where a panda stands, what its curve shows, and what comes next; `study` is the option `--study`."""
    from caviar.studies.panda.steps import panda_steps

    head, advice = journal.last_day, journal.advice
    value = f"{journal.metric} {number(head.last('curve'))} after epoch {head.epoch}" if head.curve else ""
    for line in (first_line, f"day {head.day}: {value}; {head.verdict}"):
        print_line(line)
    print_pieces(settings(head.settings))
    if advice:
        print_line(f"advice: {advice.why}")
    print_steps(
        replace(step, command=again(step.command, study)) if step.command.startswith(_TRAINING) else step
        for step in panda_steps(journal)
    )
