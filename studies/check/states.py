"""Compare an undisturbed training with an interrupted one, and name the first key or metric that differs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch

from caviar.models.checkpoint import from_bytes
from caviar.studies.check.probe import Outcome
from caviar.text import quoted


def first_difference(whole: Outcome, resumed: Outcome) -> str | None:
    """Return where the second epoch of an undisturbed training and of an interrupted one differ; None if nowhere."""
    one, other = whole.states[1], resumed.states[0]
    if one is not None and other is not None and (key := _first_key(one, other)) is not None:
        return key
    return first_metric(whole.metrics[1], resumed.metrics[0])


def first_metric(one: Mapping[str, float], other: Mapping[str, float]) -> str | None:
    """Return the first metric that differs, with both values."""
    for name in dict.fromkeys([*one, *other]):
        here, there = one.get(name), other.get(name)
        if here != there and not (here != here and there != there):
            return f"{name}: {here!r} and {there!r}"
    return None


def _first_key(one: bytes, other: bytes) -> str | None:
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
