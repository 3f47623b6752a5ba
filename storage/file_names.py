"""Names of trials' files: which study and trial a file belongs to."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

# NAME-MOMENT-SLOT, as storage/unsent.py names them; while a file is written, its name ends in the process id.
_UNSENT = re.compile(r"(?P<label>.+-[0-9]{20})-(?P<slot>[0-9]+)\.(state|(?P<pid>[0-9]+))")


@dataclass(frozen=True)
class UnsentFile:
    """A file of `caviar.storage.unsent`, of the study `label`; a process `writer` has not finished writing it."""

    path: Path
    label: str
    slot: int
    writer: int | None


def unsent_files(home: Path) -> list[UnsentFile]:
    """Return the files that workers wrote on this machine during outages of the database, by name."""
    folder = home / "unsent"
    paths = sorted(folder.iterdir()) if folder.is_dir() else []
    names = [(path, _UNSENT.fullmatch(path.name)) for path in paths]
    return [UnsentFile(p, n["label"], int(n["slot"]), int(n["pid"]) if n["pid"] else None) for p, n in names if n]


def checkpoint_key(address: str) -> tuple[str, str]:
    """Return the label of a checkpoint's study and the file's name.

    Unlike the address, they are the same on machines that mount the folder at different paths.
    """
    folder, _, name = address.rpartition("/")
    return folder.rpartition("/")[2], name
