"""Find what a training function holds in its variables that changes from epoch to epoch, and that is not saved."""

from __future__ import annotations

import ast
import random
from collections.abc import Iterable, Iterator
from functools import lru_cache
from types import FrameType, ModuleType
from typing import Any

import numpy as np
import torch
from torch.optim.lr_scheduler import LRScheduler

from caviar.studies.check.probe import Unsaved
from caviar.studies.workers.user.loop_training import LoopTraining

_GENERATORS = (torch.Generator, np.random.Generator, np.random.RandomState, random.Random)
_STATEFUL = (torch.nn.Module, torch.optim.Optimizer, LRScheduler, torch.amp.GradScaler)
_DEPTH = 2  # of attributes that are looked into: a trainer's optimizer, a loader's generator


def find_unsaved(training: object) -> list[Unsaved]:
    """Return what the user's function of a training holds and does not keep; nothing of other kinds of training."""
    if not isinstance(training, LoopTraining):
        return []
    saved = _ids(training.parts.values())
    unsaved: dict[int, Unsaved] = {}
    for frame in _frames(training.frame):
        for name, value in frame.f_locals.items():
            for path, each in _within(name, value, _DEPTH):
                if isinstance(each, (*_GENERATORS, *_STATEFUL)) and id(each) not in saved:
                    place = frame.f_code.co_filename, _line_of(frame, name)
                    unsaved.setdefault(id(each), Unsaved(path, type(each).__name__, *place))
    return list(unsaved.values())


def is_generator(unsaved: Unsaved) -> bool:
    """Return whether something is a generator of random numbers."""
    return unsaved.type in {kind.__name__ for kind in _GENERATORS}


def _frames(frame: FrameType | None) -> Iterator[FrameType]:
    """Yield the frames of the user's own code, the innermost first."""
    while frame is not None:
        if not str(frame.f_globals.get("__name__", "")).startswith(("caviar.", "torch.")):
            yield frame
        frame = frame.f_back


def _ids(objects: Iterable[Any]) -> set[int]:
    """Return the ids of objects, and of the modules in those that are modules."""
    modules = [m for each in objects if isinstance(each, torch.nn.Module) for m in each.modules()]
    return {id(each) for each in [*objects, *modules]}


def _within(name: str, value: Any, depth: int) -> Iterator[tuple[str, Any]]:
    """Yield a value and what its attributes hold, each with its path."""
    yield name, value
    if depth == 0 or isinstance(value, (type, ModuleType, torch.Tensor, *_STATEFUL, *_GENERATORS)):
        return
    inner = value if isinstance(value, dict) else getattr(value, "__dict__", {})
    for key, each in list(inner.items()):
        if isinstance(key, str):
            yield from _within(f"{name}.{key}", each, depth - 1)


def _line_of(frame: FrameType, name: str) -> int:
    """Return the line in which a frame's function gives a variable its value; else the function's own."""
    lines = _assignments(frame.f_code.co_filename).get(name, ())
    first, last = frame.f_code.co_firstlineno, max((line for *_, line in frame.f_code.co_lines() if line), default=0)
    return next((line for line in lines if first <= line <= last), first)


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
