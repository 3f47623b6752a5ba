"""Checkpoint files at an address that all machines reach, a shared folder or an S3 bucket.

An address is used literally: in `file:///folder`, no %20 is decoded.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
from collections.abc import Iterator
from typing import TYPE_CHECKING

from caviar.storage.errors import (
    BadCheckpointsAddress,
    CheckpointNotRemoved,
    CheckpointNotWritten,
    CheckpointUnreachable,
    DamagedCheckpoint,
)

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

SUFFIX = ".checkpoint"  # of every file that Caviar writes; all other files in the folder are left alone
_OURS = re.compile(re.escape(SUFFIX) + r"(\.[0-9a-f]{16}\.tmp)?$")
_NEXT_STEP = "write file:///FOLDER, a folder that all machines share, or s3://BUCKET/PREFIX"


class CheckpointFiles:
    """The checkpoint files under one address, such as file:///shared/folder or s3://bucket/prefix.

    Raises:
        BadCheckpointsAddress: the address cannot be used; the message shows no key and no password.
    """

    def __init__(self, root: str) -> None:
        protocol, path = _split(root)
        if protocol == "s3":
            _s3()
            self._root = f"s3://{path.rstrip('/')}"
        else:
            # Normalized, so that `list` returns the same addresses as `write` on every machine.
            self._root = f"file://{os.path.normpath('/' + path.strip('/')).rstrip('/')}"

    def write(self, key: str, data: bytes) -> str:
        """Write or replace a file atomically, and return its address; `key` is its path below the root, without SUFFIX.

        Raises:
            CheckpointNotWritten: the file could not be written; no part of it remains.
        """
        address = f"{self._root}/{key}{SUFFIX}"
        protocol, path = _split(address)
        try:
            if protocol == "s3":
                _s3().pipe_file(path, data)  # one request, or parts that become visible together
            else:
                _write_local(path, data)
        except Exception as error:
            raise CheckpointNotWritten(
                f"cannot write the checkpoint {address}: {_reason(error)}; every machine needs free space there, "
                f"and the right to write"
            ) from error
        return address

    def list(self) -> Iterator[tuple[str, int]]:
        """Yield the address and the size in bytes of each checkpoint file, unfinished ones of killed writers included.

        Raises:
            BadCheckpointsAddress: the files cannot be listed.
        """
        protocol, path = _split(self._root)
        try:
            for name, size in _list_s3(path) if protocol == "s3" else _list_local(path or "/"):
                if _OURS.search(name):
                    yield f"{protocol}://{name}", size
        except Exception as error:
            raise BadCheckpointsAddress(
                f"cannot list the checkpoints at {self._root}: {_reason(error)}; check that this machine reaches "
                f"it, and may read there"
            ) from error


def read_file(address: str) -> bytes:
    """Return the content of a checkpoint file.

    Raises:
        DamagedCheckpoint: the file does not exist.
        CheckpointUnreachable: this machine cannot read it now; the message says why.
        BadCheckpointsAddress: this machine lacks the package for such addresses.
    """
    protocol, path = _split(address)
    s3 = _s3() if protocol == "s3" else None
    try:
        if s3 is not None:
            data: bytes = s3.cat_file(path)
            return data
        with open(path, "rb") as file:
            return file.read()
    except FileNotFoundError:  # of which s3fs gives no reason
        if s3 is None and not os.path.isdir(os.path.dirname(path)):
            raise CheckpointUnreachable(
                f"the folder of the checkpoint {address} is not there; check that it is mounted on this machine"
            ) from None
        raise DamagedCheckpoint(f"the checkpoint {address} is not there") from None
    except Exception as error:
        raise CheckpointUnreachable(
            f"cannot read the checkpoint {address}: {_reason(error)}; check that this machine reaches it"
        ) from error


def checkpoint_key(address: str) -> tuple[str, str]:
    """Return the label of a checkpoint's study and the file's name.

    Unlike the address, they are the same on machines that mount the folder at different paths.
    """
    folder, _, name = address.rpartition("/")
    return folder.rpartition("/")[2], name


def remove_file(address: str) -> None:
    """Remove a checkpoint file, if it exists.

    Raises:
        CheckpointNotRemoved: the file remains, which does no harm but costs space.
        BadCheckpointsAddress: this machine lacks the package for such addresses.
    """
    protocol, path = _split(address)
    s3 = _s3() if protocol == "s3" else None
    try:
        if s3 is not None:
            s3.rm_file(path)
        else:
            os.unlink(path)
    except FileNotFoundError:
        return
    except Exception as error:
        raise CheckpointNotRemoved(
            f"cannot remove the checkpoint {address}: {_reason(error)}; it is no longer needed; remove it by hand"
        ) from error


def _split(address: str) -> tuple[str, str]:
    """Split an address into protocol and path. No error shows anything that could be a key or a password."""
    match = re.match(r"([A-Za-z][A-Za-z0-9+.-]*)://(.*)", address, re.DOTALL)
    if match is None:
        step = f"write file://{address}" if address.startswith("/") else _NEXT_STEP
        raise BadCheckpointsAddress(f"the checkpoints' address does not begin with file:// or s3://; {step}")
    protocol, path = match[1], match[2]
    if protocol == "file":
        if not path.startswith("/"):
            raise BadCheckpointsAddress(f"the checkpoints' address names no absolute folder; {_NEXT_STEP}")
    elif protocol == "s3":
        if "@" in path or "?" in path:  # s3fs would take them as part of a file's name
            raise BadCheckpointsAddress(
                "the checkpoints' s3:// address has an @ or a ?: leave out keys and options, since the address is "
                "stored in the database; they are read from AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and "
                "AWS_ENDPOINT_URL, or ~/.aws"
            )
        if not path.partition("/")[0]:
            raise BadCheckpointsAddress(f"the checkpoints' address names no bucket; {_NEXT_STEP}")
    else:
        raise BadCheckpointsAddress(f"checkpoints cannot be kept at '{protocol}://' addresses; {_NEXT_STEP}")
    return protocol, path


def _s3() -> AbstractFileSystem:
    """Return S3 as a file system that caches no listings, since other machines write there too."""
    import fsspec

    try:
        return fsspec.filesystem("s3", use_listings_cache=False)
    except ImportError:
        raise BadCheckpointsAddress(
            "checkpoints at s3:// addresses need s3fs; in Caviar's folder, run: pip install --editable '.[s3]'"
        ) from None


def _write_local(path: str, data: bytes) -> None:
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


def _list_local(folder: str) -> Iterator[tuple[str, int]]:
    def fail(error: OSError) -> None:
        if not isinstance(error, FileNotFoundError):  # nothing was ever written
            raise error

    for parent, _, names in os.walk(folder, onerror=fail):
        for name in names:
            path = os.path.join(parent, name)
            with contextlib.suppress(FileNotFoundError):  # removed meanwhile
                yield path, os.stat(path).st_size


def _list_s3(path: str) -> Iterator[tuple[str, int]]:
    for name, facts in _s3().find(path, detail=True).items():
        yield name, facts["size"]


def _reason(error: Exception) -> str:
    reason = (isinstance(error, OSError) and error.strerror) or str(error) or type(error).__name__
    return " ".join(reason.split())
