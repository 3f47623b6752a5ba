"""The networks' shapes, and models by name."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from caviar.models.cnn import CNN
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
