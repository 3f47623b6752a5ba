"""Trials that a framework trains: each has to go on bit for bit behind any of its epochs, in another process."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from caviar.models.checkpoint import from_bytes, to_bytes
from caviar.models.training import never
from caviar.studies.workers.trial.training import Ended
from caviar.studies.workers.user.loop import Loop
from caviar.studies.workers.user.loop_training import LoopTraining
from caviar.studies.workers.user.trial import Trial
from caviar.studies.workers.user.turns import FunctionTurns

LAST = 4
CPU = torch.device("cpu")
Train = Callable[[Trial], None]


def open_training(train: Train, state: dict[str, Any] | None = None) -> LoopTraining:
    """Open the training of a trial of 4 epochs, which goes on from a state."""

    def make(loop: Loop) -> Trial:
        return Trial(3, {"lr": 0.03}, CPU, loop)

    return LoopTraining(FunctionTurns(train), make, (0, "trial", 3), LAST, state)


def curve(training: LoopTraining, epochs: int = LAST) -> list[dict[str, float]]:
    """Train so many epochs more, and return their metrics."""
    trained = zip(range(epochs), training.epochs(LAST, never), strict=False)
    return [dict(epoch.metrics) for _, epoch in trained]


def saved(training: LoopTraining) -> dict[str, Any]:
    """Return a training's state as another process reads it."""
    state = training.state()
    assert state is not None
    return from_bytes(to_bytes(state), CPU)


def check_resumed(train: Train) -> None:
    """Check that a trial which goes on behind any of its epochs has the curve of an undisturbed one."""
    undisturbed, _ = _trained(train)
    assert len(undisturbed) == LAST
    for at in range(1, LAST):
        before, state = _trained(train, at)
        torch.manual_seed(12345)  # another process
        assert before + _trained(train, state=state)[0] == undisturbed, f"behind epoch {at}"


def _trained(
    train: Train, epochs: int = LAST, state: dict[str, Any] | None = None
) -> tuple[list[dict[str, float]], dict[str, Any]]:
    """Train so many epochs, and return their metrics and the state; what the training has started has ended then."""
    training = open_training(train, state)
    try:
        return curve(training, epochs), saved(training)
    finally:
        training.close(Ended.LOST)
