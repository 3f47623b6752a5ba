"""Unsent states: files on a worker's machine with what it could not write before its patience was over.

The next worker of this machine that continues such a trial begins there, instead of at the database's checkpoint.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from dataclasses import dataclass
from pathlib import Path

from caviar.epoch import Epoch
from caviar.storage.records import StudyRecord

# LABEL-SLOT, where a label ends in the moment of the study's creation; while it is written, it ends in the process id.
_UNSENT = re.compile(r"(?P<label>.+-[0-9]{20})-(?P<slot>[0-9]+)\.(state|(?P<pid>[0-9]+))")


@dataclass(frozen=True)
class Unsent:
    """A trial's state after `epoch`, and its epochs that the database does not have."""

    epoch: int
    waiting: list[Epoch]
    state: bytes


class UnsentStates:
    """The states of one study's trials that this machine saved, below its folder `home`, during an outage."""

    def __init__(self, home: Path, study: StudyRecord) -> None:
        self._folder = home / "unsent"
        self._label = study.label

    def keep(self, slot_number: int, unsent: Unsent) -> None:
        """Save a trial's state atomically.

        Raises:
            OSError: the disk is full or may not be written; the previous file remains.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._path(slot_number)
        partial = path.with_suffix(f".{os.getpid()}")
        epochs = json.dumps([vars(epoch) for epoch in unsent.waiting])
        body = f"{unsent.epoch}\n{epochs}\n".encode() + unsent.state
        try:
            with partial.open("wb") as file:
                file.write(f"{hashlib.sha256(body).hexdigest()}\n".encode() + body)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)

    def find(self, slot_number: int) -> Unsent | None:
        """Return the saved state of a trial; None if there is none, or it is damaged."""
        try:
            digest, _, body = self._path(slot_number).read_bytes().partition(b"\n")
        except FileNotFoundError:
            return None
        if hashlib.sha256(body).hexdigest().encode() != digest:
            return None  # the database's checkpoint is older, but sound
        epoch, epochs, state = body.split(b"\n", 2)
        return Unsent(int(epoch), [Epoch(**epoch) for epoch in json.loads(epochs)], state)

    def forget(self, slot_number: int) -> None:
        """Remove the saved state of a trial."""
        self._path(slot_number).unlink(missing_ok=True)

    def _path(self, slot_number: int) -> Path:
        return self._folder / f"{self._label}-{slot_number}.state"


@dataclass(frozen=True)
class UnsentFile:
    """A saved state of a trial of the study `label`; a process `writer` has not finished writing it."""

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
