"""The files of one attempt at a trial by a command, on this machine: its folder, its values and its pipes.

Each worker holds a lock on its own attempt, which the kernel releases however the worker ends; the next attempt on
this machine, at a trial of any study, removes those that nobody holds.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any


class Attempt:
    """A new folder below `place`, with what a command is given.

    Args:
        place: the folder of this machine's attempts.
        name: of the trial, for those who look there.

    Attributes:
        folder: the trial's own, which is saved; empty at first.
        trial: a JSON file with its values.
        reports: a named pipe, to which the command may write reports.

    Raises:
        OSError: nothing can be written at `place`.
    """

    def __init__(self, place: Path, name: str) -> None:
        place.mkdir(parents=True, exist_ok=True)
        with (place / "lock").open("a+") as gate:
            fcntl.flock(gate, fcntl.LOCK_EX)
            _remove_dead(place)
            self._root = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=place))
            self._lock = (self._root / "lock").open("w")
            fcntl.flock(self._lock, fcntl.LOCK_EX)
        self.folder, self.trial = self._root / "folder", self._root / "trial.json"
        self.reports, answers = self._root / "reports", self._root / "answers"
        self.folder.mkdir()
        for pipe in (self.reports, answers):
            os.mkfifo(pipe, 0o600)
        self._answers = os.open(answers, os.O_RDWR | os.O_NONBLOCK)

    def describe(self, values: Mapping[str, Any]) -> None:
        """Write the JSON file."""
        self.trial.write_text(json.dumps(values, indent=1), encoding="utf-8")

    def answer(self, reports: int) -> None:
        """Let the command go on that waits until so many reports are written."""
        with suppress(BlockingIOError):  # nobody has read thousands of answers
            os.write(self._answers, b"\n" * reports)

    def empty(self) -> None:
        """Remove everything in the trial's folder."""
        shutil.rmtree(self.folder)
        self.folder.mkdir()

    def remove(self) -> None:
        """Remove everything."""
        os.close(self._answers)
        shutil.rmtree(self._root, ignore_errors=True)
        self._lock.close()


def _remove_dead(place: Path) -> None:
    for root in place.iterdir():
        with suppress(OSError), (root / "lock").open("r+") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(root, ignore_errors=True)
