"""`caviar enqueue`: say which values a study is to try next."""

from __future__ import annotations

from typing import Annotated

import typer

import caviar
from caviar.studies.cli.lines import settings_line
from caviar.studies.cli.options import AsJson, Database, StoredStudy
from caviar.studies.cli.output import print_json, print_line


def enqueue(
    study: StoredStudy,
    values: Annotated[list[str], typer.Argument(metavar="NAME=VALUE ...", help="Such as learning_rate=0.03.")],
    as_json: AsJson = False,
    database: Database = None,
) -> None:
    """Try these values next: the next trial that begins has them, and the search chooses what you do not name.

    It is one of the study's budget, and may win as any other. It may be given from any machine, while workers train.

    Example: caviar enqueue digits learning_rate=0.03 layers=3

    In Python: caviar.enqueue("digits", {"learning_rate": 0.03, "layers": 3})
    """
    from caviar.studies.space.words import parse_settings

    done = caviar.enqueue(study, parse_settings(values), database=database)
    if as_json:
        print_json(done)
        return
    after = f", after {done.ahead} that wait already" if done.ahead else ""
    print_line(f"the next trial of '{study}' that begins{after} has {settings_line(done.values)}")
    print_line(f"\nnext: caviar status {study} --watch", style="dim")
