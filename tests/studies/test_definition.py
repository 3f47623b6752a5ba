"""Definitions: validated, comparable, and the same after a journey through JSON."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import nn

from caviar.studies.definition import change, from_body, to_body
from caviar.studies.errors import DefinitionError
from caviar.studies.lifecycle.loader import catalog_names, select_study
from caviar.studies.space.scales import Choice, Grid, Linear, Log, LogOneMinus
from caviar.studies.workers.trial.checks import check
from tests.helpers.studies import TIERS, small_study


def test_a_definition_survives_json() -> None:
    study = small_study(fixed={"optimizer": "sgd", "activation": "gelu", "dropout": 0.1})
    assert from_body(to_body(study)) == study


def test_a_definition_cannot_be_changed_in_place() -> None:
    with pytest.raises(ValidationError):
        small_study().budget = 3  # type: ignore[misc]


@pytest.mark.parametrize("name", catalog_names())
def test_every_study_of_the_catalog_is_sound(name: str) -> None:
    study = select_study(name)
    assert study.name == name
    check(study)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"budget": 2}, "a budget of 2 is too small for 3 tiers"),
        ({"budget": 0}, "budget: give 1 or more; given 0"),
        ({"metric": "loss"}, "validation_loss is something to minimize, not to maximize"),
        ({"direction": "minimize"}, "accuracy is something to maximize, not to minimize"),
        ({"metric": " "}, "the metric has no name"),
        ({"metric": "a\nb"}, "has the control character"),
        ({"metric": "m" * 101}, "has 101 characters, more than 100"),
        ({"metric": "rmse"}, "does not measure 'rmse'; metric can be accuracy, validation_loss, training_loss"),
        ({"tiers": [{}]}, "tier 1 is empty"),
        ({"tiers": []}, "tiers: give 1 or more"),
        ({"name": "a b"}, "name: give letters, digits and . _ -, at most 100"),
        ({"strategy": "best"}, "study 'small': no strategy 'best'; there are: tiered, classic, random, grid, tpe, gp"),
        ({"strategy": "teired"}, "no strategy 'teired'; did you mean tiered? there are"),
        (
            {"pruner": "meadian"},
            "study 'small': no pruner 'meadian'; did you mean median? there are: pace",
        ),
        ({"pruner": "PercentilePruner"}, "missing 1 required positional argument: 'percentile'"),
        ({"fixed": {"learning_rate": 1.0}}, "'learning_rate' stands twice"),
        ({"fixed": {"weight_decay": float("nan")}}, "given nan"),
        ({"colour": "red"}, "colour: there is no such field"),
    ],
)
def test_a_bad_definition_says_what_is_wrong(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(DefinitionError) as caught:
        change(small_study(), **fields)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("metric", "name", "direction"),
    [
        ("accuracy", "accuracy", "maximize"),
        ("loss", "validation_loss", "minimize"),
        ("validation_loss", "validation_loss", "minimize"),
        ("training_loss", "training_loss", "minimize"),
    ],
)
def test_the_name_of_the_metric_says_what_is_better(metric: str, name: str, direction: str) -> None:
    study = small_study(metric=metric)
    assert (study.metric, study.direction) == (name, direction)
    assert from_body(to_body(study)) == study


def test_what_a_metric_can_be_is_known_of_a_models_alone() -> None:
    """A training of one's own may well measure an accuracy in percent."""
    own = small_study(model=None, data=None, train="tune:train")
    assert (own.bounds, own.is_possible(93.5), small_study().is_possible(93.5)) == ((-math.inf, math.inf), True, False)
    assert small_study(metric="loss").bounds == (0.0, math.inf)


def test_a_name_that_does_not_say_what_is_better_needs_a_direction() -> None:
    with pytest.raises(DefinitionError, match="does not say what is better: give direction='minimize' or"):
        small_study(metric="rmse")


@pytest.mark.parametrize(
    ("tiers", "fixed", "message"),
    [
        (({"learnin_rate": TIERS[0]["learning_rate"]},), {}, "did you mean learning_rate?"),
        (({"beta1": LogOneMinus(0.9, 0.99, default=0.9)},), {}, "'beta1' has no effect with the optimizer 'sgd'"),
        (TIERS, {"optimizer": "adam"}, "'momentum' has no effect with the optimizer 'adam'"),
        (TIERS[:1], {"optimizer": "lion"}, "optimizer must be one of sgd, adam; given 'lion'"),
        (({"optimizer": Choice("sgd", "lion", default="sgd")},), {}, "optimizer = 'lion' cannot be trained"),
        (({"momentum": Linear(0.5, 3.0, default=0.9)},), {}, "momentum = 3.0 cannot be trained"),
        (({"batch_size": Log(1.0, 9.0, default=2.0)},), {}, "batch_size must be an integer"),
        (
            ({"hidden_units": Log(50, 100, default=64)},),
            {},
            "the defaults cannot be trained: ValueError: hidden_units must be an integer",
        ),
        (
            ({"layers": Grid(0, 1, default=1)},),
            {},
            "layers = 0 cannot be trained: ValueError: layers must be an integer from 1",
        ),
        (TIERS, {"dropout": 2.0}, "the defaults cannot be trained: ValueError: dropout probability"),
        (TIERS, {"activation": "foo"}, "activation must be one of relu, gelu, tanh; given 'foo'"),
        (TIERS[:1], {"weight_decay": -1.0}, "weight_decay must be a number from 0 to below 3.4e.38; given -1.0"),
        (TIERS[:1], {"weight_decay": 1e50}, "weight_decay must be a number from 0 to below 3.4e.38; given 1e.50"),
        (TIERS[:1], {"epsilon": "small", "optimizer": "adam"}, "epsilon must be a number"),
    ],
)
def test_hyperparameters_are_checked_against_the_model(tiers: Any, fixed: Any, message: str) -> None:
    with pytest.raises(DefinitionError, match=message):
        check(small_study(tiers=tiers, fixed=fixed))


class AsksATensor(nn.Module):
    """Reads numbers from a tensor while it is made, as stochastic depth does; and prints."""

    def __init__(self, sample: tuple[int, ...], classes: int) -> None:
        super().__init__()
        print("made with", [x.item() for x in torch.linspace(0, 1, 3)])
        self.out = nn.Linear(64, classes)


def test_a_model_may_read_tensors_and_print_while_it_is_made(capsys: pytest.CaptureFixture[str]) -> None:
    check(small_study(model=f"{__name__}:AsksATensor", tiers=TIERS[:1]))
    assert capsys.readouterr().out == ""


def test_what_one_of_the_searched_optimizers_needs_may_be_searched_too() -> None:
    both = {"optimizer": Choice("sgd", "adam", default="sgd")}
    check(small_study(tiers=(both, {"beta1": LogOneMinus(0.9, 0.99, default=0.9), "momentum": TIERS[1]["momentum"]})))


def test_values_are_read_back_from_what_optuna_keeps() -> None:
    study = small_study()
    internal = {
        "learning_rate": 0.01, "one_minus_momentum": 0.01, "hidden_units": 70.0, "log2_batch_size": 8.0,
        "layers": 3.0, "decay_or_floor": 1e-4,
    }  # fmt: skip
    assert study.values(internal) == {
        "learning_rate": 0.01, "momentum": 0.99, "hidden_units": 70, "batch_size": 256, "layers": 3, "decay": 0.0,
    }  # fmt: skip
