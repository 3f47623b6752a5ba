"""Compare two states of a training, and name the first key that differs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch

from caviar.models.checkpoint import from_bytes
from caviar.text import quoted


def first_difference(one: bytes, other: bytes) -> str | None:
    """Return the path of the first value that differs between two states; None if they are equal to the last bit."""
    here, there = (dict(_flat("", from_bytes(state, torch.device("cpu")))) for state in (one, other))
    for path in dict.fromkeys([*here, *there]):
        if path not in here or path not in there or not _equal(here[path], there[path]):
            return path
    return None


def _flat(path: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for key, each in value.items():
            if path or key not in ("version", "epoch"):
                yield from _flat(f"{path}[{quoted(key)}]" if path and path != "parts" else str(key), each)
    elif isinstance(value, list | tuple):
        for place, each in enumerate(value):
            yield from _flat(f"{path}[{place}]", each)
    else:
        yield path, value


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
        return one.dtype == other.dtype and one.shape == other.shape and torch.equal(one, other)
    return type(one) is type(other) and (one == other or one != one)
