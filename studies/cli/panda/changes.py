"""`caviar panda nudge`, `back` and `note`: change a panda's settings, go back to an earlier day, add a remark."""

from __future__ import annotations

from typing import Annotated

import typer

import caviar
from caviar.studies.cli.lines import settings_line
from caviar.studies.cli.options import Database
from caviar.studies.cli.output import print_line
from caviar.studies.cli.panda.standing import ModelStudy, Name, Settings, again, print_standing


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
    from caviar.studies.space.words import parse_settings

    given = parse_settings(settings)
    trains = caviar.panda.nudge(name, given, why=why, study=study, database=database).trains
    go_on = again(f"caviar panda train {name}", study)
    when = f"after the epoch that {trains} trains" if trains else f"when it goes on: {go_on}"
    print_line(f"{settings_line(given)}, {when}")


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
        print_line(f"dropped, since it had not taken effect: {settings_line(dropped.settings)}")
    print_standing(
        result.journal, f"the next day of {name} builds on day {result.day}; what came after stays in its log"
    )


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
