"""A network that fails as a test asks it to, and a request to stop that comes at a given moment."""

from __future__ import annotations

import sys
from typing import Any

import torch
from sqlalchemy import Engine
from torch import Tensor, nn

from caviar.studies.space.scales import Log
from caviar.studies.workers.local.signals import Stop
from tests.helpers.workers import register

NET = "tests.helpers.faulty_net:Net"


class Net(nn.Module):
    """A linear model that fails in training: `fault` names how."""

    made = 0  # networks made since the study was registered
    faults: tuple[int, ...] = ()  # the indices of those that fail; empty for all

    def __init__(self, sample: tuple[int, ...], classes: int, *, fault: str = "none") -> None:
        super().__init__()
        self.out = nn.Linear(sample[1] * sample[2], classes)
        self.fault, self.index = fault, Net.made
        Net.made += 1

    def forward(self, x: Tensor) -> Tensor:
        if self.training and (not Net.faults or self.index in Net.faults):
            if self.fault == "raise":
                raise ValueError(f"wrong shape {tuple(x.shape)} of model {self.index}")
            if self.fault == "nul":
                raise ValueError("a \0 and a \udc80")
            if self.fault == "nan":
                return self.out(x.flatten(1)) * float("nan")
            if self.fault == "exit":
                sys.exit(0)
            if self.fault == "memory":
                raise torch.OutOfMemoryError("CUDA out of memory")
        return self.out(x.flatten(1))  # type: ignore[no-any-return]


def with_fault(engine: Engine, fault: str, *faults: int, **fields: Any) -> Any:
    """Register a study of networks that fail with `fault`: those made at the indices `faults`, or all of them."""
    Net.made, Net.faults = 0, faults
    tiers = ({"learning_rate": Log(1e-3, 1, default=0.1)},)
    return register(engine, model=NET, tiers=tiers, fixed={"fault": fault}, **fields)


class StopAfter(Stop):
    """A stop that is requested once it was looked at so many times."""

    def __init__(self, looks: int) -> None:
        self._looks = looks
        super().__init__()

    @property
    def asked(self) -> bool:
        self._looks -= 1
        return self._looks < 0
