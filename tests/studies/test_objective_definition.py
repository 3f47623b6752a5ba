"""Studies of an objective: what a definition may say, and what the objective says itself."""

from __future__ import annotations

import functools
from typing import Any

import pytest

from caviar.errors import CaviarError
from caviar.studies.definition import Study, change, from_body, to_body
from caviar.studies.errors import DefinitionError
from caviar.studies.lifecycle.revision import compare
from caviar.studies.space.scales import Log
from caviar.studies.space.search_space import SearchSpace
from caviar.studies.workers.trial.checks import check
from tests.helpers.objectives import objective_study
from tests.helpers.studies import small_study


def test_the_tiers_of_an_objective_are_names() -> None:
    study = objective_study("silent", tiers=[["lr"], ("units", "layers")])
    assert [list(tier) for tier in study.tiers] == [["lr"], ["units", "layers"]]
    assert study.by_trials
    assert study.scales() == study.distributions() == {}
    assert (study.metric, study.epochs, study.planned_epochs(3)) == ("value", None, None)
    assert from_body(to_body(study)) == study
    assert objective_study("silent", tiers=()).by_trials
    assert not small_study().by_trials
    assert Study(name="o", objective="a:b", metric="val_loss", budget=1).direction == "minimize"


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"tiers": [{"lr": Log(1e-3, 1, default=0.1)}]}, "give tiers as lists of names, such as [['lr'], ['units']]"),
        ({"tiers": ["lr"]}, "tiers: give a mapping of names to scales, or a list of names; given 'lr'"),
        ({"tiers": [["lr", 3]]}, "or a list of names; given ['lr', 3]"),
        ({"tiers": [["lr", "lr"]]}, "'lr' stands twice in a tier"),
        ({"tiers": [["lr"], ["lr"]]}, "'lr' stands twice: in two tiers"),
        ({"tiers": [["lr"], []]}, "tier 2 is empty"),
        ({"tiers": [["a\nb"]]}, "has the control character"),
        ({"tiers": [["a"], ["b"], ["c"], ["d"], ["e"]]}, "tiers: give 4 at most"),
        ({"tiers": [["a"], ["b"]], "budget": 2}, "a budget of 2 is too small for 3 tiers"),
        ({"strategy": "grid"}, "the strategy grid needs the ranges before the first trial"),
        ({"fixed": {"a": 1}}, "fixed is not for an objective="),
        ({"prior": [{"values": {}, "loss": 1}]}, "cannot begin with the results of an earlier study"),
        ({"direction": "up"}, "give 'maximize' or 'minimize'"),
        ({"metric": "accuracy"}, "accuracy is something to maximize, not to minimize"),
        ({"objective": "tune.py"}, "objective is 'tune.py'; give the path of a function, package.module:function"),
        ({"data": "digits"}, "objective brings data of its own"),
        ({"train": "a:b"}, "give one of model, train, objective, command"),
        ({"gpus": 2}, "gpus is for a train= function"),
        ({"test": "a:b"}, "test is for a train= function"),
        ({"epochs": 0}, "epochs: give 1 or more"),
    ],
)
def test_what_an_objective_says_itself_is_refused(fields: dict[str, Any], told: str) -> None:
    with pytest.raises(DefinitionError) as refused:
        from_body({**to_body(objective_study("silent")), **fields})
    assert told in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"tiers": [["learning_rate"]]}, "tiers has names without scales; give each a scale"),
        ({"tiers": [{"learning_rate": None}]}, "only an objective= says the ranges itself, not a model="),
        ({"tiers": ()}, "tiers: give 1 or more"),
        ({"epochs": None}, "epochs: it is missing"),
    ],
)
def test_all_others_need_scales_and_epochs(fields: dict[str, Any], told: str) -> None:
    with pytest.raises(DefinitionError, match="study 'small'") as refused:
        from_body({**to_body(small_study()), **fields})
    assert told in str(refused.value)


def test_scales_and_names_are_not_mixed() -> None:
    with pytest.raises(DefinitionError, match="some hyperparameters have a scale and others have none"):
        SearchSpace(budget=8, tiers=({"a": Log(1e-3, 1, default=0.1), "b": None},))


def test_a_direction_must_be_given() -> None:
    with pytest.raises(DefinitionError, match="the name of the metric 'value' does not say what is better"):
        Study(name="o", objective="a:b", budget=1)


def test_other_tiers_are_a_comparable_change() -> None:
    before = objective_study("silent", tiers=[["lr"]])
    revision = compare(before, change(before, tiers=[["units"], ["lr"]]))
    assert revision.comparable == ["tiers: lr before, units; lr now"]
    assert compare(before, change(before, objective="a:b")).refused == [
        "objective: tests.helpers.objectives:silent before, a:b now"
    ]


class Callable_:
    def __call__(self, trial: object) -> float:
        return 1.0


def sound(trial: object, data: int = 3) -> float:
    return 1.0


def two(trial: object, data: int) -> float:
    return 1.0


def none() -> float:
    return 1.0


def by_name(*, trial: object) -> float:
    return 1.0


async def later(trial: object) -> float:
    return 1.0


instance, bound, partial, number = Callable_(), Callable_().__call__, functools.partial(two, data=1), 3


@pytest.mark.parametrize("name", ["sound", "instance", "bound", "partial"])
def test_whatever_takes_a_trial_is_an_objective(name: str) -> None:
    check(objective_study("silent", objective=f"{__name__}:{name}"))


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("two", "cannot be called with a trial alone: missing a required argument: 'data'"),
        ("none", "cannot be called with a trial alone: too many positional arguments"),
        ("by_name", "cannot be called with a trial alone"),
        ("later", "is an async function, whose call trains nothing"),
        ("Callable_", "is a class; give the path of a function"),
        ("number", "is no function: 3"),
        ("nobody", "no function at"),
    ],
)
def test_what_cannot_be_called_with_a_trial_is_refused(name: str, told: str) -> None:
    with pytest.raises(CaviarError) as refused:
        check(objective_study("silent", objective=f"{__name__}:{name}"))
    assert told in str(refused.value)


def test_an_objective_whose_module_is_missing_or_broken() -> None:
    with pytest.raises(CaviarError, match="no function at 'nowhere:objective'"):
        check(objective_study("silent", objective="nowhere:objective"))


def no_trial() -> None:
    """A function that takes nothing."""


@pytest.mark.parametrize("field", ["train", "test"])
def test_a_function_of_a_train_study_has_to_take_a_trial(field: str) -> None:
    takes_one = "tests.helpers.trainings:without_state"
    paths = {"train": takes_one, "test": takes_one, field: f"{__name__}:no_trial"}
    study = Study(
        name="own", metric="rmse", direction="minimize", epochs=1, budget=1,
        tiers=({"lr": Log(1e-3, 1, default=0.1)},), **paths,
    )  # fmt: skip
    with pytest.raises(DefinitionError, match="no_trial' cannot be called with a trial alone"):
        check(study)
