"""Models by name.

A model is any `nn.Module`. Its constructor gets its hyperparameters by name and, if it names them, the shape of an
example (`sample`) and the number of outputs (`outputs`; of classes, `classes`):

    class MLP(nn.Module):
        def __init__(self, sample: tuple[int, ...], classes: int, *, hidden_units: int = 64, ...) -> None: ...

Add yours below, or name it in a study by its path: `model="package.module:Class"`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from caviar.foreign_code import no_exit, reason_of
from caviar.models.constructor import Constructor, read_constructor
from caviar.models.errors import UnknownModel
from caviar.suggestions import did_you_mean
from caviar.user_code import NotThere, load_object

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
    """Return those of a model's hyperparameters that have a default, with it; as `model_class` otherwise."""
    return constructor_of(name).defaults


def constructor_of(name: str) -> Constructor:
    """Return how a model's constructor is called; as `model_class` otherwise."""
    chosen = model_class(name)
    try:
        with no_exit():
            return read_constructor(chosen)
    except Exception as error:
        raise UnknownModel(f"the constructor of '{name}' cannot be read: {reason_of(error)}") from error
