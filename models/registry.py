"""Models by name.

A model is any `nn.Module` whose constructor takes the shape of a sample, the number of classes, and its hyperparameters
as keyword-only arguments with defaults:

    class MLP(nn.Module):
        def __init__(self, sample: tuple[int, ...], classes: int, *, hidden_units: int = 64, ...) -> None: ...

Add yours below, or name it in a study by its path: `model="package.module:Class"`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from caviar.foreign_code import no_exit, reason_of
from caviar.models.errors import UnknownModel
from caviar.suggestions import did_you_mean
from caviar.user_code import NotThere, file_of, load_object

if TYPE_CHECKING:
    from torch import nn

MODELS = {"mlp": "caviar.models.mlp:MLP", "cnn": "caviar.models.cnn:CNN"}


def model_class(name: str) -> Callable[..., nn.Module]:
    """Return the class of a model, by its name in `MODELS` or its path `package.module:Class`.

    Raises:
        UnknownModel: there is none; the message suggests the nearest names.
    """
    path = _path(name)
    try:
        chosen = load_object(path)
    except NotThere as error:
        raise UnknownModel(f"no model at '{path}': {error}") from error
    from torch import nn

    if not (isinstance(chosen, type) and issubclass(chosen, nn.Module)):
        raise UnknownModel(f"'{path}' is no class of torch.nn.Module: {chosen!r:.80}")
    return chosen


def model_file(name: str) -> Path | None:
    """Return the file in which a model is looked for, of which nothing is run; None for one that is in no file.

    Raises:
        UnknownModel: there is none.
    """
    path = _path(name)
    try:
        return file_of(path)
    except NotThere as error:
        raise UnknownModel(f"no model at '{path}': {error}") from error


def _path(name: str) -> str:
    """Return the path of a model."""
    path = MODELS.get(name, name)
    if not path.partition(":")[2]:
        raise UnknownModel(
            f"no model '{name}'; {did_you_mean(name, MODELS)}"
            f"there are: {', '.join(MODELS)}, or give package.module:Class"
        )
    return path


def hyperparameters(name: str) -> Mapping[str, Any]:
    """Return a model's hyperparameters with their defaults, read from its constructor; as `model_class` otherwise."""
    chosen = model_class(name)
    try:
        with no_exit():
            parameters = inspect.signature(chosen).parameters.values()
    except Exception as error:
        raise UnknownModel(f"the constructor of '{name}' cannot be read: {reason_of(error)}") from error
    return {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}
