"""Atomic writes: build a file or folder next to its target, then rename it into place."""

from __future__ import annotations

import os
import secrets
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from caviar.studies.errors import OutputError


@contextmanager
def atomic_write(target: Path, option: str) -> Iterator[Path]:
    """Give a path for a new file or folder, and put what is there in the target's place at the end, or nothing at all.

    Several processes may write the same target: the last one wins. A device or pipe, such as /dev/stdout, is no place
    that could be replaced: it gets the bytes of the file. A symbolic link stays, and what it points at is replaced.

    Args:
        option: the option of a command that names another target.

    Raises:
        OutputError: it cannot be written.
    """
    if target.name in ("", ".."):  # such as / and .
        raise OutputError(f"{target} cannot be written: it is a folder; name another place: {option}")
    try:
        if _is_stream(target):
            with tempfile.TemporaryDirectory(prefix="caviar-") as folder:
                unfinished = Path(folder) / "unfinished"
                yield unfinished
                with unfinished.open("rb") as source, target.open("wb") as stream:
                    shutil.copyfileobj(source, stream)
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


def _is_stream(target: Path) -> bool:
    try:
        mode = target.stat().st_mode
    except FileNotFoundError:
        return False
    return not stat.S_ISREG(mode) and not stat.S_ISDIR(mode)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
