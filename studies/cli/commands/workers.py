"""`caviar workers`: the workers of all machines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

import caviar
from caviar.studies.cli.options import AsJson, Database
from caviar.studies.cli.output import out, print_json, print_line
from caviar.studies.cli.tables import NARROW, table
from caviar.studies.results.formatting import duration

if TYPE_CHECKING:
    from sqlalchemy import Engine

_NARROW_HEADS = ("host", "doing", "heard of")  # the columns on a narrow terminal


def workers(
    study: Annotated[str | None, typer.Argument(help="A study in the database; all, if it is left out.")] = None,
    include_ended: Annotated[bool, typer.Option("--all", help="Show those that have ended, too.")] = False,
    stop: Annotated[
        str | None,
        typer.Option(metavar="HOST", help="Free a host, or a scheduler's job: its workers leave after their epoch."),
    ] = None,
    as_json: AsJson = False,
    database: Database = None,
) -> None:
    """Show the workers of all machines: host, a scheduler's job, device, what each is doing, and when it was last heard
    of; or free a machine.

    With --stop HOST the workers of one host, or of a job of Slurm, Kubernetes or Ray, give their trials back after the
    current epoch, and leave; others go on with these trials. Of an array, 123 stands for all tasks, 123_4 for one.

    Examples: caviar workers, caviar workers digits --all, caviar workers digits --stop gpu7

    In Python: caviar.workers("digits"), caviar.stop_workers("gpu7", "digits")
    """
    if stop is not None:
        _print_freed(caviar.stop_workers(stop, study, database=database), study, as_json)
        return
    with caviar.connect(database) as engine:
        found = caviar.workers(study, include_ended=True, database=engine)
        listed = [w for w in found if include_ended or w.is_present]
        step = "" if as_json or listed else _step(study, engine)
    if as_json:
        print_json(listed)
        return
    if not listed:
        hidden = f" ({len(found)} ended: --all shows them)" if found else ""
        out().print(f"no worker is at work{hidden}; {step}")
        return
    heads = ("host", "pid", "job", "device", "study", "doing", "heard of")
    has_jobs = any(w.job for w in listed)
    shown = [head for head in heads if out().width >= NARROW or head in _NARROW_HEADS]
    shown = [head for head in shown if head != "job" or has_jobs]
    rows = table(*shown)
    for w in listed:
        heard = f"{duration(float(round(w.silent_seconds)))} ago"
        cells = (w.host, str(w.pid), w.job or "-", w.device, w.study, _activity(w), heard)
        rows.add_row(*(cell for head, cell in zip(heads, cells, strict=True) if head in shown))
    out().print(rows)


def _step(study: str | None, engine: Engine) -> str:
    """Return what to do where no worker is at work."""
    state = None if study is None else caviar.status(study, database=engine).state
    if study is None or state == "waiting":
        start = f"start some with: caviar join {study or 'STUDY'}"
        return start if study is None else f"{_launched(study, engine)}{start}"
    first, *_ = caviar.next_steps(study, database=engine)
    return (
        f"{first.why}: {first.command}"
        if caviar.is_panda(study, database=engine)
        else (f"'{study}' is {state}; next: {first.command}")
    )


def _activity(worker: caviar.WorkerSummary) -> str:
    trials = ", ".join(f"{t.trial} ({t.epoch})" for t in worker.trials)
    doing = f"trial{'s' if len(worker.trials) > 1 else ''} (epoch) {trials}" if trials else str(worker.state)
    return f"{doing}, leaving" if worker.is_leaving else doing


def _print_freed(freed: caviar.FreedMachine, study: str | None, as_json: bool) -> None:
    if as_json:
        print_json(freed)
        return
    count = f"{freed.workers} worker{'s' * (freed.workers > 1)} on {', '.join(freed.hosts)}"
    leave = "leave" if freed.workers > 1 else "leaves"
    already = " as asked before" if freed.knew == freed.workers else ""
    see = f"caviar workers {study}" if study else "caviar workers"
    print_line(f"{count} {leave} after the current epoch{already}; see: {see}; "
               f"come back there with: caviar join {study or freed.studies[0]}")  # fmt: skip


def _launched(study: str, engine: Engine) -> str:
    """Name the job that was launched last for a study and not stopped, which may not have begun; empty if none was."""
    from caviar.storage.definitions import load_study  # these load SQLAlchemy, which the help does not need
    from caviar.studies.launch.submissions import read_submissions

    jobs = [job for job in read_submissions(engine, load_study(engine, study)) if not job.is_stopped]
    return f"job {jobs[-1].job} of {jobs[-1].scheduler} was launched: caviar launch status {study}; or " if jobs else ""
