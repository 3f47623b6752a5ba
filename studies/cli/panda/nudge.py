"""`caviar panda nudge`: change the settings of a panda while it lives."""

from __future__ import annotations

from typing import Annotated

import typer

import caviar
from caviar.studies.cli.options import Database
from caviar.studies.cli.output import print_line, settings_line
from caviar.studies.cli.panda.standing import ModelStudy, Name, Settings


def nudge(
    name: Name,
    settings: Settings,
    why: Annotated[
        str | None, typer.Option(metavar="TEXT", help="The reason, for the journal.", show_default=False)
    ] = None,
    study: ModelStudy = None,
    database: Database = None,
) -> None:
    """Change a hyperparameter, from any machine, while it trains too: it takes effect after the epoch.

    Only what leaves the network as it is: learning_rate, momentum, batch_size, decay, dropout, weight_decay, beta1,
    beta2, epsilon. The learning rate holds from then on, and its decay is counted from there.

    Example: caviar panda nudge baby learning_rate=0.01 momentum=0.95 --why "the loss is noisy"

    In Python: caviar.panda.nudge("baby", {"learning_rate": 0.01, "momentum": 0.95}, why="the loss is noisy")
    """
    from caviar.studies.panda.settings import parse_settings

    given = parse_settings(settings)
    trains = caviar.panda.nudge(name, given, why=why, study=study, database=database).trains
    when = f"after the epoch that {trains} trains" if trains else f"when it goes on: caviar panda train {name}"
    print_line(f"{settings_line(given)}, {when}", markup=False)
