"""Build a network and its training from hyperparameters, and check a study's definition against both."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from caviar.foreign_code import no_exit, reason_of
from caviar.limits import PARAMETERS
from caviar.models.constructor import OUTPUTS, SAMPLE, make_model
from caviar.models.data import shape
from caviar.models.functions import load_function
from caviar.models.optim import SETTINGS, Settings
from caviar.models.own_measures import own_measures
from caviar.models.registry import constructor_of, model_class
from caviar.models.seeding import derive
from caviar.models.training import Training, never
from caviar.studies.definition import Study, Way
from caviar.studies.errors import DefinitionError
from caviar.studies.space.base import Value
from caviar.studies.workers.local.devices import first_devices
from caviar.studies.workers.trial.training import TrialTraining
from caviar.studies.workers.user.command import CommandTraining, Given
from caviar.studies.workers.user.following import LeadingTraining
from caviar.studies.workers.user.group import GroupTraining
from caviar.studies.workers.user.loop_training import LoopTraining
from caviar.studies.workers.user.measuring import measure
from caviar.studies.workers.user.program import check_command, program_of
from caviar.studies.workers.user.rank_starter import RankStarter
from caviar.studies.workers.user.trial import Trial
from caviar.studies.workers.user.turns import FunctionTurns
from caviar.suggestions import did_you_mean

if TYPE_CHECKING:
    import torch
    from torch import nn

    from caviar.models.data import Data
    from caviar.studies.workers.user.caller import Caller

# Of each worker on a CPU: a curve is then the same bit for bit however many workers and cores there are, and workers
# that share a machine don't wait for one another at every step. More cores are for more workers.
THREADS = 1


class Bench(NamedTuple):
    """What a training finds on this machine."""

    device: torch.device
    data: Data | None = None  # on the device; None where the training brings its own
    caller: Caller | None = None  # the program that trains the trials itself, where one does
    is_stopping: Callable[[], bool] = never  # whether this process was asked to stop
    devices: tuple[str, ...] = ()  # of the ranks of a trial; () for the first ones of this machine
    starter: RankStarter | None = None  # of the ranks; None for one that each trial makes
    write: Callable[[bytes], None] = lambda data: None  # noqa: ARG005 - takes what a command prints


_ONLY_FOR = {"momentum": "sgd", "beta1": "adam", "beta2": "adam", "epsilon": "adam"}


def check(study: Study) -> None:
    """Check that the study's model and data exist and take every value that the search may try, or that the function or
    the program exists which trains a trial."""
    with redirect_stdout(sys.stderr):  # a model may print; stdout is for results
        if study.way is Way.MODEL:
            _check_built_in(study)
        elif study.objective is not None:
            _check_takes_trial(load_function(study.objective), study.objective)
        elif study.command is not None:
            check_command(study)
        elif study.entry is not None:
            for path in filter(None, (study.entry, study.test)):
                load_function(path)


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
                _split(study, values)  # the network stays as it is: its data need not be loaded
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
        build, _ = _split(study, values)
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


def _split(study: Study, values: Mapping[str, Value]) -> tuple[Callable[..., nn.Module], Settings]:
    """Return how the network is built, and how it is trained."""
    everything = {**study.fixed, **values}
    settings = Settings(**{n: v for n, v in everything.items() if n in SETTINGS})  # type: ignore[arg-type]
    of_model = {n: v for n, v in everything.items() if n not in SETTINGS}
    return partial(make_model, model_class(study.built_in.model), **of_model), settings


def held_in_cohort(study: Study) -> list[str]:
    """Return the hyperparameters that trials have in common which are trained as one program."""
    from caviar.models.cohort_kinds import may_differ

    if study.way is not Way.MODEL:
        return []
    return [name for name in study.scales() if name not in may_differ(model_class(study.built_in.model))]


def _check_takes_trial(objective: Callable[..., Any], path: str) -> None:
    if inspect.isclass(objective):
        raise DefinitionError(f"'{path}' is a class; give the path of a function, or of an object that can be called")
    if inspect.iscoroutinefunction(objective):
        raise DefinitionError(f"'{path}' is an async function, whose call trains nothing; give one without async")
    try:
        inspect.signature(objective).bind("trial")
    except TypeError as error:
        raise DefinitionError(f"'{path}' cannot be called with a trial alone: {error}") from None
    except ValueError:  # Python cannot tell, as of some functions in C
        return


def make_training(
    study: Study,
    number: int,
    values: Mapping[str, Value],
    bench: Bench,
    state: Mapping[str, Any] | None = None,
    *,
    again: int | None = None,
) -> TrialTraining:
    """Return the training of a trial in the way of its study; it goes on from `state`, a checkpoint's.

    Args:
        again: number of a training of the same trial with fresh seeds, which no trial has.

    Raises:
        BadCheckpoint: `state` does not fit. Whatever the user's code raises is raised, too.
    """
    if study.way is Way.MODEL:
        assert bench.data is not None, "the data of a model are loaded before"
        return assemble(study, number, values, bench.data, state, again=again)
    if study.train is not None:
        return _train_function(study.train, study, number, values, bench, state, again)
    if study.objective is not None:
        from caviar.studies.workers.user.objective import ObjectiveTraining  # these load Optuna
        from caviar.studies.workers.user.optuna_trial import lone_trial

        objective, seed = load_function(study.objective), seed_parts(study, number, again)
        lone = partial(lone_trial, study, number, values)
        return ObjectiveTraining(objective, lone, seed, study.metric, lambda: None)
    if study.command is not None:
        own_seed = derive(*seed_parts(study, number, again))
        several = bench.devices or (first_devices(bench.device.type, study.gpus) if study.gpus else ())
        devices = several or (str(bench.device),)
        given, everything = Given(number, own_seed, devices), {**study.fixed, **values}
        return CommandTraining(
            program_of(study), everything, given, is_stopping=bench.is_stopping, write=bench.write, state=state
        )
    raise NotImplementedError(study.way)


def _train_function(
    function: str, study: Study, number: int, values: Mapping[str, Value], bench: Bench,
    state: Mapping[str, Any] | None, again: int | None,
) -> TrialTraining:  # fmt: skip
    """Return the training of a trial by a function: here, or where a program calls it, or in several processes."""
    everything, seed, caller = {**study.fixed, **values}, seed_parts(study, number, again), bench.caller
    if caller and caller.ranks:
        turns = caller.turns()
        return LeadingTraining(caller.ranks, turns, number, everything, bench.device, seed, study.last_epoch, state)
    if study.gpus:
        devices = bench.devices or first_devices(bench.device.type, study.gpus)
        return GroupTraining(
            bench.starter or RankStarter(), devices, state,
            function=function, number=number, values=everything, seed=seed, last=study.last_epoch, threads=THREADS,
        )  # fmt: skip
    trial = partial(Trial, number, everything, bench.device)
    own_turns = caller.turns() if caller else FunctionTurns(load_function(function))
    return LoopTraining(own_turns, trial, seed, study.last_epoch, state)


def measure_trial(
    study: Study, number: int, values: Mapping[str, Value], bench: Bench, state: Mapping[str, Any]
) -> dict[str, float]:
    """Return what the study's `test=` function measures of a trial that is trained, by its state.

    Raises:
        BadCheckpoint: `state` does not fit. Whatever the function raises is raised, too.
    """
    assert study.test is not None, "the study has a test= function"
    trial = partial(Trial, number, {**study.fixed, **values}, bench.device)
    return measure(load_function(study.test), trial, seed_parts(study, number, None), state)


def assemble(
    study: Study, number: int, values: Mapping[str, Value], data: Data, state: Mapping[str, Any] | None = None,
    *, again: int | None = None,
) -> Training:  # fmt: skip
    """Return the training of a trial, which goes on from `state`, a checkpoint's.

    Its seed depends on the study's seed and the trial's number alone. `again` numbers trainings of the same trial with
    fresh seeds, which no trial has.
    """
    build, settings = _split(study, values)
    measures = own_measures(study.loss, study.metrics, data)
    return Training(build, settings, data, derive(*seed_parts(study, number, again)), state, measures)


def seed_parts(study: Study, number: int, again: int | None = None) -> tuple[int | str, ...]:
    """Return what the seed of a trial's training depends on."""
    return (study.seed, "trial", number) if again is None else (study.seed, "again", number, again)
