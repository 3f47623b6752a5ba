"""Digests of files and of tensors, the same on every machine."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

_WHOLE = 64 * 2**20  # bytes: a larger tensor is read in blocks, so that a digest costs at most a second or so
_BLOCK, _BLOCKS = 2**20, 64


def of_files(paths: Iterable[Path]) -> str:
    """Return a digest of files, by their names and bytes; where they lie does not count."""
    whole = hashlib.sha256()
    for path in paths:
        with path.open("rb") as opened:
            whole.update(path.name.encode() + hashlib.file_digest(opened, "sha256").digest())
    return whole.hexdigest()


def of_tensors(tensors: Iterable[Tensor | None]) -> str:
    """Return a digest of tensors, by their shapes, types and bytes; None stands for one that is not there.

    Of a tensor above 64 MB it takes 64 blocks of 1 MB each, spread evenly, and the sum of all of its bytes as 32-bit
    numbers: that reads all of it once, and hashes no more than of one of 64 MB.
    """
    whole = hashlib.sha256()
    for tensor in tensors:
        if tensor is None:
            whole.update(b"none")
            continue
        whole.update(f"{tuple(tensor.shape)} {tensor.dtype}".encode())
        for block in _blocks(tensor):
            whole.update(block)
    return whole.hexdigest()


def _blocks(tensor: Tensor) -> Iterable[bytes | memoryview]:
    import torch

    data = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
    if len(data) <= _WHOLE:
        yield data.numpy().data
        return
    yield str(int(data[: len(data) // 4 * 4].view(torch.int32).sum(dtype=torch.int64))).encode()
    for number in range(_BLOCKS):
        at = (len(data) - _BLOCK) * number // (_BLOCKS - 1)
        yield data[at : at + _BLOCK].numpy().data
