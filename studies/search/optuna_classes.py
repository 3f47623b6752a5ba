"""Optuna's samplers and pruners by their names, with arguments if need be: `optuna:CmaEsSampler(popsize=8)`.

Only the public classes of `optuna.samplers` and `optuna.pruners` can be named, and only numbers, strings, True or
False be given to them: a definition may come from a database that others write to.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from caviar.calls import parse_call
from caviar.studies.errors import DefinitionError
from caviar.suggestions import did_you_mean
from caviar.text import flaw, shown

PREFIX = "optuna:"
_SCALARS = {"int": (int,), "float": (int, float), "str": (str,), "bool": (bool,), "None": (type(None),)}


class Kind(Enum):
    """What of Optuna's can be named: the module that has it, its base class there, and an example."""

    SAMPLER = "optuna.samplers", "BaseSampler", "TPESampler(multivariate=True)"
    PRUNER = "optuna.pruners", "BasePruner", "PercentilePruner(percentile=25.0)"


# Why these are none that a study can have.
_REFUSED = {
    "BruteForceSampler": "it ends the study itself once it has tried everything; take the strategy grid",
    "GridSampler": "it needs the values of its grid; take the strategy grid",
    "NSGAIIISampler": "it is for several objectives, and a study has one; take optuna:NSGAIISampler",
    "PartialFixedSampler": "it wraps another sampler; name that one, and give the study fixed={...}",
    "PatientPruner": "it wraps another pruner; name that one",
}
_NEEDS = {"CmaEsSampler": "cmaes"}  # what a class imports when it is used
_OURS = {
    "seed": "each slot has a seed of its own, which follows from the study's",
    "warn_independent_sampling": "workers leave that warning out",
    "warn_asynchronous_seeding": "Caviar gives all workers the same seed",
}


@dataclass(frozen=True)
class OptunaClass:
    """One of Optuna's classes, with the arguments that a study gives it."""

    name: str
    module: str
    arguments: Mapping[str, Any]

    def parameters(self) -> Mapping[str, inspect.Parameter]:
        """Return what its constructor takes."""
        return inspect.signature(self._type().__init__).parameters

    def make(self, of: type | None = None, /, **more: Any) -> Any:
        """Return an object of the class, with further arguments; a study's own go before them.

        Args:
            of: a subclass, instead of the class itself.
        """
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that it is experimental, for every slot
            return (of or self._type())(**{**more, **self.arguments})

    def _type(self) -> Any:
        return getattr(import_module(self.module), self.name)


def find_class(text: str, kind: Kind) -> OptunaClass:
    """Return the class that a study names, such as `optuna:TPESampler(multivariate=True)`.

    Raises:
        DefinitionError: there is no such class, no study can have it, or it takes no such arguments.
    """
    module, base, example = kind.value
    what, known = kind.name.lower(), _public(module, base)
    call = None if flaw(text) else parse_call(text.removeprefix(PREFIX))
    if call is None:
        raise DefinitionError(
            f"'{shown(text)}' is no {what}; write a class of {module}, perhaps with arguments by their names that are "
            f"numbers, strings, True or False, such as {PREFIX}{example}"
        )
    if call.name in _REFUSED and hasattr(import_module(module), call.name):
        raise DefinitionError(f"{PREFIX}{call.name} is no {what} for a study: {_REFUSED[call.name]}")
    if call.name not in known:
        raise DefinitionError(
            f"{module} has no '{shown(call.name)}'; {did_you_mean(call.name, known)}there are: {', '.join(known)}"
        )
    found = OptunaClass(call.name, module, call.arguments)
    _check_arguments(found)
    return found


def check_installed(text: str) -> None:
    """Check that what a class needs is installed here.

    Raises:
        DefinitionError: it is not.
    """
    call = parse_call(text.removeprefix(PREFIX)) if text.startswith(PREFIX) else None
    package = _NEEDS.get(call.name) if call else None
    if call and package and find_spec(package) is None:
        raise DefinitionError(
            f"{PREFIX}{call.name} needs the package {package}; install it with: pip install {package}"
        )


def _public(module: str, base: str) -> list[str]:
    """Return the names of the classes that a study can have."""
    found = vars(import_module(module))
    return sorted(
        name
        for name, each in found.items()
        if inspect.isclass(each) and issubclass(each, found[base]) and not inspect.isabstract(each)
        if not name.startswith("_") and name not in _REFUSED
    )


def _check_arguments(found: OptunaClass) -> None:
    """Check the arguments one by one, since many a class takes anything and fails when it is used."""
    taken = {name: types for name, p in found.parameters().items() if name not in _OURS and (types := _scalars(p))}
    for name, value in found.arguments.items():
        if name in _OURS and name in found.parameters():
            raise DefinitionError(f"{PREFIX}{found.name} cannot be given {name}: {_OURS[name]}")
        if name not in taken:
            raise DefinitionError(
                f"{PREFIX}{found.name} cannot be given '{shown(name)}'; {did_you_mean(name, taken)}"
                f"it takes: {', '.join(taken) or 'nothing'}"
            )
        if not any(_is(value, each) for each in taken[name]):
            raise DefinitionError(
                f"{PREFIX}{found.name}: {name} is {shown(repr(value))}; give a value of type {' or '.join(taken[name])}"
            )
    try:
        found.make()
    except (TypeError, ValueError) as error:
        reason = str(error).replace(f"{found.name}.__init__() ", "it is ")
        raise DefinitionError(f"{PREFIX}{found.name}: {reason}") from None


def _scalars(parameter: inspect.Parameter) -> list[str]:
    """Return the types of a parameter that takes nothing but scalars, by name; an empty list for any other one."""
    annotation = parameter.annotation
    names = (annotation.__name__ if isinstance(annotation, type) else str(annotation)).replace(" ", "").split("|")
    return names if set(names) <= _SCALARS.keys() else []


def _is(value: object, type_: str) -> bool:
    return isinstance(value, _SCALARS[type_]) and (type_ == "bool" or not isinstance(value, bool))
