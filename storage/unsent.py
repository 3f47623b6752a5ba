"""What a worker could not write before its patience with the database was over, in files on its machine.

The next worker that takes such a trial up here goes on from there, instead of from the database's last checkpoint.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path

from caviar.epoch import Epoch
from caviar.storage.records import StudyRecord


@dataclass(frozen=True)
class Unsent:
    """A trial's state after `epoch`, and its epochs that the database lacks."""

    epoch: int
    waiting: list[Epoch]
    state: bytes


class UnsentStates:
    """The trials of one study of which this machine knows more than the database.

    Args:
        home: of Caviar's files on this machine.
    """

    def __init__(self, home: Path, study: StudyRecord) -> None:
        self._folder = home / "unsent"
        self._label = study.label

    def keep(self, slot_number: int, unsent: Unsent) -> None:
        """Write a trial's state beside its place, and move it there.

        Raises:
            OSError: there is no room, or no right to write; nothing is left half-written.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._path(slot_number)
        beside = path.with_suffix(f".{os.getpid()}")
        epochs = json.dumps([vars(epoch) for epoch in unsent.waiting])
        body = f"{unsent.epoch}\n{epochs}\n".encode() + unsent.state
        try:
            with beside.open("wb") as file:
                file.write(f"{hashlib.sha256(body).hexdigest()}\n".encode() + body)
                file.flush()
                os.fsync(file.fileno())
            beside.replace(path)
        finally:
            beside.unlink(missing_ok=True)

    def find(self, slot_number: int) -> Unsent | None:
        """Return what was kept of a trial; None where nothing was, or where it is damaged."""
        try:
            digest, _, body = self._path(slot_number).read_bytes().partition(b"\n")
        except FileNotFoundError:
            return None
        if hashlib.sha256(body).hexdigest().encode() != digest:
            return None  # the database's last checkpoint is older, and sound
        epoch, epochs, state = body.split(b"\n", 2)
        return Unsent(int(epoch), [Epoch(**epoch) for epoch in json.loads(epochs)], state)

    def forget(self, slot_number: int) -> None:
        """Remove what was kept of a trial."""
        self._path(slot_number).unlink(missing_ok=True)

    def _path(self, slot_number: int) -> Path:
        return self._folder / f"{self._label}-{slot_number}.state"
