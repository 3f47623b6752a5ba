"""What is measured of a network: the loss that it is trained by, the accuracy of classes, and metrics of the user's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor
from torch.nn.functional import cross_entropy, mse_loss

from caviar.epoch import ACCURACY
from caviar.foreign_code import no_exit, reason_of
from caviar.models.errors import BadMeasure
from caviar.models.own_data import is_class
from caviar.text import quoted

Loss = Callable[[Tensor, Tensor], Tensor]  # the mean over the examples, from their outputs and targets
Metric = Callable[[Tensor, Tensor], Any]  # a number, from all validation examples' outputs and targets

LOSS = "loss"


def classification_loss(outputs: Tensor, y: Tensor) -> Tensor:
    """Return the mean cross-entropy of scores of the classes, in nats."""
    return cross_entropy(outputs, y)


def regression_loss(outputs: Tensor, y: Tensor) -> Tensor:
    """Return the mean squared error of outputs, which must have the shape of their targets."""
    if outputs.shape != y.shape:
        raise BadMeasure(f"the network returns {tuple(outputs.shape)} where the targets are {tuple(y.shape)}")
    return mse_loss(outputs, y)


def default_loss(y: Tensor) -> Loss:
    """Return the loss of a study that names none: cross-entropy of classes, else the mean squared error."""
    return classification_loss if is_class(y) else regression_loss


@dataclass(frozen=True)
class Measures:
    """The loss of a training, and the user's metrics by their names.

    The loss is a function of outputs and targets, and of nothing else: no random numbers, no memory of earlier calls.
    """

    loss: Loss
    metrics: Mapping[str, Metric] = field(default_factory=dict)

    @property
    def adds_up(self) -> bool:
        """Whether all that is measured is a sum over batches: else the outputs of all examples are needed at once."""
        return self.loss is classification_loss and not self.metrics

    def of(self, outputs: Tensor, y: Tensor) -> dict[str, float]:
        """Measure the outputs of all examples of a part. The user's metrics get theirs on the CPU, as NumPy needs them.

        Raises:
            BadMeasure: a metric raised, or is no number.
        """
        measured = {LOSS: float(self.loss(outputs, y))}
        if has_accuracy(outputs, y):
            measured[ACCURACY] = float((outputs.argmax(1) == y).sum()) / len(y)
        if self.metrics:
            outputs, y = outputs.cpu(), y.cpu()
        for name, metric in self.metrics.items():
            measured[name] = _number(name, metric, outputs, y)
        return measured


def has_accuracy(outputs: Tensor, y: Tensor) -> bool:
    """Return True if targets are classes, and outputs have a score for each."""
    return is_class(y) and outputs.ndim == 2 and outputs.shape[1] > 1


def _number(name: str, metric: Metric, outputs: Tensor, y: Tensor) -> float:
    try:
        with no_exit():
            value = metric(outputs, y)
    except Exception as error:
        raise BadMeasure(f"the metric '{name}' cannot be measured: {reason_of(error)}") from error
    try:
        return float(value.detach() if isinstance(value, Tensor) else value)
    except Exception as error:
        raise BadMeasure(f"the metric '{name}' is {quoted(value)}; return one number") from error
