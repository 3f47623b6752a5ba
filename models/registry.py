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
from importlib import import_module
from typing import TYPE_CHECKING, Any

from caviar.foreign_code import no_exit, reason_of
from caviar.models.errors import UnknownModel
from caviar.suggestions import did_you_mean

if TYPE_CHECKING:
    from torch import nn

MODELS = {"mlp": "caviar.models.mlp:MLP", "cnn": "caviar.models.cnn:CNN"}


def model_class(name: str) -> Callable[..., nn.Module]:
    """Return the class of a model, by its name in `MODELS` or its path `package.module:Class`.

    Raises:
        UnknownModel: there is none; the message suggests the nearest names.
    """
    path = MODELS.get(name, name)
    module, _, attribute = path.partition(":")
    if not attribute:
        raise UnknownModel(
            f"no model '{name}'; {did_you_mean(name, MODELS)}"
            f"there are: {', '.join(MODELS)}, or give package.module:Class"
        )
    try:
        with no_exit():
            chosen = getattr(import_module(module), attribute)
    except Exception as error:
        missing = isinstance(error, ModuleNotFoundError) and f"{module}.".startswith(f"{error.name}.")
        place = f"; give the command in the folder that has {module.split('.')[0]}" if missing else ""
        raise UnknownModel(f"no model at '{path}': {reason_of(error)}{place}") from error
    from torch import nn

    if not (isinstance(chosen, type) and issubclass(chosen, nn.Module)):
        raise UnknownModel(f"'{path}' is no class of torch.nn.Module: {chosen!r:.80}")
    return chosen


def hyperparameters(name: str) -> Mapping[str, Any]:
    """Return a model's hyperparameters with their defaults, read from its constructor; as `model_class` otherwise."""
    parameters = inspect.signature(model_class(name)).parameters.values()
    return {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}
