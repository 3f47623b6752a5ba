"""What trainings print: a file for each trial on the machine that trained it, of which only the end is kept.

A training may print without an end; its file is cut again and again, and the oldest files make room for new ones.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

KEPT = 512 * 2**10  # bytes of a file that are kept when it is cut, at twice as many
MOST = 256 * 2**20  # bytes of all files of a machine, beyond which the oldest are removed when a new one begins
_LAST_LINES, _LAST_BYTES = 20, 4_000  # that an event shows


class TrialLogs:
    """The files of one study's trials, below the folder `home` of this machine.

    The number of a trial names its file; None names that of what workers print outside of trials.

    Args:
        label: of the study, which no other study has.
    """

    def __init__(self, home: Path, label: str) -> None:
        self._folder, self._label = home / "logs", label

    def open(self, number: int | None) -> int:
        """Return a descriptor that appends to a file, which is made if need be; the caller closes it.

        Raises:
            OSError: the disk is full or may not be written.
        """
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self._path(number)
        if not path.exists():
            self._make_room()
        return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW, 0o600)

    def cut(self, number: int | None) -> None:
        """Keep the end of a file that has become too large; who writes it goes on behind that."""
        path = self._path(number)
        with suppress(OSError):
            if path.stat().st_size > 2 * KEPT:
                end = _end_of(path, KEPT)
                os.truncate(path, 0)
                with path.open("ab") as file:
                    file.write(end.partition(b"\n")[2])

    def read(self, number: int | None) -> str | None:
        """Return what is kept of a trial's output; None if it printed nothing here."""
        try:
            return self._path(number).read_bytes().decode("utf-8", "replace") or None
        except FileNotFoundError:
            return None

    def last_lines(self, number: int | None) -> str:
        """Return the last lines of a trial's output; empty if there are none."""
        try:
            end = _end_of(self._path(number), _LAST_BYTES)
        except OSError:
            return ""
        return "\n".join(end.decode("utf-8", "replace").splitlines()[-_LAST_LINES:])

    def remove(self) -> None:
        """Remove all files of the study."""
        for path in _files(self._folder):
            if path.name.startswith(f"{self._label}-"):
                path.unlink(missing_ok=True)

    def _path(self, number: int | None) -> Path:
        return self._folder / f"{self._label}-{'workers' if number is None else number}.log"

    def _make_room(self) -> None:
        """Remove the oldest files of this machine, so that all have room; empty ones, too, which nobody writes now."""
        facts = []
        for path in _files(self._folder):
            with suppress(OSError):
                facts.append((path.stat().st_mtime, path.stat().st_size, path))
        size = sum(size for _, size, _ in facts)
        for _, bytes_, path in sorted(facts):
            if size <= MOST:
                break
            with suppress(OSError):
                path.unlink()
            size -= bytes_


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.suffix == ".log"] if folder.is_dir() else []


def _end_of(path: Path, size: int) -> bytes:
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - size))
        return file.read(size)
