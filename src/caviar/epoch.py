"""One epoch of training: the record that models produce and storage keeps."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Epoch:
    """The result of one epoch of one trial.

    Attributes:
        epoch: its number; 1 is the first.
        training_loss: mean cross-entropy per training example, in nats.
        validation_loss: mean cross-entropy per validation example, in nats.
        accuracy: share of the validation examples that are classified correctly, 0 to 1.
        learning_rate: the learning rate α that the epoch was trained with.
        seconds: wall-clock time that the epoch took.
    """

    epoch: int
    training_loss: float
    validation_loss: float
    accuracy: float
    learning_rate: float
    seconds: float

    @property
    def is_finite(self) -> bool:
        """Whether both losses are; else the training diverged."""
        return math.isfinite(self.training_loss) and math.isfinite(self.validation_loss)

    def value(self, metric: str) -> float:
        """Return a study's metric, `accuracy` or `loss`, of the validation set after this epoch."""
        return self.accuracy if metric == "accuracy" else self.validation_loss
