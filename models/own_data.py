"""A data set of the user's own: a function that returns tensors or map-style datasets, which are checked once.

Each part becomes two tensors in memory, x float32 and y as `Part` says. What is random in the function draws from
generators that are seeded before it is called, so that every process and every machine gets the same split.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset

from caviar.foreign_code import no_exit, reason_of
from caviar.models.data_sets import SPLIT_SEED, DataSet, Part, RawData, Shape, Sizes
from caviar.models.digests import of_tensors
from caviar.models.errors import BadData
from caviar.models.functions import load_function
from caviar.models.seeding import seeded

_NAMES = ("training", "validation", "test")
_EXPECTED = "return (training, validation) or (training, validation, test), each as (x, y) or a map-style dataset"
_CHUNK = 4096  # examples that are looked at together


@dataclass(frozen=True)
class OwnData(DataSet):
    """The data set that the function at a path returns, such as `my_data:load`."""

    path: str
    normalised = False

    def read(self, data_dir: Path | None = None) -> RawData:  # noqa: ARG002
        """Call the function, and check what it returns.

        Raises:
            UnknownFunction: there is no such function.
            BadData: it raises, or returns what nothing can be trained on.
        """
        parts = _checked(self.path, _call(self.path))
        test = parts.get("test")
        tensors = [t for part in (*parts.values(), *[None] * (3 - len(parts))) for t in _tensors(part)]
        raw = RawData(parts["training"], parts["validation"], lambda: test, of_tensors(tensors))
        y = raw.training.y
        shape = Shape(tuple(raw.training.x.shape[1:]), numbers_of(y), is_class(y))
        sizes = Sizes(len(raw.training.x), len(raw.validation.x), None if test is None else len(test.x))
        _known[self.path] = _Known(shape, raw.digest or "", sizes)
        return raw

    def shape(self) -> Shape:
        return self._known().shape

    def digest(self, data_dir: Path) -> str:  # noqa: ARG002
        """Return the digest of the tensors that the function returned in this process."""
        return self._known().digest

    def _known(self) -> _Known:
        if self.path not in _known:
            self.read()
        return _known[self.path]


@dataclass(frozen=True)
class _Known:
    """What this process knows of a data set without keeping its tensors."""

    shape: Shape
    digest: str
    sizes: Sizes


_known: dict[str, _Known] = {}


def sizes_read(path: str) -> Sizes | None:
    """Return how many examples the function at a path returned in this process; None where it was not called."""
    return _known[path].sizes if path in _known else None


def is_class(y: Tensor) -> bool:
    """Return True if targets are the numbers of classes, False if they are what a regression predicts."""
    return not y.is_floating_point()


def numbers_of(y: Tensor) -> int:
    """Return how many numbers a network makes of an example: one for each class, or for each number of a target."""
    return int(y.max()) + 1 if is_class(y) else math.prod(y.shape[1:])


def _tensors(part: Part | None) -> tuple[Tensor | None, Tensor | None]:
    return (None, None) if part is None else (part.x, part.y)


def _call(path: str) -> Any:
    function = load_function(path)
    try:
        with no_exit(), seeded(SPLIT_SEED), redirect_stdout(sys.stderr):  # stdout is for results
            return function()
    except Exception as error:
        raise BadData(f"the data of '{path}' cannot be loaded: {reason_of(error)}") from error


def _checked(path: str, returned: Any) -> dict[str, Part]:
    """Return the parts by name, as tensors that fit one another."""
    if not isinstance(returned, tuple | list) or len(returned) not in (2, 3):
        raise BadData(f"'{path}' returned {_kind(returned)}; {_EXPECTED}")
    parts = {}
    for name, given in zip(_NAMES, returned, strict=False):
        if given is None and name == "test":
            continue
        try:
            with seeded(SPLIT_SEED):
                parts[name] = _part(given)
        except _Wrong as wrong:
            raise BadData(f"the {name} part of '{path}' {wrong}") from wrong
    if is_class(parts["training"].y) and not int(parts["training"].y.max()):
        raise BadData(f"the training part of '{path}' has no class but 0 in y; give two at least, or y.float()")
    for name in (n for n in parts if n != "training"):
        if problem := _misfit(parts["training"], parts[name]):
            raise BadData(f"the {name} part of '{path}' {problem}")
    return parts


class _Wrong(Exception):
    """What is wrong with a part, as the end of a sentence."""


def _part(given: Any) -> Part:
    if isinstance(given, Dataset):
        x, y = _of_dataset(given)
    elif isinstance(given, tuple | list) and len(given) == 2:
        x, y = (_as_tensor(value, name) for name, value in zip("xy", given, strict=True))
    else:
        raise _Wrong(f"is {_kind(given)}; give (x, y) or a map-style dataset")
    if x.ndim == 0 or y.ndim == 0 or len(x) != len(y):
        raise _Wrong(
            f"has x of shape {tuple(x.shape)} and y of shape {tuple(y.shape)}; give as many targets as examples"
        )
    if not len(x):
        raise _Wrong("is empty")
    if not x.is_floating_point():
        raise _Wrong(f"has x of {x.dtype}; give floating-point numbers, such as x.float() / 255")
    return Part(_finite(x, "x"), _targets(y))


def _targets(y: Tensor) -> Tensor:
    if y.is_floating_point():
        return _finite(y, "y")
    if y.is_complex() or y.ndim != 1:
        raise _Wrong(
            f"has y of {y.dtype} and shape {tuple(y.shape)}; give the number of each example's class, (n,) integers, "
            f"or the targets of a regression, floating-point numbers"
        )
    y = y.to(torch.int64)
    if int(y.min()) < 0:
        raise _Wrong(f"has the class {int(y.min())} in y; number the classes from 0")
    return y


def _finite(values: Tensor, name: str) -> Tensor:
    """Return values as float32, one row an example at least, after a look for any that is not finite."""
    values = values.float()
    for number, chunk in enumerate(torch.split(values, _CHUNK)):
        sound = chunk.isfinite().flatten(1).all(1) if chunk.ndim > 1 else chunk.isfinite()
        if not bool(sound.all()):
            first = number * _CHUNK + int((~sound).nonzero()[0])
            raise _Wrong(
                f"has a value in {name} that is no finite float32, in example {first}; remove it or fill it in"
            )
    return values if values.ndim > 1 else values.unsqueeze(1)


def _as_tensor(value: Any, name: str) -> Tensor:
    try:
        with no_exit():
            return torch.as_tensor(value).detach().cpu()
    except Exception as error:
        raise _Wrong(f"has as {name} {_kind(value)}, which makes no tensor: {reason_of(error)}") from error


def _of_dataset(dataset: Dataset[Any]) -> tuple[Tensor, Tensor]:
    """Return all examples of a map-style dataset as two tensors."""
    if isinstance(dataset, IterableDataset) or not hasattr(dataset, "__len__"):
        raise _Wrong(f"is {_kind(dataset)}, which has no length; give a map-style dataset")
    if not len(dataset):
        raise _Wrong("is empty")
    try:
        with no_exit():
            batches = list(_pairs(dataset))
            return torch.cat([x for x, _ in batches]), torch.cat([y for _, y in batches])
    except _Wrong:
        raise
    except Exception as error:
        raise _Wrong(f"cannot be read: {reason_of(error)}") from error


def _pairs(dataset: Dataset[Any]) -> Iterator[tuple[Tensor, Tensor]]:
    for batch in DataLoader(dataset, batch_size=_CHUNK):
        if not isinstance(batch, tuple | list) or len(batch) != 2 or not all(isinstance(t, Tensor) for t in batch):
            raise _Wrong(f"is {_kind(dataset)}, whose examples are no pairs of x and y")
        yield batch[0], batch[1]


def _misfit(training: Part, other: Part) -> str | None:
    """Return why a part does not fit the training part; None if it does."""
    if training.x.shape[1:] != other.x.shape[1:]:
        return f"has examples of shape {tuple(other.x.shape[1:])}, the training part of {tuple(training.x.shape[1:])}"
    if is_class(training.y) != is_class(other.y):
        kinds = ["classes" if is_class(y) else "numbers" for y in (other.y, training.y)]
        return f"has {kinds[0]} in y, the training part {kinds[1]}"
    if not is_class(training.y) and training.y.shape[1:] != other.y.shape[1:]:
        return f"has targets of shape {tuple(other.y.shape[1:])}, the training part of {tuple(training.y.shape[1:])}"
    if is_class(training.y) and int(other.y.max()) > int(training.y.max()):
        return f"has the class {int(other.y.max())}, the training part none above {int(training.y.max())}"
    return None


def _kind(value: Any) -> str:
    """Return what a value is, for a sentence."""
    if isinstance(value, tuple | list):
        return f"a {type(value).__name__} of {len(value)}"
    return f"of type {type(value).__name__}"
