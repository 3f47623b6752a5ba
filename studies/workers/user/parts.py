"""The parts of a training that are saved between its epochs: a network, its optimizer, a schedule."""

from __future__ import annotations

import io
import pickle
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor

from caviar.foreign_code import reason_of
from caviar.models.errors import BadCheckpoint
from caviar.studies.errors import TrialMisused
from caviar.studies.workers.user.sharding import divided, gathered
from caviar.text import quoted

_READABLE = (type(None), bool, int, float, str, bytes, Tensor, torch.nn.Parameter)


class Parts:
    """Objects with `state_dict` and `load_state_dict`, by name; those of a trial that goes on are restored at once.

    Args:
        saved: the states of an earlier process, by name; None for a trial that begins.
        is_saved: whether this process saves the states; another one of the same trial has its share in them.

    Attributes:
        objects: what was added, by name.
        refused: why what was saved was refused, and the objects are as they were built; None if it was not.
    """

    def __init__(self, saved: Mapping[str, Any] | None, *, is_saved: bool = True) -> None:
        self._saved, self._is_saved = saved, is_saved
        self.objects: dict[str, Any] = {}
        self.refused: str | None = None
        self._before: dict[str, Any] = {}  # the states that objects had before they were restored

    def __bool__(self) -> bool:
        return bool(self.objects)

    def add(self, objects: Mapping[str, Any], *, reverts: bool = False) -> None:
        """Add objects, and restore those that were saved.

        Args:
            reverts: what does not fit is refused, instead of an error, and all objects get back the states that they
                were built with.

        Raises:
            TrialMisused: one has no state, or its name is taken.
            BadCheckpoint: what was saved does not fit.
        """
        for name, part in objects.items():
            if not (callable(getattr(part, "state_dict", None)) and callable(getattr(part, "load_state_dict", None))):
                raise TrialMisused(
                    f"trial.keep({name}=...) got a {type(part).__name__}; give an object with state_dict() and "
                    f"load_state_dict(), such as a network, an optimizer or a schedule"
                )
            if name in self.objects:
                raise TrialMisused(f"trial.keep() got '{name}' twice")
            self.objects[name] = part
            if self._saved is not None:
                with self._refusing(reverts):
                    if reverts:
                        self._before[name] = deepcopy(part.state_dict())
                    self._restore(name, part, self._saved)

    @contextmanager
    def _refusing(self, reverts: bool) -> Iterator[None]:
        try:
            yield
        except BadCheckpoint as error:
            if not reverts:
                raise
            self.refused, self._saved = str(error), None
            for name, state in self._before.items():
                self.objects[name].load_state_dict(state)
            self._before = {}

    def _restore(self, name: str, part: Any, saved: Mapping[str, Any]) -> None:
        if name not in saved:
            raise BadCheckpoint(f"the checkpoint has no '{name}', but {_names(saved)}")
        try:
            part.load_state_dict(divided(saved[name], part))
        except Exception as error:
            raise BadCheckpoint(f"the checkpoint does not fit '{name}': {reason_of(error)}") from error

    def check_restored(self, *, reverts: bool = False) -> None:
        """Raise BadCheckpoint, or refuse what was saved as `add` does, if something was saved that no object took."""
        left = [] if self._saved is None else [name for name in self._saved if name not in self.objects]
        with self._refusing(reverts):
            if left:
                raise BadCheckpoint(f"the checkpoint has {_names(left)}, which trial.keep() does not get any more")
        self._saved, self._before = None, {}

    def states(self) -> dict[str, Any]:
        """Return the state of each object.

        Raises:
            TrialMisused: one has a value in it that is neither a tensor nor plain, and could not be read again.
        """
        states = {name: gathered(part.state_dict(), wanted=self._is_saved) for name, part in self.objects.items()}
        if self._is_saved:
            for name, state in states.items():
                _check_plain(state, name)  # each time: what was None may be a number of NumPy's in a later epoch
        return states


def _names(names: Iterable[str]) -> str:
    return ", ".join(quoted(name) for name in names)


def _check_plain(value: Any, key: str) -> None:
    """Refuse what `torch.load(weights_only=True)` would not read, and name its key."""
    if _is_readable(value):
        return
    if isinstance(value, Mapping):
        inner = [(f"{key}[{quoted(name)}]", each) for name, each in value.items()]
    elif isinstance(value, list | tuple):
        inner = [(f"{key}[{place}]", each) for place, each in enumerate(value)]
    else:
        inner = []
    for inner_key, each in inner:
        _check_plain(each, inner_key)
    raise TrialMisused(
        f"the state {key} is a {type(value).__name__}, which would have to be unpickled; give trial.keep() objects "
        f"whose states are tensors and plain values"
    )


def _is_readable(value: Any) -> bool:
    buffer, doubtful = io.BytesIO(), _doubtful(value)
    if doubtful is None:
        return True
    try:
        torch.save(doubtful, buffer)
        buffer.seek(0)
        torch.load(buffer, weights_only=True)
    except (pickle.PickleError, RuntimeError, TypeError, AttributeError, ValueError):
        return False
    return True


def _doubtful(value: Any) -> Any:
    """Return what of a value may be unreadable; None if nothing is, as of most states.

    Tensors can always be read, and may be gigabytes.
    """
    if type(value) in _READABLE:
        return None
    if type(value) in (dict, OrderedDict):  # as a network's state is
        inner = {key: _doubtful(each) for key, each in value.items()}
        return {key: each for key, each in inner.items() if each is not None or type(key) not in _READABLE} or None
    if type(value) in (list, tuple):
        return [each for each in map(_doubtful, value) if each is not None] or None
    return value
