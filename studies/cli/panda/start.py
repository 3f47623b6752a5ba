"""`caviar panda start`: begin a panda."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import caviar
from caviar.studies.cli.options import TrainingOptions, takes_training_options
from caviar.studies.cli.output import print_line
from caviar.studies.cli.panda.standing import again, print_standing
from caviar.studies.cli.progress import EventPrinter


@takes_training_options
def start(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The panda's name, which no study has.")],
    study: Annotated[
        str | None,
        typer.Option(metavar="STUDY", help="The study that gives model, data, defaults and ranges, as for caviar run."),
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="A value instead of a default; may be repeated."),
    ] = None,
    from_: Annotated[
        str | None,
        typer.Option("--from", metavar="STUDY:TRIAL", help="Go on with a trial's weights; STUDY:best is the winner."),
    ] = None,
    day: Annotated[
        str, typer.Option(metavar="LENGTH", help="Length of a day: epochs, such as 5epochs, or a time: 8h, 30m.")
    ] = "1epoch",
    keep: Annotated[
        str,
        typer.Option(
            metavar="WHAT", help="States that are kept: branch (the current one, the best of each other), or all."
        ),
    ] = "branch",
    accept: Annotated[
        bool, typer.Option("--accept", help="Train with the code here, though the study was trained with other code.")
    ] = False,
    *,
    options: TrainingOptions,
) -> int:
    """Begin one model, from a study's defaults or from a trial's weights, and measure it before its first day.

    Examples: caviar panda start baby --study mnist --set learning_rate=0.03 --day 5epochs,
    caviar panda start grown --from mnist:best --day 8h

    In Python: caviar.panda.start("baby", study="mnist", settings={"learning_rate": 0.03}, day="5epochs")
    """
    from caviar.studies.space.words import parse_settings

    file = study if study and Path(study).parent != Path() else None  # a model beside it isn't found from here
    left = f"left before it was measured; go on with: {again(f'caviar panda train {name}', file)}"
    with EventPrinter("checking the panda", then="measuring it before its first day") as printer:
        try:
            result = caviar.panda.start(
                name, study=study, origin=from_, settings=parse_settings(set_ or []), day=day, keep=keep,
                accept=accept, on_event=printer, **vars(options),
            )  # fmt: skip
        except KeyboardInterrupt:
            print_line(left)
            return 130
    if result.is_done:
        print_standing(result.journal, f"{name} is born; a day is {result.journal.day}", file)
    else:
        print_line(left)
    return 0
