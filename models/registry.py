"""Models by name.

A model is any `nn.Module` whose constructor takes the shape of a sample, the number of classes, and its hyperparameters
as keyword-only arguments with defaults:

    class MLP(nn.Module):
        def __init__(self, sample: tuple[int, ...], classes: int, *, hidden_units: int = 64, ...) -> None: ...

Add yours below, or name it in a study by its path: `model="package.module:Class"`.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from typing import TYPE_CHECKING, Any

from caviar.foreign_code import IN_A_MODULE, no_exit, reason_of
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
    module, attribute = _place(name)
    try:
        with no_exit(IN_A_MODULE):
            chosen = getattr(import_module(module), attribute)
    except Exception as error:
        missing = isinstance(error, ModuleNotFoundError) and f"{module}.".startswith(f"{error.name}.")
        place = _step(module) if missing else ""
        raise UnknownModel(f"no model at '{module}:{attribute}': {reason_of(error)}{place}") from error
    from torch import nn

    if not (isinstance(chosen, type) and issubclass(chosen, nn.Module)):
        raise UnknownModel(f"'{module}:{attribute}' is no class of torch.nn.Module: {chosen!r:.80}")
    return chosen


def model_file(name: str) -> Path | None:
    """Return the file in which a model is looked for, of which nothing is run; None for one that is in no file.

    Raises:
        UnknownModel: there is none.
    """
    module, attribute = _place(name)
    if module in sys.modules:
        file = getattr(sys.modules[module], "__file__", None)
    else:
        spec = _spec(module)
        if spec is None:
            raise UnknownModel(f"no model at '{module}:{attribute}': there is no module {module}{_step(module)}")
        file = spec.origin
    return Path(file) if file else None


def _spec(module: str) -> ModuleSpec | None:
    """Find a module as Python would. `importlib.util.find_spec` would import the packages that it is in."""
    first, *others = module.split(".")
    finders = [finder for finder in sys.meta_path if hasattr(finder, "find_spec")]
    found = next((spec for finder in finders if (spec := finder.find_spec(first, None)) is not None), None)
    for name in others:  # by its last part: a folder without an __init__.py would look for its parent among the loaded
        if found is None or found.submodule_search_locations is None:
            return None
        found = PathFinder.find_spec(name, list(found.submodule_search_locations))
    return found


def _place(name: str) -> tuple[str, str]:
    """Return the module and the class of a model."""
    module, _, attribute = MODELS.get(name, name).partition(":")
    if not attribute:
        raise UnknownModel(
            f"no model '{name}'; {did_you_mean(name, MODELS)}"
            f"there are: {', '.join(MODELS)}, or give package.module:Class"
        )
    return module, attribute


def _step(module: str) -> str:
    return f"; give the command in the folder that has {module.split('.', maxsplit=1)[0]}"


def hyperparameters(name: str) -> Mapping[str, Any]:
    """Return a model's hyperparameters with their defaults, read from its constructor; as `model_class` otherwise."""
    chosen = model_class(name)
    try:
        with no_exit():
            parameters = inspect.signature(chosen).parameters.values()
    except Exception as error:
        raise UnknownModel(f"the constructor of '{name}' cannot be read: {reason_of(error)}") from error
    return {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}
