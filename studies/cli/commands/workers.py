"""`caviar workers`: the workers of all machines."""

from __future__ import annotations

from typing import Annotated

import typer

import caviar
from caviar.studies.cli.commands.status import next_step
from caviar.studies.cli.options import AsJson, Database
from caviar.studies.cli.output import out, print_json
from caviar.studies.cli.tables import NARROW, table

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
        if study is None or caviar.is_panda(study, database=engine):
            now = None
        else:
            now = caviar.status(study, database=engine)
    listed = [w for w in found if include_ended or w.is_present]
    if as_json:
        print_json(listed)
        return
    if not listed:
        hidden = f" ({len(found)} have ended: --all shows them)" if found else ""
        if now is None or now.state == "waiting":
            step = f"start some with: caviar join {study or 'STUDY'}"
        else:
            step = f"'{study}' is {now.state}; next: {next_step(now)}"
        out().print(f"no worker is at work{hidden}; {step}")
        return
    heads = ("host", "pid", "device", "study", "doing", "heard of")
    shown = [head for head in heads if out().width >= NARROW or head in _NARROW_HEADS]
    rows = table(*shown)
    for w in listed:
        cells = (w.host, str(w.pid), w.device, w.study, _activity(w), f"{w.silent_seconds:.0f} s ago")
        rows.add_row(*(cell for head, cell in zip(heads, cells, strict=True) if head in shown))
    out().print(rows)


def _activity(worker: caviar.WorkerSummary) -> str:
    trials = ", ".join(f"{t.trial} ({t.epoch})" for t in worker.trials)
    return f"trial{'s' if len(worker.trials) > 1 else ''} (epoch) {trials}" if trials else str(worker.state)
