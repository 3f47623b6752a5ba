"""What a search learns from its trials: a loss for each that is finished, on a scale that a model can use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from optuna.trial import FrozenTrial, TrialState

from caviar.storage.history import is_feasible
from caviar.studies.definition import Study
from caviar.studies.space.base import Value


class Observations:
    """The finished trials of a search, in the order of their numbers. Each is read once, however many there are.

    Complete trials have their value as loss, pruned ones the last that they reported. A failed trial, one without any
    value, and one that violates a constraint has the worst loss of all.

    Attributes:
        values: what was trained, by trial number.
        numbers: of the trials, (trials,).
        points: their values on the unit cube, (trials, hyperparameters).
        losses: lower is better, (trials,).
    """

    def __init__(self, study: Study) -> None:
        self._study = study
        scales = study.scales()
        self._stored = {scale.stored_name(name) for name, scale in scales.items()}
        self.values: dict[int, Mapping[str, Value]] = {}
        self.numbers = np.empty(0, dtype=int)
        self.points = np.empty((0, len(scales)))
        self.losses = np.empty(0)
        self._failed = np.empty(0, dtype=bool)

    def __len__(self) -> int:
        return len(self.numbers)

    def learn(self, trials: Sequence[FrozenTrial]) -> None:
        """Add those that are finished and new. A trial with other parameters was made by another program."""
        new = [t for t in trials if t.number not in self.values and t.state.is_finished()]
        new = [t for t in new if self._stored <= t.params.keys()]
        if not new:
            return
        self.values |= {t.number: self._study.trained(t.params) for t in new}
        losses = [self._loss(t) for t in new]
        points = self._study.places(self.values[t.number] for t in new)
        numbers = np.concatenate([self.numbers, [t.number for t in new]])
        order = np.argsort(numbers, kind="stable")
        self.numbers = numbers[order]
        self.points = np.concatenate([self.points, points])[order]
        self._failed = np.concatenate([self._failed, [loss is None for loss in losses]])[order]
        self.losses = np.concatenate([self.losses, [loss or 0.0 for loss in losses]])[order]
        self.losses[self._failed] = 0.0 if self._failed.all() else self.losses[~self._failed].max()

    def best(self) -> Mapping[str, Value] | None:
        """Return the values of the best one, which is a failed one only where all failed; None where there is none."""
        if not len(self):
            return None
        return self.values[int(self.numbers[np.argmin(np.where(self._failed, np.inf, self.losses))])]

    def _loss(self, trial: FrozenTrial) -> float | None:
        value = trial.value
        if value is None and trial.intermediate_values:
            value = trial.intermediate_values[max(trial.intermediate_values)]
        if trial.state == TrialState.FAIL or value is None or not np.isfinite(value) or not is_feasible(trial):
            return None
        return -value if self._study.maximize else value


def standardised(z: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return losses with a mean of 0 and a variance of 1; all 0 where all are equal."""
    return np.asarray((z - z.mean()) / (z.std() or 1.0))


def half_rank(losses: Sequence[float] | NDArray[np.float64]) -> NDArray[np.float64]:
    """Return losses on a scale on which bad trials are only bad, however bad: what a model should see.

    Better than the median: (y - median) / rms(better ones - median). Worse: the normal score of the rank. An early
    stopped or diverged trial would otherwise stretch the scale until good ones cannot be told apart.
    """
    from scipy.special import ndtri

    y = np.asarray(losses, dtype=float)
    median, spread = _better_half(y)
    _, of, count = np.unique(y, return_inverse=True, return_counts=True)
    ranks = np.cumsum(count) - (count - 1) / 2  # those that are equal share the mean of their ranks
    scores = ndtri((ranks[of] - 0.5) / len(y))
    return np.asarray(np.where(y < median, (y - median) / spread, np.maximum(scores, 0.0)))


def from_half_rank(z: NDArray[np.float64], losses: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the losses that stand at places of the scale on which `half_rank` puts `losses`."""
    median, spread = _better_half(losses)
    order = np.argsort(losses, kind="stable")
    worse = np.interp(z, half_rank(losses)[order], losses[order])
    return np.where(z < 0, median + spread * z, np.maximum(worse, median))


def _better_half(y: NDArray[np.float64]) -> tuple[float, float]:
    """Return the median, and the root of the mean squared distance of what is better; 1 where nothing is."""
    median = float(np.median(y))
    distances = median - y[y < median]
    if not distances.size:
        return median, 1.0
    return median, float(np.sqrt(np.mean(distances**2))) or float(distances.max())  # the square of a tiny one is 0
