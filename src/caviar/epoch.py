"""One epoch of training: what a training measured, by the names that it gave its metrics, and how that is stored."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from caviar.limits import METRICS, NAME
from caviar.text import flaw, quoted, shown

# The metrics of Caviar's own training loop.
TRAINING_LOSS, VALIDATION_LOSS = "training_loss", "validation_loss"  # mean cross-entropy per example, in nats
ACCURACY = "accuracy"  # share of the validation examples that are classified correctly, 0 to 1
LEARNING_RATE = "learning_rate"  # the rate that the epoch was trained with
BUILT_IN = (TRAINING_LOSS, VALIDATION_LOSS, ACCURACY, LEARNING_RATE)


@dataclass(frozen=True)
class Epoch:
    """The result of one epoch of one trial.

    Attributes:
        epoch: its number; 1 is the first.
        metrics: what was measured, by name; values may be infinite or NaN. Caviar's own loop measures `training_loss`
            and `validation_loss`, the mean cross-entropy per example in nats, `accuracy`, the share of the validation
            examples that are classified correctly, and `learning_rate`.
        seconds: wall-clock time that the epoch took.
        is_last: whether the training came to its end with it by itself, such as by early stopping.
    """

    epoch: int
    metrics: Mapping[str, float]
    seconds: float
    is_last: bool = False

    def value(self, metric: str) -> float | None:
        """Return a metric after this epoch; None if it was not measured in this one."""
        return self.metrics.get(metric)

    def losses(self, metric: str) -> dict[str, float]:
        """Return what must be finite, or else the training diverged: the study's metric, and every loss."""
        return {name: value for name, value in self.metrics.items() if name == metric or is_loss(name)}

    def is_finite(self, metric: str) -> bool:
        """Whether the study's metric and every loss is a finite number; else the training diverged."""
        return all(map(math.isfinite, self.losses(metric).values()))


def is_loss(name: str) -> bool:
    """Return whether a metric is a loss by its name: `loss`, or one that ends in it, such as `validation_loss`."""
    return name.lower().endswith("loss")


def metric_names(epochs: Iterable[Epoch]) -> list[str]:
    """Return the names of all metrics of some epochs, as `in_order` lists them."""
    return in_order(name for epoch in epochs for name in epoch.metrics)


def in_order(names: Iterable[str]) -> list[str]:
    """Return the names of metrics once each: those of Caviar's own loop as it names them, then the others."""
    found = set(names)
    return [name for name in BUILT_IN if name in found] + sorted(found.difference(BUILT_IN))


def last_values(epochs: Iterable[Epoch]) -> dict[str, float]:
    """Return the last value of each metric of a trial: not every epoch need have all of them."""
    return {name: value for epoch in epochs for name, value in epoch.metrics.items()}


def check_metrics(given: Mapping[str, object]) -> dict[str, float]:
    """Return metrics as they are kept: numbers by name.

    Raises:
        ValueError: there are too many, or one has no name, one that cannot be shown, or a value that is no number. Its
            message is the end of a sentence.
    """
    if len(given) > METRICS:
        raise ValueError(f"there are {len(given):,} metrics; {METRICS:,} are most")
    return dict(_checked(given))


def _checked(given: Mapping[str, object]) -> Iterator[tuple[str, float]]:
    for name, value in given.items():
        if not isinstance(name, str) or not name.strip():
            raise ValueError(f"a metric is called {quoted(name)}; give it a name of 1 to {NAME} characters")
        if why := flaw(name, NAME):
            raise ValueError(f"the name of the metric '{shown(name)}' {why}")
        try:
            detached = value.detach() if hasattr(value, "detach") else value  # a tensor of one element is a number, too
            yield name, float(detached)  # type: ignore[arg-type]
        except (TypeError, ValueError, OverflowError, RuntimeError):
            raise ValueError(f"the metric '{name}' is {quoted(value)}, which is no number") from None


def to_document(metrics: Mapping[str, float]) -> dict[str, float | str]:
    """Return metrics as a JSON document, which has no numbers that are infinite or NaN: those become texts.

    Example:
        >>> to_document({"rmse": 0.5, "loss": float("-inf")})
        {'rmse': 0.5, 'loss': '-Infinity'}
    """
    return {name: value if math.isfinite(value) else _TEXTS[str(float(value))] for name, value in metrics.items()}


def from_document(document: object) -> dict[str, float]:
    """Return the metrics that `to_document` made a document of. What is no number in it, by another hand, is NaN."""
    return {str(name): _number(value) for name, value in document.items()} if isinstance(document, Mapping) else {}


def _number(value: object) -> float:
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return math.nan


_TEXTS = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}  # as PostgreSQL writes them in JSON
