"""Commands that change a panda and train nothing: `nudge`, `back`, `note`."""

from __future__ import annotations

from typing import Annotated

import typer

from caviar.studies.cli.commands.control import by
from caviar.studies.cli.output import DatabaseUrl, database, settings_line, tell
from caviar.studies.cli.panda.at_work import Name, Settings, tell_where

Why = Annotated[str | None, typer.Option(metavar="TEXT", help="For the journal.", show_default=False)]


def nudge(name: Name, settings: Settings, why: Why = None, database_url: DatabaseUrl = None) -> None:
    """Change a hyperparameter, from any machine, while it trains too: it takes effect after the epoch.

    Only what leaves the network as it is: learning_rate, momentum, batch_size, decay, dropout, weight_decay, beta1,
    beta2, epsilon. The learning rate holds from then on, and its decay is counted from there.

    Example: caviar panda nudge baby learning_rate=0.01 momentum=0.95 --why "the loss is noisy"
    """
    from caviar.storage.definitions import load_study
    from caviar.storage.nudges import add_nudge
    from caviar.storage.pandas import read_life
    from caviar.studies.lifecycle.manager import definition_of
    from caviar.studies.panda.birth import check_settings
    from caviar.studies.panda.settings import NUDGEABLE, at_the_end_of, read_settings, with_waiting

    with database(database_url) as engine:
        record = load_study(engine, name)
        life = read_life(engine, record)
        given = read_settings(settings, NUDGEABLE)
        head = life.days[life.panda.head]
        now = with_waiting(life, at_the_end_of(life, head.number), head.epoch)
        check_settings(definition_of(record), {**now.settings, **given}, given)
        add_nudge(engine, record.study_id, given, why, by())
    when = (
        f"after the epoch that {head.holder} trains" if head.holder else f"when it goes on: caviar panda train {name}"
    )
    tell(f"{settings_line(given)}, {when}", markup=False)


def back(
    name: Name,
    to: Annotated[
        int | None, typer.Option(metavar="DAY", help="To its end; without it, to the day before.", show_default=False)
    ] = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Go back to the end of an earlier day, and build the next one on that; the branch that is left stays in the log.

    Example: caviar panda back baby --to 2
    """
    from caviar.storage.definitions import load_study
    from caviar.storage.pandas import go_back, read_life
    from caviar.studies.lifecycle.manager import free_dead_workers

    with database(database_url) as engine:
        record = load_study(engine, name)
        free_dead_workers(engine, record)
        life = read_life(engine, record)
        if to is None:
            to = life.days[life.panda.head].parent or 0
        for dropped in go_back(engine, record, to, by()):
            tell(f"dropped, since it had not taken effect: {settings_line(dict(dropped.settings))}", markup=False)
        tell_where(engine, record, f"the next day of {name} builds on day {to}; what came after stays in its log")


def note(
    name: Name,
    text: Annotated[str, typer.Argument(metavar="TEXT", help="What you saw, or want to try.")],
    database_url: DatabaseUrl = None,
) -> None:
    """Add a remark to the journal.

    Example: caviar panda note baby "dropout next, if it still overfits"
    """
    from caviar.storage.definitions import load_study
    from caviar.storage.events import log_event
    from caviar.storage.pandas import read_life

    with database(database_url) as engine:
        record = load_study(engine, name)
        head = read_life(engine, record).panda.head
        with engine.begin() as connection:
            log_event(connection, record.study_id, "note", slot=head, text=text, by=by())
    tell(f"noted on day {head}; see: caviar panda log {name}")
