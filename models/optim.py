"""Optimizers and the learning-rate schedule, by the formulas of the course that the method follows.

Source: Andrew Ng, Improving Deep Neural Networks, weeks 2 and 3.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import nn

OPTIMIZERS = ("sgd", "adam")


@dataclass(frozen=True)
class Settings:
    """The hyperparameters of a training, apart from those of the network.

    Args:
        learning_rate: α of the first epoch; 0 or more.
        batch_size: number of examples in a mini-batch; at least 1.
        decay: α of epoch e, counted from 0, is α / (1 + decay * e).
        optimizer: `sgd`, gradient descent with momentum, or `adam`.
        momentum: β of gradient descent: v = β v + (1 - β) g, an exponentially weighted average of the gradients,
            so that α keeps its meaning for every β. torch.optim.SGD(momentum=β, dampening=β) is this formula.
        beta1: β1 of Adam; 0 to below 1.
        beta2: β2 of Adam; 0 to below 1.
        epsilon: ε of Adam; 0 or more.
        weight_decay: factor of the L2 penalty; 0 for none.

    Raises:
        ValueError: a value is not of its type or range.
    """

    learning_rate: float = 0.1
    batch_size: int = 64
    decay: float = 0.0
    optimizer: str = "sgd"
    momentum: float = 0.9
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        if self.optimizer not in OPTIMIZERS:
            raise ValueError(f"optimizer must be one of {', '.join(OPTIMIZERS)}; given {self.optimizer!r}")
        if not isinstance(self.batch_size, int) or self.batch_size < 1:
            raise ValueError(f"batch_size must be an integer of 1 or more; given {self.batch_size!r}")
        for name, low, high in _RANGES:
            value = getattr(self, name)
            if not isinstance(value, int | float) or not low <= value < high:
                raise ValueError(f"{name} must be a number from {low:g} to below {high:g}; given {value!r}")


_LARGEST = 3.4e38  # that a parameter's float32 can hold; beyond it is infinite
_RANGES = (
    ("learning_rate", 0.0, _LARGEST), ("decay", 0.0, _LARGEST), ("momentum", 0.0, 1.0), ("beta1", 0.0, 1.0),
    ("beta2", 0.0, 1.0), ("epsilon", 0.0, _LARGEST), ("weight_decay", 0.0, _LARGEST),
)  # fmt: skip
SETTINGS = {field.name: field.default for field in fields(Settings)}


def learning_rate(settings: Settings, epoch: int) -> float:
    """Return the learning rate of an epoch, counted from 0: α / (1 + decay * epoch)."""
    return settings.learning_rate / (1 + settings.decay * epoch)


def make_optimizer(parameters: Iterable[nn.Parameter], settings: Settings) -> torch.optim.Optimizer:
    """Return the optimizer that `settings` name, in torch's fused form, one call for all parameters."""
    common: dict[str, Any] = {"lr": settings.learning_rate, "weight_decay": settings.weight_decay, "fused": True}
    if settings.optimizer == "adam":
        return torch.optim.Adam(parameters, betas=(settings.beta1, settings.beta2), eps=settings.epsilon, **common)
    return torch.optim.SGD(parameters, momentum=settings.momentum, dampening=settings.momentum, **common)
