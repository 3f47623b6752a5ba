"""What the panda commands have in common: the process at work, and where a panda stands."""

from __future__ import annotations

from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Annotated

import typer

from caviar.studies.cli.output import settings_line, tell
from caviar.studies.results.formatting import number

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sqlalchemy import Engine

    from caviar.storage.records import StudyRecord
    from caviar.studies.workers.context import WorkerContext
    from caviar.studies.workers.local.options import WorkerOptions
    from caviar.studies.workers.local.signals import Stop

Name = Annotated[str, typer.Argument(metavar="NAME", help="A panda in the database.")]
Settings = Annotated[list[str], typer.Argument(metavar="SETTING=VALUE ...", help="Such as learning_rate=0.01.")]
AllowMismatch = Annotated[
    bool, typer.Option("--allow-mismatch", help="Train with other code, data or clock than it was begun with; noted.")
]


def order_for(
    record: StudyRecord,
    folder: Path,
    lease: float,
    renew: float,
    grace: float,
    patience: float,
    url: str | None,
    cohort: int = 1,
) -> WorkerOptions:
    """Return what this process is to do for a panda.

    Raises:
        OptionError: a lease would end before it is renewed.
    """
    from caviar.storage.settings import read_settings
    from caviar.studies.workers.local.options import WorkerOptions

    return WorkerOptions(read_settings(url), record.name, folder, lease, renew, grace, patience, cohort)


@contextmanager
def working(engine: Engine, record: StudyRecord, order: WorkerOptions, stop: Stop) -> Iterator[WorkerContext]:
    """Be the panda's worker, on this machine's GPU or else on one core, from `with` to its end."""
    from caviar.storage.errors import DatabaseAway
    from caviar.storage.workers import end_worker
    from caviar.studies.workers.context import begin_work
    from caviar.studies.workers.local.devices import visible_gpus

    context = begin_work(engine, record, order, "cuda:0" if visible_gpus() else "cpu", stop)
    try:
        yield context
    finally:
        with suppress(DatabaseAway):  # then it is told by its silence
            context.outage.insist(lambda: end_worker(engine, context.process.worker_id))


def tell_where(engine: Engine, record: StudyRecord, told: str) -> None:
    """Say where a panda stands, what its curve says, and what comes next."""
    from caviar.studies.panda.journal import journal_facts

    facts = journal_facts(engine, record)
    head = facts["days"][facts["head"]]
    value = f"{facts['metric']} {number(head['curve'][-1])} after epoch {head['epoch']}" if head["curve"] else ""
    for line in (told, f"day {head['day']}: {value}; {verdict_told(head['verdict'])}", settings_line(head["settings"])):
        tell(line, markup=False)
    advice = facts["advice"]
    if advice:
        tell(f"advice: {advice['why']}", markup=False)
    lines = advice["commands"] if advice else [f"caviar panda train {record.name}"]
    tell("\nnext: " + "\n      ".join([*lines, f"caviar panda log {record.name}  (its whole life)"]),
         style="dim", markup=False)  # fmt: skip


def verdict_told(verdict: dict[str, object]) -> str:
    """Return a verdict in words, with what it rests on."""
    if verdict["word"] not in ("better", "worse", "no different"):
        return str(verdict["word"])
    return f"{verdict['word']} ({verdict['difference']:+.4f}, noise {verdict['noise']:.4f})"
