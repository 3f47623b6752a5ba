"""`caviar workers`: the workers of all machines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

import caviar
from caviar.studies.cli.options import AsJson, Database
from caviar.studies.cli.output import out, print_json
from caviar.studies.cli.tables import NARROW, table
from caviar.studies.results.formatting import duration

if TYPE_CHECKING:
    from sqlalchemy import Engine

_NARROW_HEADS = ("host", "doing", "heard of")  # the columns on a narrow terminal


def workers(
    study: Annotated[str | None, typer.Argument(help="A study in the database; all, if it is left out.")] = None,
    include_ended: Annotated[bool, typer.Option("--all", help="Show those that have ended, too.")] = False,
    as_json: AsJson = False,
    database: Database = None,
) -> None:
    """Show the workers of all machines: host, device, what each is doing, and when it was last heard of.

    Examples: caviar workers, caviar workers digits --all

    In Python: caviar.workers("digits")
    """
    with caviar.connect(database) as engine:
        found = caviar.workers(study, include_ended=True, database=engine)
        listed = [w for w in found if include_ended or w.is_present]
        step = "" if as_json or listed else _step(study, engine)
    if as_json:
        print_json(listed)
        return
    if not listed:
        hidden = f" ({len(found)} have ended: --all shows them)" if found else ""
        out().print(f"no worker is at work{hidden}; {step}")
        return
    heads = ("host", "pid", "device", "study", "doing", "heard of")
    shown = [head for head in heads if out().width >= NARROW or head in _NARROW_HEADS]
    rows = table(*shown)
    for w in listed:
        cells = (w.host, str(w.pid), w.device, w.study, _activity(w), f"{duration(float(round(w.silent_seconds)))} ago")
        rows.add_row(*(cell for head, cell in zip(heads, cells, strict=True) if head in shown))
    out().print(rows)


def _step(study: str | None, engine: Engine) -> str:
    """Return what to do where no worker is at work."""
    state = None if study is None else caviar.status(study, database=engine).state
    if study is None or state == "waiting":
        return f"start some with: caviar join {study or 'STUDY'}"
    first, *_ = caviar.next_steps(study, database=engine)
    return (
        f"{first.why}: {first.command}"
        if caviar.is_panda(study, database=engine)
        else (f"'{study}' is {state}; next: {first.command}")
    )


def _activity(worker: caviar.WorkerSummary) -> str:
    trials = ", ".join(f"{t.trial} ({t.epoch})" for t in worker.trials)
    return f"trial{'s' if len(worker.trials) > 1 else ''} (epoch) {trials}" if trials else str(worker.state)
