"""Commands that show what happened, and who is at work: `history` and `workers`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from caviar.studies.cli.commands.status import StoredStudy
from caviar.studies.cli.news import detail_line, sentence
from caviar.studies.cli.output import AsJson, DatabaseUrl, database, out, print_json
from caviar.studies.cli.tables import NARROW, table

if TYPE_CHECKING:
    from caviar.storage.records import WorkerStatus

_MOST = ("host", "doing", "heard of")  # what a narrow terminal shows of a worker


def history(study: StoredStudy, as_json: AsJson = False, database_url: DatabaseUrl = None) -> None:
    """Show the versions of a study's definition, and everything that happened to it.

    Example: caviar history digits
    """
    from caviar.storage.definitions import load_study
    from caviar.storage.events import read_events
    from caviar.storage.revisions import read_versions

    with database(database_url) as engine:
        record = load_study(engine, study)
        versions = read_versions(engine, record.study_id)
        events = read_events(engine, record.study_id)
    if as_json:
        print_json(
            {
                "versions": [
                    {"version": v.version, "at": v.created_at.isoformat(), "changes": list(v.changes),
                     "definition": v.body, **vars(v.provenance)}
                    for v in versions
                ],
                "events": [
                    {"at": e.at.isoformat(), "kind": e.kind, "trial": e.slot, "detail": dict(e.detail)}
                    for e in events
                ],
            }
        )  # fmt: skip
        return
    told = table("version", "since", "what changed")
    for v in versions:
        told.add_row(str(v.version), f"{v.created_at.astimezone():%Y-%m-%d %H:%M:%S}", "; ".join(v.changes) or "begun")
    out().print(told, markup=False)  # what is told may hold anything, [/] too
    out().print()
    narrow = out().width < NARROW
    journal = table("when", "event") if narrow else table("when", "event", "trial", "detail")
    for e in events:
        if narrow:
            journal.add_row(f"{e.at.astimezone():%m-%d %H:%M}", sentence(e))
            continue
        when = f"{e.at.astimezone():%Y-%m-%d %H:%M:%S}"
        journal.add_row(when, e.kind, "" if e.slot is None else str(e.slot), detail_line(e.detail))
    out().print(journal, markup=False)


def workers(
    study: Annotated[str | None, typer.Argument(help="A study in the database; without it, all.")] = None,
    everyone: Annotated[bool, typer.Option("--all", help="Those that have ended, too.")] = False,
    as_json: AsJson = False,
    database_url: DatabaseUrl = None,
) -> None:
    """Show the workers of all machines: host, device, what each is doing, and when it was last heard of.

    Examples: caviar workers, caviar workers digits --all
    """
    from caviar.storage.definitions import load_studies, load_study
    from caviar.storage.workers import read_workers
    from caviar.studies.lifecycle.manager import free_lost

    with database(database_url) as engine:
        record = load_study(engine, study) if study else None
        for looked_at in [record] if record else load_studies(engine):
            free_lost(engine, looked_at)
        found = read_workers(engine, record.study_id if record else None)
    listed = [w for w in found if everyone or _state(w) not in ("ended", "lost")]
    if as_json:
        print_json(
            [
                {"study": w.study, "host": w.host, "pid": w.pid, "device": w.device, "state": _state(w),
                 "trials": [{"trial": number, "epoch": epoch} for number, epoch in w.trials.items()],
                 "started": w.started_at.isoformat(),
                 "silent_seconds": round(w.silent, 1)}
                for w in listed
            ]
        )  # fmt: skip
        return
    if not listed:
        hidden = f" ({len(found)} have ended: --all shows them)" if found else ""
        out().print(f"no worker is at work{hidden}; start some with: caviar join {study or 'STUDY'}")
        return
    heads = ("host", "pid", "device", "study", "doing", "heard of")
    shown = [head for head in heads if out().width >= NARROW or head in _MOST]
    at_work = table(*shown)
    for w in listed:
        doing = ", ".join(f"{number} ({epoch})" for number, epoch in w.trials.items())
        doing = f"trial{'s' if len(w.trials) > 1 else ''} (epoch) {doing}" if doing else _state(w)
        cells = (w.host, str(w.pid), w.device, w.study, doing, f"{w.silent:.0f} s ago")
        at_work.add_row(*(cell for head, cell in zip(heads, cells, strict=True) if head in shown))
    out().print(at_work, markup=False)


def _state(worker: WorkerStatus) -> str:
    """Return `training`, `idle`, `ended`, or `lost`: neither heard of nor ended."""
    if worker.ended:
        return "ended"
    if worker.trials:
        return "training"
    from caviar.storage.workers import SILENT_SECONDS

    return "idle" if worker.silent < SILENT_SECONDS else "lost"
