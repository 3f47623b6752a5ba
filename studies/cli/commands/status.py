"""Commands that look and change nothing: `ls`, `status`, `trials`."""

from __future__ import annotations

import csv
import sys
import time
from dataclasses import fields
from typing import TYPE_CHECKING, Annotated

import typer

from caviar.studies.cli.output import AsJson, DatabaseUrl, database, out, print_json, settings_line, tell
from caviar.studies.cli.tables import NARROW, fits, table, with_settings
from caviar.studies.results.formatting import number, to_json

if TYPE_CHECKING:
    from rich.console import RenderableType

    from caviar.studies.results.summaries import TrialSummary

StoredStudy = Annotated[str, typer.Argument(help="A study in the database (see: caviar ls).")]


def ls(as_json: AsJson = False, database_url: DatabaseUrl = None) -> None:
    """List the studies of the catalog, and those in the database.

    Example: caviar ls
    """
    from caviar.storage.definitions import load_studies
    from caviar.studies.lifecycle.loader import catalog_names
    from caviar.studies.lifecycle.manager import definition_of, free_lost, progress
    from caviar.studies.results.summaries import study_status

    with database(database_url) as engine:
        records = load_studies(engine)
        for record in records:
            free_lost(engine, record)
        stored = [study_status(record, definition_of(record), progress(engine, record)) for record in records]
    if as_json:
        print_json({"catalog": catalog_names(), "studies": to_json(stored)})
        return
    out().print(f"catalog: {', '.join(catalog_names())}")
    if not stored:
        out().print("the database has no studies yet; begin with: caviar run digits")
        return
    shown = slice(None) if out().width >= NARROW else slice(4)
    studies = table(*("study", "state", "done", "best", "trial", "strategy")[shown])
    for s in stored:
        best = (number(s.best.value), number(s.best.trial)) if s.best else ("-", "-")
        told = (s.name, s.state, f"{s.done}/{s.budget}", *best, s.strategy)
        studies.add_row(*told[shown])
    out().print(studies)


def status(
    study: Annotated[str | None, typer.Argument(help="A study in the database; without it, all.")] = None,
    as_json: AsJson = False,
    watch: Annotated[bool, typer.Option("--watch", help="Look again every second until the study is done.")] = False,
    database_url: DatabaseUrl = None,
) -> None:
    """Show how far a study is, what runs and what is best.

    Examples: caviar status digits --watch, caviar status digits --json
    """
    from caviar.studies.errors import OptionError

    if watch and study is None:
        raise OptionError("--watch follows one study; name it: caviar status STUDY --watch (caviar ls lists them)")
    if watch and as_json:
        raise OptionError("--json looks once: leave out it or --watch")
    if study is None:
        ls(as_json, database_url)
        return
    from caviar.storage.definitions import load_study
    from caviar.storage.pandas import is_panda
    from caviar.studies.cli.display import Display, screen
    from caviar.studies.cli.panda.log import show_log
    from caviar.studies.cli.view import view
    from caviar.studies.lifecycle.manager import definition_of, free_lost, look, progress
    from caviar.studies.results.summaries import state_of, study_status

    with database(database_url) as engine:
        record = load_study(engine, study)
        free_lost(engine, record)
        if is_panda(engine, record.study_id):
            show_log(engine, study, watch=watch, as_json=as_json)
            return
        definition = definition_of(record)
        if as_json:
            print_json(to_json(study_status(record, definition, progress(engine, record))))
            return
        now = look(engine, record)
        if watch:
            with Display(definition) as display:
                display.show(now)
                while state_of(now.progress) != "done":
                    time.sleep(1)
                    free_lost(engine, record)
                    now = look(engine, record)
                    if now.progress.version != record.version:
                        record = load_study(engine, study)
                        display.change(definition_of(record))
                    display.show(now)
        else:
            out().print(view(definition, now, "", screen()))
    then = {"done": f"caviar report {study} --open", "waiting": f"caviar join {study}",
            "running": f"caviar status {study} --watch"}  # fmt: skip
    tell(f"\nnext: {then.get(state_of(now.progress), f'caviar resume {study}')}", style="dim", markup=False)


def trials(
    study: StoredStudy,
    as_json: AsJson = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print a table for spreadsheets.")] = False,
    database_url: DatabaseUrl = None,
) -> None:
    """List all trials with their hyperparameters.

    Example: caviar trials digits --csv > digits.csv
    """
    from caviar.storage.definitions import load_study
    from caviar.storage.status import read_trials
    from caviar.studies.errors import OptionError
    from caviar.studies.lifecycle.manager import definition_of
    from caviar.studies.results.summaries import trial_summaries

    if as_json and as_csv:
        raise OptionError("--json and --csv are two documents: leave out one of them")
    with database(database_url) as engine:
        record = load_study(engine, study)
        facts = trial_summaries(definition_of(record), read_trials(engine, record.study_id))
    if as_json:
        print_json(to_json(facts))
    elif as_csv:
        _print_csv(facts)
    else:
        out().print(_trials_table(facts), markup=False)  # a choice may be [/relu]


def _trials_table(facts: list[TrialSummary]) -> RenderableType:
    """Return a row for each trial: with a column for each hyperparameter where there is room for them."""
    names = list(dict.fromkeys(name for t in facts for name in t.hyperparameters))
    shown = [
        {"trial": str(t.trial), "phase": f"{t.tier} {t.phase}", "state": (t.violated or t.state).replace("_", " "),
         "value": number(t.value), "epochs": str(t.epochs)}
        for t in facts
    ]  # fmt: skip
    heads = [head for head in shown[0] if head != "phase" or out().width >= NARROW]
    wide = table(*heads, *names)
    for cells, t in zip(shown, facts, strict=True):
        wide.add_row(*(cells[head] for head in heads), *(number(t.hyperparameters.get(name)) for name in names))
    if fits(out(), wide):
        return wide
    rows = [([cells[head] for head in heads], settings_line(t.hyperparameters))
            for cells, t in zip(shown, facts, strict=True)]  # fmt: skip
    return with_settings(out(), heads, rows)


def _print_csv(facts: list[TrialSummary]) -> None:
    names = list(dict.fromkeys(name for t in facts for name in t.hyperparameters))
    columns = [f.name for f in fields(facts[0]) if f.name != "hyperparameters"]
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow([*columns, *names])
    for t in facts:
        writer.writerow([*(getattr(t, column) for column in columns), *(t.hyperparameters.get(name) for name in names)])
