"""Checkpoint files at an address that all machines reach, a shared folder or an S3 bucket.

An address is used literally: in `file:///folder`, no %20 is decoded.

The database names the files, and a worker's role may write such names. So a file is read or removed only if it lies
under the address that this machine was given, and has Caviar's suffix. What else a name may point at is not even looked
for, so no message tells whether it exists.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from caviar.storage.errors import (
    BadCheckpointsAddress,
    CheckpointNotRemoved,
    CheckpointNotWritten,
    CheckpointUnreachable,
    DamagedCheckpoint,
)
from caviar.storage.local_files import LIMIT, TOO_LARGE, list_local, read_local, remove_local, write_local

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

SUFFIX = ".checkpoint"  # of every file that Caviar writes; all other files in the folder are left alone
_OURS = re.compile(r"[^/]+" + re.escape(SUFFIX) + r"(\.[0-9a-f]{16}\.tmp)?")
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
            self._folder = path.rstrip("/")
        else:
            # Normalized, so that `list` returns the same addresses as `write` on every machine.
            self._folder = os.path.normpath("/" + path.strip("/"))
        self._protocol, self._root = protocol, f"{protocol}://{self._folder.rstrip('/')}"

    def write(self, key: str, data: bytes) -> str:
        """Write or replace a file atomically, and return its address; `key` is its path below the root, without SUFFIX.

        Raises:
            CheckpointNotWritten: the file could not be written; no part of it remains.
        """
        address, path = f"{self._root}/{key}{SUFFIX}", f"{self._folder}/{key}{SUFFIX}"
        try:
            if self._protocol == "s3":
                _s3().pipe_file(path, data)  # one request, or parts that become visible together
            else:
                write_local(path, data)
        except Exception as error:
            raise CheckpointNotWritten(
                f"cannot write the checkpoint {address}: {_reason(error)}; every machine needs free space there, "
                f"and the right to write"
            ) from error
        return address

    def read(self, address: str) -> bytes:
        """Return the content of a checkpoint file.

        Raises:
            DamagedCheckpoint: the file does not exist.
            CheckpointUnreachable: it is not one of this machine's checkpoint files, or cannot be read now; the message
                says why.
        """
        parts = self._parts_of(address)
        if parts is None:
            raise CheckpointUnreachable(
                f"the checkpoint {address} is not at {self._root}, which CAVIAR_CHECKPOINTS names on this machine: set "
                f"it to the address that the study's other machines have"
            )
        try:
            return self._read_s3(parts) if self._protocol == "s3" else read_local(self._folder, parts)
        except FileNotFoundError:  # of which s3fs gives no reason
            if self._protocol == "file" and not os.path.isdir(os.path.join(self._folder, *parts[:-1])):
                raise CheckpointUnreachable(
                    f"the folder of the checkpoint {address} is not there; check that it is mounted on this machine"
                ) from None
            raise DamagedCheckpoint(f"the checkpoint {address} is not there") from None
        except Exception as error:
            raise CheckpointUnreachable(
                f"cannot read the checkpoint {address}: {_reason(error)}; check that this machine reaches it"
            ) from error

    def remove(self, address: str) -> None:
        """Remove a checkpoint file, if it exists.

        Raises:
            CheckpointNotRemoved: it is not one of this machine's checkpoint files, or cannot be removed, which does no
                harm but costs space.
        """
        parts = self._parts_of(address)
        if parts is None:
            raise CheckpointNotRemoved(f"the checkpoint {address} is not at {self._root}, where this machine has them")
        try:
            if self._protocol == "s3":
                _s3().rm_file("/".join([self._folder, *parts]))
            else:
                remove_local(self._folder, parts)
        except FileNotFoundError:
            return
        except Exception as error:
            raise CheckpointNotRemoved(
                f"cannot remove the checkpoint {address}: {_reason(error)}; it is no longer needed; remove it by hand"
            ) from error

    def _read_s3(self, parts: Sequence[str]) -> bytes:
        path = "/".join([self._folder, *parts])
        if _s3().size(path) > LIMIT:
            raise OSError(errno.EFBIG, TOO_LARGE)
        data: bytes = _s3().cat_file(path)
        return data

    def _parts_of(self, address: str) -> Sequence[str] | None:
        """Return the names that lead from the root to a file; None if it is not one of Caviar's under the root."""
        folder = f"{self._root}/"
        parts = address.removeprefix(folder).split("/")
        if not address.startswith(folder) or {"", ".", ".."} & set(parts) or not _OURS.fullmatch(parts[-1]):
            return None
        return parts

    def list(self) -> Iterator[tuple[str, int]]:
        """Yield the address and the size in bytes of each checkpoint file, unfinished ones of killed writers included.

        Raises:
            BadCheckpointsAddress: the files cannot be listed.
        """
        try:
            for name, size in _list_s3(self._folder) if self._protocol == "s3" else list_local(self._folder):
                if _OURS.fullmatch(name.rpartition("/")[2]):
                    yield f"{self._protocol}://{name}", size
        except Exception as error:
            raise BadCheckpointsAddress(
                f"cannot list the checkpoints at {self._root}: {_reason(error)}; check that this machine reaches "
                f"it, and may read there"
            ) from error


def checkpoint_key(address: str) -> tuple[str, str]:
    """Return the label of a checkpoint's study and the file's name.

    Unlike the address, they are the same on machines that mount the folder at different paths.
    """
    folder, _, name = address.rpartition("/")
    return folder.rpartition("/")[2], name


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


def _list_s3(path: str) -> Iterator[tuple[str, int]]:
    for name, facts in _s3().find(path, detail=True).items():
        yield name, facts["size"]


def _reason(error: Exception) -> str:
    reason = (isinstance(error, OSError) and error.strerror) or str(error) or type(error).__name__
    return " ".join(reason.split())
