"""`caviar panda start`."""

from __future__ import annotations

from typing import Annotated

import typer

from caviar.studies.cli.commands.data import data_folder
from caviar.studies.cli.options import DataDir
from caviar.studies.cli.output import DatabaseUrl, database, tell
from caviar.studies.cli.panda.standing import print_standing
from caviar.studies.cli.panda.train import order_for, working
from caviar.studies.cli.work import Grace, Lease, Patience, Renew, check_and_fetch

Name = Annotated[str, typer.Argument(metavar="NAME", help="Under which it is kept, beside the studies.")]


def start(
    name: Name,
    study: Annotated[
        str | None,
        typer.Option(metavar="STUDY", help="Whose model, data, defaults and ranges it has: as for caviar run."),
    ] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="Instead of a default; any number of them.")
    ] = None,
    from_: Annotated[
        str | None,
        typer.Option("--from", metavar="STUDY:TRIAL", help="Go on with a trial's weights; STUDY:best is the winner."),
    ] = None,
    day: Annotated[str, typer.Option(metavar="LENGTH", help="Epochs, such as 5epochs, or a time: 8h, 30m.")] = "1epoch",
    keep: Annotated[
        str,
        typer.Option(
            metavar="WHAT", help="States that are kept: branch (the current one, the best of each other), or all."
        ),
    ] = "branch",
    lease: Lease = 60,
    renew: Renew = 15,
    grace: Grace = 20,
    patience: Patience = 900,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
) -> int:
    """Begin one model, from a study's defaults or from a trial's weights, and measure it before its first day.

    Examples: caviar panda start baby --study mnist --set learning_rate=0.03 --day 5epochs,
    caviar panda start grown --from mnist:best --day 8h
    """
    from caviar.studies.errors import OptionError
    from caviar.studies.lifecycle.loader import select_study
    from caviar.studies.lifecycle.provenance import provenance_of
    from caviar.studies.panda.birth import begin, find_ancestor, panda_definition
    from caviar.studies.panda.journal import read_journal
    from caviar.studies.panda.length import parse_length
    from caviar.studies.panda.settings import parse_settings
    from caviar.studies.panda.train import train
    from caviar.studies.workers.local.signals import Stop

    if (study is None) == (from_ is None):
        raise OptionError("give either --study STUDY, to begin anew, or --from STUDY:TRIAL, to go on with its weights")
    if keep not in ("branch", "all"):
        raise OptionError(f"--keep {keep}: give branch or all")
    length = parse_length(day)
    given = parse_settings(set_ or [])
    with Stop(grace) as stop, database(database_url, hurry=lambda: stop.asked) as engine:
        ancestor = find_ancestor(engine, from_) if from_ is not None else None
        definition = ancestor.study if ancestor else select_study(study or "")
        folder = data_folder(data_dir)
        check_and_fetch(panda_definition(definition, name), folder, "checking the panda")
        provenance = provenance_of(definition, folder)
        record = begin(engine, definition, name, given, provenance, length, keep_all=keep == "all", ancestor=ancestor)
        order = order_for(record, folder, lease, renew, grace, patience, database_url)
        with working(engine, record, order, stop) as context:
            train(context)  # what is open already: its birth
        if stop.asked:
            tell(f"left before it was measured; go on with: caviar panda train {name}")
            return 130 if stop.interrupted else 0
        print_standing(read_journal(engine, record), f"{name} is born; a day is {length}")
    return 0
