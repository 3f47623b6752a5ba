"""Observations: the loss of each finished trial, on a scale that a model of the search can use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from optuna.trial import FrozenTrial, TrialState

from caviar.storage.history import violation_of
from caviar.studies.space.base import Value
from caviar.studies.space.search_space import SearchSpace


class Observations:
    """The finished trials of a search, in the order of their numbers. Each is read once, however many there are.

    The loss of a complete trial is its value, that of a pruned one the last value that it reported. One that violates
    constraints has the worst loss of the others or a worse one, the worse the more it violates them, and a failed one,
    or one without any value, the worst of all. Trials are told apart by Optuna's
    ids: another program can give two trials of a study the same number.

    Trials that lack one of the space's hyperparameters were made by another program, and are left out.
    """

    def __init__(self, space: SearchSpace) -> None:
        self._space = space
        self._stored = set(space.stored_names().values())
        self._known: set[tuple[int, int]] = set()
        self.values: list[Mapping[str, Value]] = []  # the configuration of each trial
        self.keys: list[tuple[int, int]] = []  # as `key_of` gives them
        self.numbers = np.empty(0, dtype=int)
        self.points = np.empty((0, len(self._stored)))  # of the unit cube, (trials, hyperparameters)
        self.losses = np.empty(0)  # lower is better
        self._values = np.empty(0)  # losses, 0 where there is none
        self._violations = np.empty(0)  # above 0 where a loss does not count

    def __len__(self) -> int:
        return len(self.keys)

    def learn(self, trials: Sequence[FrozenTrial]) -> None:
        """Add the trials that are finished and new."""
        new = [t for t in trials if key_of(t) not in self._known and t.state.is_finished()]
        new = [t for t in new if self._stored <= t.params.keys()]
        if not new:
            return
        self._known |= {key_of(t) for t in new}
        configurations = [self._space.trained(t.params) for t in new]
        losses = [self._loss(t) for t in new]
        violations = [np.inf if loss is None else violation_of(t) for t, loss in zip(new, losses, strict=True)]
        keys, values = [*self.keys, *map(key_of, new)], [*self.values, *configurations]
        order = sorted(range(len(keys)), key=keys.__getitem__)
        self.keys, self.values = [keys[row] for row in order], [values[row] for row in order]
        self.numbers = np.array([number for number, _ in self.keys])
        self.points = np.concatenate([self.points, self._space.places(configurations)])[order]
        self._violations = np.concatenate([self._violations, violations])[order]
        self._values = np.concatenate([self._values, [loss or 0.0 for loss in losses]])[order]
        self.losses = _with_the_violating(self._values, self._violations)

    def best(self) -> Mapping[str, Value] | None:
        """Return the configuration of the best trial, a failed one only if all failed; None if there is no trial."""
        if not len(self):
            return None
        return self.values[int(np.argmin(np.where(self._violations > 0, np.inf, self.losses)))]

    @property
    def are_alike(self) -> bool:
        """Whether half of the trials or more share the best loss, with more than one configuration among them: as when
        networks only guess, or all diverge."""
        if not len(self):
            return False
        best = self.losses == self.losses.min()
        return bool(2 * np.count_nonzero(best) >= len(self) and np.ptp(self.points[best], axis=0).any())

    def _loss(self, trial: FrozenTrial) -> float | None:
        value = trial.value
        if value is None and trial.intermediate_values:
            value = trial.intermediate_values[max(trial.intermediate_values)]
        if trial.state == TrialState.FAIL or value is None or not np.isfinite(value):
            return None
        return -value if self._space.maximize else value


def _with_the_violating(losses: NDArray[np.float64], violations: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the losses, those that violate something from the worst one that does not upwards, in the order of their
    violations: so a model sees where less is violated."""
    bad = violations > 0
    if not bad.any():
        return losses
    good = losses[~bad] if not bad.all() else np.zeros(1)
    kinds, place = np.unique(violations[bad], return_inverse=True)
    known = losses.copy()
    # The least violation is level with the worst trial that has none: the best may be on the border of what is allowed.
    share = np.where(np.isinf(violations[bad]), 1.0, place / len(kinds))
    known[bad] = good.max() + (np.ptp(good) or 1.0) * share
    return known


def key_of(trial: FrozenTrial) -> tuple[int, int]:
    """Return what tells a trial from all others of its study: its number, and Optuna's id."""
    return trial.number, trial._trial_id


def standardised(z: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return losses shifted and scaled to a mean of 0 and a variance of 1; all 0 if all are equal."""
    return np.asarray((z - z.mean()) / (z.std() or 1.0))


def half_rank(losses: Sequence[float] | NDArray[np.float64]) -> NDArray[np.float64]:
    """Return losses on the scale of the model, on which a bad trial is only bad, however bad it is.

    A loss below the median becomes (loss - median) / rms(better losses - median), one above it the normal score of its
    rank. A trial that diverged or was stopped early would otherwise stretch the scale until good ones look alike.
    """
    from scipy.special import ndtri

    y = np.asarray(losses, dtype=float)
    median, spread = _better_half(y)
    _, of, count = np.unique(y, return_inverse=True, return_counts=True)
    ranks = np.cumsum(count) - (count - 1) / 2  # those that are equal share the mean of their ranks
    scores = ndtri((ranks[of] - 0.5) / len(y))
    return np.asarray(np.where(y < median, (y - median) / spread, np.maximum(scores, 0.0)))


def from_half_rank(z: NDArray[np.float64], losses: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the losses at places of the scale on which `half_rank` puts `losses`: its inverse."""
    median, spread = _better_half(losses)
    order = np.argsort(losses, kind="stable")
    worse = np.interp(z, half_rank(losses)[order], losses[order])
    return np.where(z < 0, median + spread * z, np.maximum(worse, median))


def _better_half(y: NDArray[np.float64]) -> tuple[float, float]:
    """Return the median, and the root of the mean squared distance of better losses from it; 1 if there are none."""
    median = float(np.median(y))
    distances = median - y[y < median]
    if not distances.size:
        return median, 1.0
    return median, float(np.sqrt(np.mean(distances**2))) or float(distances.max())  # the square of a tiny one is 0
