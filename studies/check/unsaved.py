"""Find what a training function holds in its variables that changes from epoch to epoch, and that is not saved."""

from __future__ import annotations

import ast
import hashlib
import random
from collections.abc import Hashable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import lru_cache
from types import FrameType, ModuleType
from typing import Any

import numpy as np
import torch
from torch.optim.lr_scheduler import LRScheduler
from torch.utils.data import DataLoader

from caviar.studies.check.probe import Kind, Unsaved
from caviar.studies.workers.user.loop_training import LoopTraining

_GENERATORS = (torch.Generator, np.random.Generator, np.random.RandomState, random.Random)
# Of those an epoch may come that changes them, even if the first ones did not: a schedule with steps of five epochs.
_CHANGING = (torch.optim.Optimizer, LRScheduler, torch.amp.GradScaler)
_STATEFUL = (torch.nn.Module, *_CHANGING)
_DEPTH = 2  # of attributes that are looked into: a trainer's optimizer, a loader's generator
_LONGEST_LIST = 100  # that is looked into, such as of optimizers; a longer one has data


@dataclass
class _Seen:
    """An object that was not saved; the reference keeps its id from being used again."""

    value: Any
    unsaved: Unsaved
    state: Hashable
    looks: int = 1


class UnsavedWatch:
    """Looks at what a training holds, before its first epoch and after each.

    What is made anew in each epoch is no concern of the next one, and neither is what never changes, such as a loss
    function, or the generator that the data were drawn from.

    Args:
        training: any training; something is found in those by a function of the user's own alone.
    """

    def __init__(self, training: object) -> None:
        self._training = training if isinstance(training, LoopTraining) else None
        self._seen: dict[int, _Seen] = {}

    def look(self) -> None:
        """Take note of the states of what is not saved."""
        if self._training is None:
            return
        saved = _Saved(self._training.parts)
        held: dict[int, tuple[Any, Unsaved]] = {}  # once each, by however many names
        for frame in _frames(self._training.frame):
            for name, value in frame.f_locals.items():
                for path, each in _within(name, value, _DEPTH):
                    if (kind := _kind_of(each)) is not None and id(each) not in saved.ids:
                        held.setdefault(
                            id(each), (each, Unsaved(path, type(each).__name__, *_place(frame, name), kind))
                        )
        for each, unsaved in held.values():
            with suppress(Exception):  # an object of the user's own may not give its state at any time
                self._note(each, unsaved, saved)

    def _note(self, value: Any, unsaved: Unsaved, saved: _Saved) -> None:
        state = _state_of(value)
        if (isinstance(state, Mapping) and not state) or saved.has(value, state):
            return
        now, before = _frozen(state), self._seen.get(id(value))
        if before is None:
            self._seen[id(value)] = _Seen(value, unsaved, now)
            return
        if before.state != now or unsaved.kind is Kind.WORKERS:
            before.unsaved = replace(before.unsaved, changes=True)
        before.state, before.looks = now, before.looks + 1

    def found(self) -> list[Unsaved]:
        """Return what has outlived an epoch, and changes or may change in a later one."""
        return [
            seen.unsaved
            for seen in self._seen.values()
            if seen.looks > 1 and (seen.unsaved.changes or isinstance(seen.value, _CHANGING))
        ]


class _Saved:
    """What `trial.keep` has: objects, and the parts of their states, which may be those of other objects.

    Attributes:
        ids: of the objects.
    """

    def __init__(self, parts: Mapping[str, Any]) -> None:
        self.ids = {id(part) for part in parts.values()}
        self._parts = list(parts.values())
        modules = [part for part in self._parts if isinstance(part, torch.nn.Module)]
        self._tensors = {id(tensor) for module in modules for tensor in _tensors_of(module)}
        self._content: set[Hashable] | None = None

    def has(self, value: Any, state: Any) -> bool:
        """Return whether an object's state is saved: as a part of another one, in a wrapper, or by its content."""
        if isinstance(value, torch.nn.Module) and all(id(tensor) in self._tensors for tensor in _tensors_of(value)):
            return True
        if isinstance(value, DataLoader):
            return False
        if self._content is None:  # hashed only where something is doubtful
            self._content = {node for part in self._parts for node in _content_of(part)}
        tensors = [_frozen(each) for each in _leaves(state) if isinstance(each, torch.Tensor)]
        return _frozen(state) in self._content or (bool(tensors) and self._content.issuperset(tensors))


def _tensors_of(module: torch.nn.Module) -> Iterator[torch.Tensor]:
    yield from module.parameters()
    yield from module.buffers()


def _content_of(part: Any) -> Iterator[Hashable]:
    """Yield what the state of a part consists of; without the whole one of a schedule, as another may have the same."""
    state = part.state_dict()
    if not isinstance(part, _STATEFUL):
        yield _frozen(state)
    for each in _below(state):
        if isinstance(each, Mapping | torch.Tensor):
            yield _frozen(each)


def _below(value: Any) -> Iterator[Any]:
    """Yield everything within a state, at any depth."""
    inner: Iterable[Any] = ()
    if isinstance(value, Mapping):
        inner = value.values()
    elif isinstance(value, list | tuple):
        inner = value
    for each in inner:
        yield each
        yield from _below(each)


def _leaves(state: Any) -> Iterator[Any]:
    return iter([state]) if isinstance(state, torch.Tensor) else _below(state)


def _frozen(value: Any) -> Hashable:
    """Return what two equal states have in common, with a digest in place of numbers by the million."""
    if isinstance(value, torch.Tensor):
        data = value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy()
        return str(value.dtype), tuple(value.shape), hashlib.blake2b(data.data).digest()
    if isinstance(value, np.ndarray):
        return str(value.dtype), value.shape, hashlib.blake2b(value.tobytes()).digest()
    if isinstance(value, Mapping):
        return tuple((repr(key), _frozen(each)) for key, each in value.items())
    if isinstance(value, list | tuple):
        return tuple(map(_frozen, value))
    return type(value).__name__, repr(value)


def _kind_of(value: Any) -> Kind | None:
    """Return what kind of thing with a state an object is; None if it is none."""
    if isinstance(value, _GENERATORS):
        return Kind.GENERATOR
    if isinstance(value, _STATEFUL):
        return Kind.STATE
    # Workers that are alive between the epochs; `trial.batches` leaves none.
    if isinstance(value, DataLoader) and value.persistent_workers and getattr(value, "_iterator", None) is not None:
        return Kind.WORKERS
    return None


def _state_of(value: Any) -> Any:
    match value:
        case torch.Generator():
            return value.get_state()
        case np.random.Generator():
            return value.bit_generator.state
        case np.random.RandomState():
            return value.get_state()
        case random.Random():
            return value.getstate()
        case DataLoader():
            return None
        case _:
            return value.state_dict()


def _frames(frame: FrameType | None) -> Iterator[FrameType]:
    """Yield the frames of the user's own code, the innermost first."""
    while frame is not None:
        if not str(frame.f_globals.get("__name__", "")).startswith(("caviar.", "torch.")):
            yield frame
        frame = frame.f_back


def _within(name: str, value: Any, depth: int) -> Iterator[tuple[str, Any]]:
    """Yield a value and what its attributes hold, each with its path."""
    yield name, value
    if depth == 0 or isinstance(value, (type, ModuleType, torch.Tensor, *_STATEFUL, *_GENERATORS)):
        return
    if isinstance(value, list | tuple):
        for place, each in enumerate(value if len(value) <= _LONGEST_LIST else ()):
            yield from _within(f"{name}[{place}]", each, depth - 1)
        return
    inner = value if isinstance(value, dict) else getattr(value, "__dict__", {})
    for key, each in list(inner.items()):
        if isinstance(key, str):
            yield from _within(f"{name}.{key}", each, depth - 1)


def _place(frame: FrameType, name: str) -> tuple[str, int]:
    """Return the file and the line in which a frame's function gives a variable its value; else the function's own."""
    lines = _assignments(frame.f_code.co_filename).get(name, ())
    first, last = frame.f_code.co_firstlineno, max((line for *_, line in frame.f_code.co_lines() if line), default=0)
    return frame.f_code.co_filename, next((line for line in lines if first <= line <= last), first)


@lru_cache(maxsize=64)
def _assignments(file: str) -> dict[str, list[int]]:
    """Return the lines of a file in which a name gets a value, by name."""
    try:
        with open(file, "rb") as source:
            tree = ast.parse(source.read())
    except (OSError, SyntaxError, ValueError):
        return {}
    lines: dict[str, list[int]] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            lines.setdefault(node.id, []).append(node.lineno)
    return lines
