"""A network whose training waits more than it computes, so that many workers share two cores as if they were many."""

from __future__ import annotations

import time

from torch import Tensor

from caviar.models.mlp import MLP

_SECONDS = 0.015  # of each batch; an epoch of the study has three


class SlowNet(MLP):
    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            time.sleep(_SECONDS)
        return super().forward(x)
