"""Atomic writes: build a file or folder next to its target, then rename it into place."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from caviar.studies.errors import OutputError


@contextmanager
def atomic_write(target: Path, option: str) -> Iterator[Path]:
    """Give a path for a new file or folder next to `target`, and rename it at the end; it is removed on an error.

    Args:
        option: the option of a command that names another target.

    Raises:
        OutputError: it cannot be written.
    """
    if not target.name:  # such as / and .
        raise OutputError(f"{target} cannot be written: it is a folder; name another place: {option}")
    unfinished = target.with_name(f".{target.name}.tmp")
    try:
        _remove(unfinished)  # left by a process that was killed
        yield unfinished
        unfinished.replace(target)
    except OSError as error:
        why = error.strerror or error
        raise OutputError(f"{target} cannot be written: {why}; name another place: {option}") from error
    finally:
        with suppress(OSError):  # the error that matters is being raised already
            _remove(unfinished)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
