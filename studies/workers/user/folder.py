"""A trial's folder as a part of its state, and back: regular files by their relative path, and nothing else.

A state comes from the database or from a shared folder, where others may write. So a path in it is only used if each of
its parts is a plain name, and what is written are new files below a folder that was empty.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from caviar.limits import FILES, FOLDER
from caviar.models.errors import BadCheckpoint
from caviar.storage.errors import CheckpointNotWritten
from caviar.text import flaw, shown

_LONGEST_NAME, _LONGEST_PATH = 255, 1_000  # bytes, which every file system takes
_TRIES, _PAUSE = 4, 0.1  # to read the folder as it is at one time, and seconds between two of them


class _Changed(CheckpointNotWritten):
    """The command changed the folder while it was read; a moment later it may be at rest."""


class _Version(NamedTuple):
    """Tells a file from another one that has taken its place, and from itself before it was written to."""

    inode: int
    size: int
    modified: int  # in nanoseconds

    @classmethod
    def of(cls, facts: os.stat_result) -> _Version:
        return cls(facts.st_ino, facts.st_size, facts.st_mtime_ns)


def pack(folder: Path) -> dict[str, Tensor]:
    """Return the files below a folder, all as they were at one time: their bytes, by their path in it.

    Raises:
        CheckpointNotWritten: there is something else than regular files, too much of them, or they were changed each
            time that they were read.
    """
    for _ in range(_TRIES - 1):
        with suppress(_Changed):
            return _pack_once(folder)
        time.sleep(_PAUSE)
    return _pack_once(folder)


def _pack_once(folder: Path) -> dict[str, Tensor]:
    files, versions, left = dict[str, Tensor](), dict[str, _Version](), FOLDER
    try:
        for path, entry in _walk(folder, ""):
            files[path], versions[path] = _read(entry, path, left)
            left -= len(files[path])
            if len(files) > FILES:
                raise CheckpointNotWritten(f"its folder has more than {FILES:,} files")
        # Those read first may have been replaced meanwhile: together they would be of no epoch.
        now = {path: _Version.of(os.stat(entry.path, follow_symlinks=False)) for path, entry in _walk(folder, "")}
    except OSError as error:
        where = f" ({shown(os.path.relpath(os.fsdecode(error.filename), folder))})" if error.filename else ""
        kind = _Changed if isinstance(error, FileNotFoundError) else CheckpointNotWritten
        raise kind(f"its folder cannot be read: {error.strerror}{where}") from None
    if now != versions:
        path = next(path for path in sorted({*now, *versions}) if now.get(path) != versions.get(path))
        raise _Changed(
            f"the files in its folder were changed while they were saved, such as {shown(path)}; write one file, or "
            "a new folder, and rename it when it is complete"
        )
    return files


def _walk(folder: str | Path, above: str) -> Iterator[tuple[str, os.DirEntry[str]]]:
    with os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            path = f"{above}{entry.name}"
            if why := _flaw(path):
                raise CheckpointNotWritten(f"the name of the file {shown(path)} in its folder {why}")
            if entry.is_dir(follow_symlinks=False):
                yield from _walk(entry.path, f"{path}/")
            elif entry.is_file(follow_symlinks=False):
                yield path, entry
            else:
                kind = "a link" if entry.is_symlink() else "no regular file"
                raise CheckpointNotWritten(f"{shown(path)} in its folder is {kind}; only regular files are saved")


def _read(entry: os.DirEntry[str], path: str, most: int) -> tuple[Tensor, _Version]:
    """Read a file, which the command may write to meanwhile."""
    opened = os.open(entry.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    with open(opened, "rb") as file:
        before = os.fstat(opened)
        if not stat.S_ISREG(before.st_mode):
            raise _Changed(f"{shown(path)} in its folder was replaced while it was saved")
        if before.st_size > most:
            raise CheckpointNotWritten(f"its folder has more than {FOLDER / 2**30:g} GiB")
        data = bytearray(before.st_size)
        size, after = file.readinto(data), os.fstat(opened)
    if size != before.st_size or _Version.of(after) != _Version.of(before):
        raise _Changed(
            f"{shown(path)} in its folder was changed while it was saved; write it under another name, and rename it"
        )
    content = torch.from_numpy(np.frombuffer(data, dtype=np.uint8)) if data else torch.empty(0, dtype=torch.uint8)
    return content, _Version.of(after)


def unpack(files: Any, folder: Path) -> None:
    """Write the files of a state into an empty folder.

    Raises:
        BadCheckpoint: they are none that `pack` returns; nothing was written then.
        OSError: the disk is full, say.
    """
    for path, data in _checked(files).items():
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("xb") as opened:
            opened.write(data.numpy().data)


def _checked(files: Any) -> Mapping[str, Tensor]:
    if not isinstance(files, Mapping) or len(files) > FILES:
        raise BadCheckpoint(f"the checkpoint has no folder of at most {FILES:,} files")
    size, folders = 0, set[str]()
    for path, data in files.items():
        if not isinstance(path, str) or _flaw(path):
            raise BadCheckpoint(f"the checkpoint has a file whose name {_flaw(str(path))}: {shown(str(path))}")
        if not isinstance(data, Tensor) or not _is_bytes(data):
            raise BadCheckpoint(f"the checkpoint has no bytes of the file {shown(path)}")
        size += len(data)
        parts = path.split("/")
        folders |= {"/".join(parts[:count]) for count in range(1, len(parts))}
    if size > FOLDER:
        raise BadCheckpoint(f"the checkpoint has a folder of more than {FOLDER / 2**30:g} GiB")
    if both := next((path for path in files if path in folders), None):
        raise BadCheckpoint(f"the checkpoint has a file and a folder of one name: {shown(both)}")
    return files


def _is_bytes(data: Tensor) -> bool:
    """Return whether a tensor is bytes and no more of them than it takes in memory: a view may repeat one for ever."""
    plain = data.layout is torch.strided and data.device.type == "cpu" and data.dtype is torch.uint8
    return plain and data.ndim == 1 and data.is_contiguous()


def _flaw(path: str) -> str | None:
    """Return why a path cannot be that of a file in the folder, as the end of a sentence; None if it can."""
    if any(part in ("", ".", "..") for part in path.split("/")) or "\\" in path:
        return "leads out of it"
    if why := flaw(path):
        return why
    if len(path.encode()) > _LONGEST_PATH or any(len(part.encode()) > _LONGEST_NAME for part in path.split("/")):
        return f"has more than {_LONGEST_NAME} bytes, or {_LONGEST_PATH:,} with its folders"
    return None
