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
from typing import Any

from caviar.epoch import Epoch, from_document, to_document
from caviar.storage.errors import DamagedCheckpoint
from caviar.storage.records import StudyRecord

# LABEL-SLOT, where a label ends in the moment of the study's creation; while it is written, it ends in the process id.
_UNSENT = re.compile(r"(?P<label>.+-[0-9]{20})-(?P<slot>[0-9]+)\.(state|(?P<pid>[0-9]+))")


@dataclass(frozen=True)
class Unsent:
    """A trial's state after `epoch`, and its epochs that the database does not have."""

    epoch: int
    waiting: list[Epoch]
    state: bytes
    nudges: tuple[int, ...] = ()  # of a panda's day: the ids of those that had taken effect in it

    def why_unusable(self, written: int) -> str | None:
        """Return why the trial cannot go on from this state; None if it can, where the database's epochs end.

        Args:
            written: the trial's last epoch in the database.
        """
        first = self.waiting[0].epoch if self.waiting else self.epoch + 1
        if self.epoch < written:
            return f"it ends with epoch {self.epoch}, and the database has {written} by now"
        if first > written + 1:
            return f"the database ends with epoch {written}, and its first one is {first}"
        return None


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
        header = json.dumps({"epochs": [_document(epoch) for epoch in unsent.waiting], "nudges": unsent.nudges})
        body = f"{unsent.epoch}\n{header}\n".encode() + unsent.state
        try:
            with partial.open("wb") as file:
                file.write(f"{hashlib.sha256(body).hexdigest()}\n".encode() + body)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)

    def find(self, slot_number: int) -> Unsent | None:
        """Return the saved state of a trial; None if there is none.

        Raises:
            DamagedCheckpoint: its bytes do not match its digest, or another version of Caviar wrote it.
        """
        try:
            digest, _, body = self._path(slot_number).read_bytes().partition(b"\n")
        except FileNotFoundError:
            return None
        if hashlib.sha256(body).hexdigest().encode() != digest:
            raise DamagedCheckpoint("it does not match its digest")
        epoch, header, state = body.split(b"\n", 2)
        try:
            given = json.loads(header)
            if isinstance(given, list):  # of version 0.1: epochs alone
                given = {"epochs": given, "nudges": ()}
            return Unsent(int(epoch), [_epoch(each) for each in given["epochs"]], state, tuple(given["nudges"]))
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise DamagedCheckpoint("it is of another version of Caviar, which this one cannot read") from error

    def forget(self, slot_number: int) -> None:
        """Remove the saved state of a trial."""
        self._path(slot_number).unlink(missing_ok=True)

    def _path(self, slot_number: int) -> Path:
        return self._folder / f"{self._label}-{slot_number}.state"


def _document(epoch: Epoch) -> dict[str, Any]:
    return {"epoch": epoch.epoch, "metrics": to_document(epoch.metrics), "seconds": epoch.seconds}


def _epoch(document: dict[str, Any]) -> Epoch:
    """Return an epoch of a file; before metrics had names of any kind they stood beside its number."""
    given = dict(document)
    number, seconds = int(given.pop("epoch")), float(given.pop("seconds"))
    return Epoch(number, from_document(given.get("metrics", given)), seconds)


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
