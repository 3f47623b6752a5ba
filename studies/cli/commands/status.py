"""`caviar status` and `caviar ls`: the progress of one study, and a list of all."""

from __future__ import annotations

from typing import Annotated

import typer

import caviar
from caviar.studies.cli.options import AsJson, Database
from caviar.studies.cli.output import out, print_json, print_line
from caviar.studies.cli.steps import print_steps
from caviar.studies.cli.tables import NARROW, table
from caviar.studies.results.formatting import number
from caviar.studies.results.sentences import parent_in_words


def status(
    study: Annotated[str | None, typer.Argument(help="A study in the database; all, if it is left out.")] = None,
    as_json: AsJson = False,
    watch: Annotated[bool, typer.Option("--watch", help="Look again every second until the study is done.")] = False,
    database: Database = None,
) -> None:
    """Show how far a study is, what runs and what is best.

    Examples: caviar status digits --watch, caviar status digits --json

    In Python: caviar.status("digits"), caviar.watch("digits")
    """
    if watch and study is None:
        raise caviar.OptionError(
            "--watch follows one study; name it: caviar status STUDY --watch (caviar ls lists them)"
        )
    if watch and as_json:
        raise caviar.OptionError("--json looks once: leave out it or --watch")
    if study is None:
        ls(as_json, database)
        return
    with caviar.connect(database) as engine:
        if caviar.is_panda(study, database=engine):
            from caviar.studies.cli.panda.log import show_log

            show_log(study, watch=watch, as_json=as_json, database=engine)
            return
        if as_json:
            print_json(caviar.status(study, database=engine))
            return
        from caviar.studies.api.standing import status_and_next_steps
        from caviar.studies.cli.display import Display, screen
        from caviar.studies.cli.view import view

        snapshots = caviar.watch(study, database=engine)
        if watch:
            with Display() as display:
                for progressed in snapshots:
                    display.show(progressed.study, progressed.snapshot)
        else:
            first = next(snapshots)
            out().print(view(first.study, first.snapshot, "", screen()))
        now, winner, steps = status_and_next_steps(study, database=engine)
    if winner is not None and winner.is_final and winner.why_not_best:
        print_line(f"the winner is trial {winner.trial}; {winner.why_not_best}")
    if now.prospect is not None:
        print_line(str(now.prospect))
    if now.parent is not None:
        print_line(parent_in_words(now.parent), style="dim")
    if now.code:
        print_line(f"trained with your code: {now.code}", style="dim")
    print_steps(steps)


def ls(as_json: AsJson = False, database: Database = None) -> None:
    """List the studies of the catalog, and those in the database.

    Example: caviar ls

    In Python: caviar.list_studies(), caviar.catalog()
    """
    studies, catalog = caviar.list_studies(database=database), caviar.catalog()
    if as_json:
        print_json({"catalog": catalog, "studies": studies})
        return
    out().print(f"catalog: {', '.join(catalog)}")
    if not studies:
        out().print("the database has no studies yet; begin with: caviar run digits")
        return
    columns = slice(None) if out().width >= NARROW else slice(4)
    rows = table(*("study", "state", "done", "best", "trial", "strategy")[columns])
    for s in studies:
        best = (number(s.best and s.best.value), number(s.best and s.best.trial))
        standing, strategy = (str(s.state), f"{s.done}/{s.budget}"), s.strategy
        if s.is_panda:  # it is never done
            days = max(sum(p.done for p in s.tiers if p.phase == "day") - 1, 0)  # without the birth
            lived = f"{days} day" if days == 1 else f"{days} days"
            standing, strategy = ("resting" if s.state == "done" else str(s.state), lived), "panda"
        rows.add_row(*(s.name, *standing, *best, strategy)[columns])
    out().print(rows)
    for s in studies:
        if s.best is not None and s.winner_ahead_of_best is not None:
            won = f"{s.name}: trial {s.winner_ahead_of_best} won, not {s.best.trial}"
            print_line(f"{won}; why: caviar best {s.name}", style="dim")
