"""A multi-layer perceptron."""

from __future__ import annotations

from math import prod

import torch
from torch import Tensor, nn

from caviar.limits import LAYERS, UNITS

ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "gelu": nn.GELU, "tanh": nn.Tanh}


def check_count(name: str, value: int, most: int) -> None:
    """Check a number of layers, units or channels."""
    if not isinstance(value, int) or not 1 <= value <= most:
        raise ValueError(f"{name} must be an integer from 1 to {most:,}; given {value!r}")


def check_architecture(layers: int, hidden_units: int, activation: str) -> None:
    """Check the numbers of layers and units, and the activation; torch itself checks the dropout."""
    check_count("layers", layers, LAYERS)
    check_count("hidden_units", hidden_units, UNITS)
    if activation not in ACTIVATIONS:
        raise ValueError(f"activation must be one of {', '.join(ACTIVATIONS)}; given '{activation}'")


class Dropout(nn.Dropout):
    """Dropout that draws as torch does on a CPU, on every device: on a GPU torch draws numbers that a cohort cannot."""

    def forward(self, x: Tensor) -> Tensor:
        """Zero a share `p` of a tensor of any shape while training, and divide the rest by 1 - p."""
        if not self.training:
            return x
        kept = 1 - self.p
        return x * (torch.empty_like(x).bernoulli_(kept).div_(kept) if kept else 0.0)


class MLP(nn.Module):
    """`layers` hidden layers of `hidden_units` each, and a linear output.

    Args:
        sample: shape of one example, such as (1, 28, 28); it is flattened.
        classes: number of classes.
        hidden_units: n[l], the number of units in every hidden layer; 1 to 1,000,000.
        layers: L, the number of hidden layers; 1 to 1,000.
        activation: `relu`, `gelu` or `tanh`.
        dropout: share of each hidden layer's outputs that is dropped while training, 0 to 1.

    Raises:
        ValueError: there is no such number of layers or units, or no such activation.
    """

    def __init__(
        self,
        sample: tuple[int, ...],
        classes: int,
        *,
        hidden_units: int = 64,
        layers: int = 2,
        activation: str = "relu",
        dropout: float = 0.0,
    ) -> None:
        check_architecture(layers, hidden_units, activation)
        super().__init__()
        modules: list[nn.Module] = [nn.Flatten()]
        width = prod(sample)
        for _ in range(layers):
            modules += [nn.Linear(width, hidden_units), ACTIVATIONS[activation]()]
            if dropout:
                modules.append(Dropout(dropout))
            width = hidden_units
        self.network = nn.Sequential(*modules, nn.Linear(width, classes))

    def forward(self, x: Tensor) -> Tensor:
        """Map examples (batch, *sample) to logits (batch, classes)."""
        return self.network(x)  # type: ignore[no-any-return]
