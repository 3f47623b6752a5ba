"""Atomic writes: build a file or folder next to its target, then rename it into place."""

from __future__ import annotations

import os
import secrets
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from caviar.studies.errors import OutputError

_LINKS = 40  # Linux follows no more of them


@contextmanager
def atomic_write(target: Path, option: str) -> Iterator[Path]:
    """Give a path for a new file or folder, and put what is there in the target's place at the end, or nothing at all.

    Several processes may write the same target: the last one wins. A device, a pipe and what is open already, such as
    /dev/stdout, are no places that could be replaced: they get the bytes of the file, after what is there. A symbolic
    link stays, and what it points at is replaced.

    Args:
        option: the option of a command that names another target.

    Raises:
        OutputError: it cannot be written.
    """
    if target.name in ("", ".."):  # such as / and .
        raise OutputError(f"{target} cannot be written: it is a folder; name another place: {option}")
    try:
        stream = _stream(target)
        if stream is not None:
            with tempfile.TemporaryDirectory(prefix="caviar-") as folder:
                unfinished = Path(folder) / "unfinished"
                yield unfinished
                with unfinished.open("rb") as source, _open(stream) as end:
                    shutil.copyfileobj(source, end)
            return
        final = Path(os.path.realpath(target))
        unfinished = final.with_name(f".caviar-{secrets.token_hex(8)}.tmp")  # no longer than any target's name may be
        try:
            yield unfinished
            unfinished.replace(final)
        finally:
            with suppress(OSError):  # the error that matters is being raised already
                _remove(unfinished)
    except OSError as error:
        why = error.strerror or error
        raise OutputError(f"{target} cannot be written: {why}; name another place: {option}") from error


def _stream(target: Path) -> Path | None:
    """Return where a target's links lead, up to the first that is no file or folder of a disk; None if all are."""
    for _ in range(_LINKS):
        path = Path(os.path.abspath(target))  # follows no link
        if _is_system(path):
            return path
        if not path.is_symlink():
            break
        target = path.parent / path.readlink()
    try:
        mode = target.stat().st_mode
    except FileNotFoundError:
        return None
    return None if stat.S_ISREG(mode) or stat.S_ISDIR(mode) else target


def _is_system(path: Path) -> bool:
    """Return True for /dev/stdout and the like, which may lead to a file that somebody else is writing, too."""
    return path.is_relative_to("/proc") or (path.is_relative_to("/dev") and not path.is_relative_to("/dev/shm"))


def _open(stream: Path) -> IO[bytes]:
    """Open the end of a stream; one of this process's own files is written where the process goes on writing it."""
    opened = Path("/proc/self/fd")
    link = stream.readlink() if stream.is_symlink() else stream
    for path in (stream, link):
        if path.name.isdecimal() and path.parent.resolve() == opened.resolve():
            if sys.stdout is not None:  # it is None where it was closed before Python began
                sys.stdout.flush()
            return os.fdopen(os.dup(int(path.name)), "wb")
    return stream.open("ab")


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
