"""`caviar history`: everything that happened to a study."""

from __future__ import annotations

from typing import TYPE_CHECKING

import caviar
from caviar.studies.cli.options import AsJson, Database, StoredStudy
from caviar.studies.cli.output import out, print_json
from caviar.studies.cli.tables import NARROW, table
from caviar.studies.lifecycle.provenance import short_commit
from caviar.studies.results.sentences import detail_in_words, sentence

if TYPE_CHECKING:
    from rich.table import Table


def history(study: StoredStudy, as_json: AsJson = False, database: Database = None) -> None:
    """Show the versions of a study's definition, and everything that happened to it.

    Example: caviar history digits

    In Python: caviar.history("digits")
    """
    found = caviar.history(study, database=database)
    if as_json:
        print_json(found)
        return
    out().print(_versions(found))
    out().print()
    out().print(_events(found, narrow=out().width < NARROW))


def _versions(found: caviar.History) -> Table:
    """Return the versions, with the commit of the user's code where one is known."""
    has_commits = any(v.provenance.commit for v in found.versions)
    versions = table("version", "since", *(["commit"] if has_commits else []), "what changed")
    for v in found.versions:
        commit = [short_commit(v.provenance)] if has_commits else []
        since = f"{v.created_at.astimezone():%Y-%m-%d %H:%M:%S}"
        versions.add_row(str(v.version), since, *commit, "; ".join(v.changes) or "begun")
    return versions


def _events(found: caviar.History, *, narrow: bool) -> Table:
    events = table("when", "event") if narrow else table("when", "event", "trial", "detail")
    for e in found.events:
        at = e.at.astimezone()
        if narrow:
            events.add_row(f"{at:%m-%d %H:%M}", sentence(e))
        else:
            trial = "" if e.slot is None else str(e.slot)
            events.add_row(f"{at:%Y-%m-%d %H:%M:%S}", e.kind, trial, detail_in_words(e))
    return events
