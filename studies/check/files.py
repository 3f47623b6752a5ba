"""Notice files that a training writes into the working directory, which all trials share."""

from __future__ import annotations

import os
from pathlib import Path

from caviar.studies.findings import Finding, Level

_SKIPPED = {"__pycache__", "node_modules", "site-packages"}
_MOST = 10_000  # files that are looked at

Snapshot = dict[str, tuple[int, int]]  # by path, the size and the time of the last change in nanoseconds


def snapshot(folder: Path) -> Snapshot:
    """Return the files below a folder, but for hidden ones and what Python writes itself."""
    found: Snapshot = {}
    for at, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if name not in _SKIPPED and not name.startswith(".")]
        for name in names:
            if len(found) >= _MOST:
                return found
            path = os.path.join(at, name)
            try:
                status = os.lstat(path)
            except OSError:  # it was removed meanwhile
                continue
            found[os.path.relpath(path, folder)] = status.st_size, status.st_mtime_ns
    return found


def changed_files(folder: Path, before: Snapshot) -> list[str]:
    """Return the files that are new or were written since a snapshot, by name."""
    return sorted(path for path, status in snapshot(folder).items() if before.get(path) != status)


def finding_of(path: str) -> Finding:
    """Return what is to be said of a file that a training wrote there."""
    return Finding(
        Level.WARNING, "files", f"the training writes {path} into the working directory, which all trials share",
        "name it by the number of the trial, or write it somewhere else",
    )  # fmt: skip
