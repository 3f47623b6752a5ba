"""Make the training of a trial from its hyperparameters, in the way of its study."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from caviar.models.constructor import make_model
from caviar.models.functions import load_function
from caviar.models.optim import SETTINGS, Settings
from caviar.models.own_measures import own_measures
from caviar.models.registry import model_class
from caviar.models.seeding import derive
from caviar.models.training import Training, evaluate, never, trained_network
from caviar.studies.definition import Study
from caviar.studies.space.base import Value
from caviar.studies.way import Way
from caviar.studies.workers.local.devices import first_devices
from caviar.studies.workers.trial.training import Leave, TrialTraining
from caviar.studies.workers.user.command import CommandTraining, Given
from caviar.studies.workers.user.following import LeadingTraining
from caviar.studies.workers.user.group import GroupTraining
from caviar.studies.workers.user.loop_training import LoopTraining
from caviar.studies.workers.user.measuring import measure
from caviar.studies.workers.user.program import program_of
from caviar.studies.workers.user.rank_starter import RankStarter
from caviar.studies.workers.user.trial import Trial
from caviar.studies.workers.user.turns import FunctionTurns

if TYPE_CHECKING:
    import torch
    from torch import nn

    from caviar.models.data import Data, Part
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
    leave: Leave = never  # asks whether a trial is to be left while its ranks build
    write: Callable[[bytes], None] = lambda data: None  # noqa: ARG005 - takes what a command prints


def split(study: Study, values: Mapping[str, Value]) -> tuple[Callable[..., nn.Module], Settings]:
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
            bench.starter or RankStarter(), devices, state, bench.leave,
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


def measure_network(
    study: Study, number: int, values: Mapping[str, Value], data: Data, part: Part, state: Mapping[str, Any],
    leave: Callable[[], bool],
) -> dict[str, float]:  # fmt: skip
    """Return what is measured of a trial's network on a part of the data, by the state of its training.

    Raises:
        BadCheckpoint: `state` does not fit.
        Interrupted: `leave`, which is called before each batch, returned True.
    """
    build, _ = split(study, values)
    model = trained_network(build, data, derive(*seed_parts(study, number)), state)
    return evaluate(model, part, own_measures(study.loss, study.metrics, data), leave)


def assemble(
    study: Study, number: int, values: Mapping[str, Value], data: Data, state: Mapping[str, Any] | None = None,
    *, again: int | None = None,
) -> Training:  # fmt: skip
    """Return the training of a trial, which goes on from `state`, a checkpoint's.

    Its seed depends on the study's seed and the trial's number alone. `again` numbers trainings of the same trial with
    fresh seeds, which no trial has.
    """
    build, settings = split(study, values)
    measures = own_measures(study.loss, study.metrics, data)
    return Training(build, settings, data, derive(*seed_parts(study, number, again)), state, measures)


def seed_parts(study: Study, number: int, again: int | None = None) -> tuple[int | str, ...]:
    """Return what the seed of a trial's training depends on."""
    return (study.seed, "trial", number) if again is None else (study.seed, "again", number, again)
