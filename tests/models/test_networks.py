"""The networks' shapes, and models by name."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from caviar.models.cnn import CNN
from caviar.models.constructor import make_model, read_constructor
from caviar.models.errors import UnknownModel
from caviar.models.mlp import MLP
from caviar.models.registry import hyperparameters, model_class


@pytest.mark.parametrize("layers", [1, 2, 4])
@pytest.mark.parametrize("network", [MLP, CNN])
@pytest.mark.parametrize("sample", [(1, 8, 8), (3, 32, 32), (1, 28, 28)])
def test_examples_become_logits(network: type[MLP | CNN], layers: int, sample: tuple[int, ...]) -> None:
    model = network(sample, 7, layers=layers, hidden_units=50, activation="gelu", dropout=0.5)
    assert model(torch.zeros(3, *sample)).shape == (3, 7)


def test_layers_and_units_are_those_asked_for() -> None:
    linear = [m for m in MLP((1, 8, 8), 10, hidden_units=70, layers=3).modules() if isinstance(m, nn.Linear)]
    assert [(m.in_features, m.out_features) for m in linear] == [(64, 70), (70, 70), (70, 70), (70, 10)]
    convolutions = [m for m in CNN((1, 28, 28), 10, layers=3).modules() if isinstance(m, nn.Conv2d)]
    assert [m.out_channels for m in convolutions] == [16, 32, 64]


def test_hyperparameters_come_from_the_constructor() -> None:
    assert hyperparameters("mlp") == {"hidden_units": 64, "layers": 2, "activation": "relu", "dropout": 0.0}
    assert model_class("caviar.models.mlp:MLP") is MLP


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("mpl", "did you mean mlp"),
        ("resnet", "there are: mlp, cnn, or give package.module:Class"),
        ("caviar.models.mlp:Nothing", "no model at 'caviar.models.mlp:Nothing'"),
        (":Net", "no model at ':Net'"),
        (".relative:Net", "no model at '.relative:Net'"),
        ("builtins:dict", "is no class of torch.nn.Module"),
        ("nowhere.at_all:Net", "no model at 'nowhere.at_all:Net'.*; give the command in the folder that has nowhere"),
        ("caviar.models.mlp:ACTIVATIONS", "is no class of torch.nn.Module"),
    ],
)
def test_unknown_models_are_refused(name: str, message: str) -> None:
    with pytest.raises(UnknownModel, match=message):
        model_class(name)


class ByName(nn.Module):
    def __init__(self, width: int, *, outputs: int, sample: tuple[int, ...], depth: int = 1) -> None:
        super().__init__()
        self.given = (width, outputs, sample, depth)


class ByPosition(nn.Module):
    def __init__(self, shape: tuple[int, ...], n: int, *, width: int = 3) -> None:
        super().__init__()
        self.given = (shape, n, width)


class Fixed(nn.Module):
    def __init__(self, width: int = 4, *layers: int, **others: int) -> None:
        super().__init__()
        self.given = (width, layers, others)


class PassesOn(ByPosition):
    def __init__(self, *arguments: Any, **others: Any) -> None:
        super().__init__(*arguments, **others)


class TwoRequired(nn.Module):
    def __init__(self, width: int, depth: int) -> None:
        super().__init__()
        self.given = (width, depth)


@pytest.mark.parametrize(
    ("model", "hyperparameters", "given"),
    [
        (ByName, {"width": 5}, (5, 7, (1, 8, 8), 1)),
        (ByName, {"width": 5, "depth": 2}, (5, 7, (1, 8, 8), 2)),
        (ByPosition, {}, ((1, 8, 8), 7, 3)),
        (ByPosition, {"width": 4}, ((1, 8, 8), 7, 4)),
        (Fixed, {"width": 9}, (9, (), {})),
        (PassesOn, {"width": 9}, ((1, 8, 8), 7, 9)),
        (TwoRequired, {"width": 9, "depth": 2}, (9, 2)),
    ],
)
def test_a_constructor_gets_what_it_names(model: Any, hyperparameters: Any, given: Any) -> None:
    assert make_model(model, (1, 8, 8), 7, **hyperparameters).given == given


@pytest.mark.parametrize(
    ("model", "defaults", "required"),
    [
        (ByName, {"depth": 1}, ("width",)),
        (ByPosition, {"width": 3}, ()),
        (Fixed, {"width": 4}, ()),
        (TwoRequired, {}, ("width", "depth")),
        (CNN, {"hidden_units": 64, "layers": 2, "channels": 16, "activation": "relu", "dropout": 0.0}, ()),
    ],
)
def test_all_other_parameters_are_hyperparameters(model: Any, defaults: Any, required: Any) -> None:
    constructor = read_constructor(model)
    assert (constructor.defaults, constructor.required) == (defaults, required)
