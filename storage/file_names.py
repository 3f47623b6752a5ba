"""Files of trials, and what their names tell: of which study and trial they are."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

# NAME-MOMENT-SLOT, as storage/unsent.py calls them; while one is written, its name ends in the process id.
_UNSENT = re.compile(r"(?P<label>.+-[0-9]{20})-(?P<slot>[0-9]+)\.(state|(?P<pid>[0-9]+))")


@dataclass(frozen=True)
class UnsentFile:
    """A file of `caviar.storage.unsent`; `label` is its study's, and `writer` has not finished it."""

    path: Path
    label: str
    slot: int
    writer: int | None


def unsent_files(home: Path) -> list[UnsentFile]:
    """Return what workers kept on this machine while the database was away, by name."""
    folder = home / "unsent"
    paths = sorted(folder.iterdir()) if folder.is_dir() else []
    names = [(path, _UNSENT.fullmatch(path.name)) for path in paths]
    return [UnsentFile(p, n["label"], int(n["slot"]), int(n["pid"]) if n["pid"] else None) for p, n in names if n]


def checkpoint_key(address: str) -> tuple[str, str]:
    """Return the label of a checkpoint's study, and the file's name in its folder.

    The same on every machine, while its address is not, if they reach the same folder by different paths.
    """
    folder, _, name = address.rpartition("/")
    return folder.rpartition("/")[2], name
