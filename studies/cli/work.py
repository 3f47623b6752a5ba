"""Names of cli/options.py that the panda's commands import from here, until they call the library."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from caviar.studies.cli.options import Grace, Lease, Patience, Renew

__all__ = ["Grace", "Lease", "Patience", "Renew", "check_and_fetch", "printer"]


def check_and_fetch(study: Any, folder: Path, doing: str) -> None:
    from caviar.studies.workers.local import preparation

    preparation.check_and_fetch(study, folder, printer(doing))


def printer(doing: str) -> Any:
    from caviar.studies.cli.progress import EventPrinter

    return EventPrinter(doing)
