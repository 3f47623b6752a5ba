"""Files in a folder that other machines and accounts may write to.

A file is found by descriptors, name by name below its folder: no symbolic link is followed there, and only a regular
file is read or removed, never a device or a pipe.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

LIMIT = 64 * 2**30  # bytes of a file that is read; no larger one is a state that Caviar wrote
TOO_LARGE = f"it is larger than {LIMIT // 2**30} GiB"


def write_local(path: str, data: bytes) -> None:
    """Write or replace a file atomically and durably."""
    folder = os.path.dirname(path)
    unfinished = f"{path}.{secrets.token_hex(8)}.tmp"
    os.makedirs(folder, exist_ok=True)
    try:
        with open(unfinished, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())  # a network file system may only now report that it is full
        os.replace(unfinished, path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(unfinished)
    _sync_folder(folder)


def _sync_folder(folder: str) -> None:
    """Make the new name durable too, before the database refers to it."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno != errno.EINVAL:  # a file system that cannot sync folders
            raise
    finally:
        os.close(descriptor)


@contextmanager
def _folder_of(root: str, parts: Sequence[str]) -> Iterator[int]:
    """Yield a descriptor of the folder of a file. Only the root may be, or lie behind, a symbolic link."""
    flags = os.O_RDONLY | os.O_DIRECTORY
    folder = os.open(root, flags)
    try:
        for name in parts[:-1]:
            inner = os.open(name, flags | os.O_NOFOLLOW, dir_fd=folder)
            os.close(folder)
            folder = inner
        yield folder
    finally:
        os.close(folder)


def read_local(root: str, parts: Sequence[str]) -> bytes:
    """Return the content of the file to which the names `parts` lead from the folder `root`."""
    with _folder_of(root, parts) as folder:
        # Without O_NONBLOCK a pipe would be waited for.
        opened = os.open(parts[-1], os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
    try:
        facts = os.fstat(opened)
        _refuse_irregular(facts)
        if facts.st_size > LIMIT:
            raise OSError(errno.EFBIG, TOO_LARGE)
        with open(opened, "rb", closefd=False) as file:
            return file.read(facts.st_size)
    finally:
        os.close(opened)


def remove_local(root: str, parts: Sequence[str]) -> None:
    """Remove the file to which the names `parts` lead from the folder `root`."""
    with _folder_of(root, parts) as folder:
        _refuse_irregular(os.stat(parts[-1], dir_fd=folder, follow_symlinks=False))
        os.unlink(parts[-1], dir_fd=folder)


def _refuse_irregular(facts: os.stat_result) -> None:
    if not stat.S_ISREG(facts.st_mode):
        raise OSError(errno.EINVAL, "it is no regular file")


def list_local(folder: str) -> Iterator[tuple[str, int]]:
    """Yield the path and the size of each regular file under a folder; nothing if there is no such folder."""

    def fail(error: OSError) -> None:
        if not isinstance(error, FileNotFoundError):  # nothing was ever written
            raise error

    for parent, _, names in os.walk(folder, onerror=fail):
        for name in names:
            path = os.path.join(parent, name)
            with contextlib.suppress(FileNotFoundError):  # removed meanwhile
                facts = os.stat(path, follow_symlinks=False)
                if stat.S_ISREG(facts.st_mode):
                    yield path, facts.st_size
