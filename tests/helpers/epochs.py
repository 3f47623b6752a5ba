"""Epochs that nobody trained."""

from __future__ import annotations

from collections.abc import Iterable

from caviar.epoch import BUILT_IN, Epoch


def measured(
    epoch: int, training_loss: float, validation_loss: float, accuracy: float, learning_rate: float, seconds: float
) -> Epoch:
    """An epoch as Caviar's own loop measures one."""
    values = (training_loss, validation_loss, accuracy, learning_rate)
    return Epoch(epoch, dict(zip(BUILT_IN, values, strict=True)), seconds)


def figures(epochs: Iterable[Epoch]) -> list[tuple[float, ...]]:
    """The number of each epoch and all that Caviar's own loop measured in it, without its time."""
    return [(epoch.epoch, *(epoch.metrics[name] for name in BUILT_IN)) for epoch in epochs]
