"""`caviar trials`: list the trials of a study."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Annotated

import typer

import caviar
from caviar.studies.cli.options import AsJson, Database, StoredStudy
from caviar.studies.cli.output import out, print_json, print_text
from caviar.studies.cli.tables import NARROW, fits, table, with_settings
from caviar.studies.results.formatting import number

if TYPE_CHECKING:
    from rich.console import RenderableType


def trials(
    study: StoredStudy,
    as_json: AsJson = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print a table for spreadsheets.")] = False,
    database: Database = None,
) -> None:
    """List all trials with their hyperparameters.

    Example: caviar trials digits --csv > digits.csv

    In Python: caviar.trials("digits")
    """
    if as_json and as_csv:
        raise caviar.OptionError("--json and --csv are two documents: leave out one of them")
    listed = caviar.trials(study, database=database)
    if as_json:
        print_json(listed)
    elif as_csv:
        _print_csv(listed)
    else:
        out().print(_table(listed))  # a choice may be [/relu]


def _names(listed: Sequence[caviar.TrialSummary]) -> list[str]:
    return list(dict.fromkeys(name for t in listed for name in t.hyperparameters))


def _table(listed: Sequence[caviar.TrialSummary]) -> RenderableType:
    """Return a row for each trial, with a column for each hyperparameter if the terminal has room for them."""
    rows = [
        {"trial": str(t.trial), "phase": f"{t.tier} {t.phase}", "state": t.ending,
         t.metric: number(t.value), "epochs": str(t.epochs)}
        for t in listed
    ]  # fmt: skip
    if any(t.optuna_number not in (None, t.trial) for t in listed):
        for row, t in zip(rows, listed, strict=True):
            row["in Optuna"] = "" if t.optuna_number is None else str(t.optuna_number)
    heads = [head for head in rows[0] if head != "phase" or out().width >= NARROW]
    names = _names(listed)
    wide = table(*heads, *names)
    for row, t in zip(rows, listed, strict=True):
        wide.add_row(*(row[head] for head in heads), *(number(t.hyperparameters.get(name)) for name in names))
    if fits(out(), wide):
        return wide
    cells = [([row[head] for head in heads], t.hyperparameters)
             for row, t in zip(rows, listed, strict=True)]  # fmt: skip
    return with_settings(out(), heads, cells)


def _print_csv(listed: Sequence[caviar.TrialSummary]) -> None:
    columns = [field.name for field in fields(listed[0]) if field.name != "hyperparameters"]
    names = _names(listed)
    lines = io.StringIO()
    writer = csv.writer(lines, lineterminator="\n")
    writer.writerow([*columns, *names])
    for t in listed:
        writer.writerow([*(getattr(t, c) for c in columns), *(t.hyperparameters.get(name) for name in names)])
    print_text(lines.getvalue())
