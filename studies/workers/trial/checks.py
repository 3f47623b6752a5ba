"""Check a study's definition against the code that trains it: the network, the function or the program."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from typing import Any

from caviar.foreign_code import no_exit, reason_of
from caviar.limits import PARAMETERS
from caviar.models.constructor import OUTPUTS, SAMPLE
from caviar.models.data import shape
from caviar.models.functions import load_function
from caviar.models.optim import SETTINGS
from caviar.models.registry import constructor_of
from caviar.studies.definition import Study
from caviar.studies.errors import DefinitionError
from caviar.studies.search.optuna_classes import PREFIX, check_installed
from caviar.studies.space.base import Value
from caviar.studies.way import Way
from caviar.studies.workers.trial.build import split
from caviar.studies.workers.user.program import check_command
from caviar.suggestions import did_you_mean

_ONLY_FOR = {"momentum": "sgd", "beta1": "adam", "beta2": "adam", "epsilon": "adam"}


def check(study: Study) -> None:
    """Check that the study's model and data exist and take every value that the search may try, or that the function or
    the program exists which trains a trial, and that what its search needs is installed."""
    _check_search(study)
    with redirect_stdout(sys.stderr):  # a model may print; stdout is for results
        if study.way is Way.MODEL:
            _check_built_in(study)
        elif study.command is not None:
            check_command(study)
        else:
            for path in filter(None, (study.entry, study.test)):
                _check_takes_trial(load_function(path), path)


def _check_search(study: Study) -> None:
    """Check that those of Optuna's samplers and pruners can be used here that the study names."""
    if study.strategy.startswith(PREFIX):
        check_installed(study.strategy)
        from caviar.studies.search.optuna_samplers import rehearse

        rehearse(study)
    if study.pruner.startswith(PREFIX):
        from caviar.studies.search.pruner_rehearsal import rehearse as rehearse_pruner

        rehearse_pruner(study.pruner, study.epochs)


def _check_built_in(study: Study) -> None:
    sample, outputs, _ = shape(study.built_in.data)
    _check_names(study)
    scales = study.scales()
    defaults = {name: scale.default for name, scale in scales.items()}
    _try(study, defaults, sample, outputs, "the defaults")
    for name, scale in scales.items():
        for value in scale.grid(2):
            _try(study, {**defaults, name: value}, sample, outputs, f"{name} = {value!r}")


def check_values(study: Study, values: Mapping[str, Value], changed: Iterable[str]) -> None:
    """Check that a model can be trained with these values, and that those of them that were changed have an effect."""
    if study.way is not Way.MODEL:  # the user's function says what it makes of them
        return
    of_model = _of_model(study)
    optimizer = {**SETTINGS, **study.fixed, **values}["optimizer"]
    changed = list(changed)
    for name in changed:
        if name not in SETTINGS and name not in of_model:
            raise DefinitionError(
                f"model '{study.model}' has no hyperparameter '{name}'; "
                f"of the model: {', '.join(of_model)}; of its training: {', '.join(SETTINGS)}"
            )
        if _ONLY_FOR.get(name, optimizer) != optimizer:
            raise DefinitionError(f"'{name}' has no effect with the optimizer '{optimizer}'")
    with redirect_stdout(sys.stderr):
        if ":" in study.built_in.data and all(name in SETTINGS for name in changed):
            with _refusing(study, "these settings"):
                split(study, values)  # the network stays as it is: its data need not be loaded
        else:
            _try(study, values, *shape(study.built_in.data)[:2], "these settings")


def _check_names(study: Study) -> None:
    of_model = _of_model(study)
    known = [*SETTINGS, *of_model]
    searched = study.scales().get("optimizer")
    optimizers = searched.grid(2) if searched else [study.fixed.get("optimizer", SETTINGS["optimizer"])]
    for name in [*study.scales(), *study.fixed]:
        if name not in known:
            raise DefinitionError(
                f"study '{study.name}': model '{study.model}' has no hyperparameter '{name}'; "
                f"{did_you_mean(name, known)}"
                f"of the model: {', '.join(of_model)}; of its training: {', '.join(SETTINGS)}"
            )
        if name in _ONLY_FOR and _ONLY_FOR[name] not in optimizers:
            raise DefinitionError(
                f"study '{study.name}': '{name}' has no effect with the optimizer '{optimizers[0]}'; "
                f"leave it out, or fix optimizer to '{_ONLY_FOR[name]}'"
            )


def _of_model(study: Study) -> list[str]:
    """Return the hyperparameters of a study's model, in which each that has no default needs a value."""
    constructor = constructor_of(study.built_in.model)
    for name in constructor.required:
        if name not in study.scales() and name not in study.fixed:
            raise DefinitionError(
                f"study '{study.name}': model '{study.model}' needs a value for '{name}': search it in a tier, or give "
                f"it in fixed; the shape of an example is called {' or '.join(SAMPLE)}, the number of outputs "
                f"{' or '.join(OUTPUTS)}"
            )
    return [*constructor.defaults, *constructor.required]


def _try(study: Study, values: Mapping[str, Value], sample: tuple[int, ...], outputs: int, what: str) -> None:
    """Build the network, first on torch's meta device, which has shapes and no numbers: quick, however large it is."""
    import torch

    with _refusing(study, what), no_exit():
        build, _ = split(study, values)
        try:
            with torch.device("meta"):
                model = build(sample, outputs)
        except Exception:  # noqa: BLE001 - a sound constructor may ask a tensor for its numbers: again, with them
            model = build(sample, outputs)
        _check_model(model)


@contextmanager
def _refusing(study: Study, what: str) -> Iterator[None]:
    """Turn whatever is raised into the error that the study's values cannot be trained."""
    try:
        yield
    except Exception as error:
        raise DefinitionError(f"study '{study.name}': {what} cannot be trained: {reason_of(error)}") from error


def _check_model(model: object) -> None:
    """Check that what a constructor made is a network with something to train, and not too much of it."""
    from torch import nn
    from torch.nn.parameter import is_lazy

    if not isinstance(model, nn.Module):  # the class may make anything in its __new__
        raise TypeError(f"its class makes a value of type {type(model).__name__}, no torch.nn.Module")
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    size = sum(parameter.numel() for parameter in parameters if not is_lazy(parameter))
    if not size and not any(map(is_lazy, parameters)):
        raise ValueError("it has no parameters to train")
    if size > PARAMETERS:
        raise ValueError(f"it has {size:,} parameters, more than {PARAMETERS:,}")


def _check_takes_trial(function: Callable[..., Any], path: str) -> None:
    if inspect.isclass(function):
        raise DefinitionError(f"'{path}' is a class; give the path of a function, or of an object that can be called")
    if inspect.iscoroutinefunction(function):
        raise DefinitionError(f"'{path}' is an async function, whose call trains nothing; give one without async")
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise DefinitionError(f"'{path}' is a generator, whose call trains nothing; give a function without yield")
    try:
        inspect.signature(function).bind("trial")
    except TypeError as error:
        raise DefinitionError(
            f"'{path}' cannot be called with a trial alone: {error}; define it with that parameter, as in "
            f"def {path.rpartition(':')[2]}(trial)"
        ) from None
    except ValueError:  # Python cannot tell, as of some functions in C
        return
