"""A network with random numbers of its own that no state has."""

from __future__ import annotations

import torch
from torch import Tensor

from caviar.models.mlp import MLP


class RandomNet(MLP):
    def __init__(self, sample: tuple[int, ...], classes: int, *, hidden_units: int = 64, layers: int = 2) -> None:
        super().__init__(sample, classes, hidden_units=hidden_units, layers=layers)
        self.register_buffer("order", torch.randperm(sample[-1] * sample[-2]), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.flatten(1)[:, self.order].reshape(x.shape))
