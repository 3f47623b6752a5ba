"""What `trial.keep` gets has to be readable by another process, whenever it is saved."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch

from caviar.models.checkpoint import from_bytes, to_bytes
from caviar.studies.errors import TrialMisused
from caviar.studies.workers.user.parts import Parts


class Stopping:
    """Early stopping, whose best value is None until there is one."""

    def __init__(self) -> None:
        self.best: Any = None

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best, "seen": [(1, 0.5)]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.best = state["best"]


def test_a_value_that_becomes_unreadable_in_a_later_epoch_is_named() -> None:
    parts, stopping = Parts(None), Stopping()
    parts.add({"net": torch.nn.Linear(1, 1), "stopping": stopping})
    parts.states()
    stopping.best = np.float64(0.5)

    with pytest.raises(TrialMisused, match=r"the state stopping\['best'\] is a float64, which would have to be"):
        parts.states()


@pytest.mark.parametrize(
    "value",
    [None, 1.5, "text", b"bytes", [1, (2, None)], {1: torch.ones(2)}, Counter([3]), torch.nn.Parameter(torch.ones(1))],
)
def test_plain_values_and_tensors_are_saved(value: Any) -> None:
    parts, stopping = Parts(None), Stopping()
    parts.add({"stopping": stopping})
    stopping.best = value

    read = from_bytes(to_bytes({"epoch": 1, "parts": parts.states()}), torch.device("cpu"))
    assert str(read["parts"]["stopping"]["best"]) == str(value)


@pytest.mark.parametrize(
    "value", [np.float64(1), {np.int64(1): 2}, [np.ones(1)], {"rule": int.__add__}, (1, {object()})]
)
def test_what_would_have_to_be_unpickled_is_refused(value: Any) -> None:
    parts, stopping = Parts(None), Stopping()
    parts.add({"stopping": stopping})
    stopping.best = value

    with pytest.raises(TrialMisused, match=r"the state stopping\['best'\]"):
        parts.states()
