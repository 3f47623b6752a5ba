"""The effects of hyperparameters: what a model expects of the winner if one of them, or two, are changed.

The model is the one that chooses the winner, so that at the winner's own values the mean is what `best` says is
expected of it. A pruned trial counts as no worse than the worst complete one: where all were pruned, more
or less may be expected than a whole training would come to.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from optuna.trial import FrozenTrial

from caviar.studies.search.candidates import Cube, cube
from caviar.studies.search.expectation import WinnerModel
from caviar.studies.search.least_trials import MANY
from caviar.studies.search.surrogate import Array, one_thread
from caviar.studies.space.search_space import SearchSpace

_PLACES, _SIDE = 40, 24  # along a scale without steps, and at most of one with steps: for one, and for each of two
Numbers = tuple[float, ...]


@dataclass(frozen=True)
class Effect:
    """The expected metric along one hyperparameter, where all others stay as in the winner.

    Attributes:
        units: places on the hyperparameter's scale, 0 to 1, in rising order; the others have one entry for each.
        mean: what the mean of many trainings is expected to be; `low` and `high` are one standard
            deviation of the model below and above it.
    """

    units: Numbers
    mean: Numbers
    low: Numbers
    high: Numbers


@dataclass(frozen=True)
class Surface:
    """The expected metric over two hyperparameters, where all others stay as in the winner.

    Attributes:
        units: places on the scales of the first and of the second one, 0 to 1.
        mean: for each place of the second one, the expected values along the first one.
    """

    units: tuple[Numbers, Numbers]
    mean: tuple[Numbers, ...]


class Around:
    """A model of a study's trials around one of them; it says nothing with fewer than 20 trials.

    Args:
        number: the number of the winner.
        known: the model of these trials, where there is one already.
    """

    def __init__(
        self, space: SearchSpace, trials: Sequence[FrozenTrial], number: int, known: WinnerModel | None = None
    ) -> None:
        known = known or WinnerModel(space, trials)
        observed = known.observed
        self._model = known.fitted(MANY) if number in observed.numbers else None
        if self._model is not None:
            self._space, self._axes = known.space, cube(known.space)
            self._centre = observed.points[int(np.flatnonzero(observed.numbers == number)[0])]

    def effects(self) -> Mapping[str, Effect]:
        """Return the effect of each hyperparameter, by name."""
        found = {}
        for axis, name in enumerate(self._space.scales() if self._model else ()):
            units = _places(self._axes, axis, _PLACES)
            points = np.repeat(self._centre[None], len(units), axis=0)
            points[:, axis] = units
            low, mean, high = np.sort(self._expected(points, (-1, 0, 1)), axis=0)
            found[name] = Effect(_numbers(units), _numbers(mean), _numbers(low), _numbers(high))
        return found

    def surface(self, first: str, second: str) -> Surface | None:
        """Return what is expected over two hyperparameters; None where the model says nothing."""
        if self._model is None:
            return None
        axes = [list(self._space.scales()).index(name) for name in (first, second)]
        across, along = (_places(self._axes, axis, _SIDE) for axis in axes)
        points = np.tile(self._centre, (len(along), len(across), 1))
        points[..., axes[0]], points[..., axes[1]] = across[None, :], along[:, None]
        mean = self._expected(points.reshape(-1, len(self._centre)), (0,))[0].reshape(points.shape[:2])
        return Surface((_numbers(across), _numbers(along)), tuple(_numbers(row) for row in mean))

    def _expected(self, points: Array, ways: Sequence[int]) -> Array:
        """Return the metric at points, so many standard deviations from its mean, (ways, points)."""
        assert self._model is not None
        with one_thread():
            mean, deviation = self._model.posterior(points)
        losses = np.array([self._model.losses(mean + way * deviation) for way in ways])
        return np.asarray(np.clip(-losses if self._space.maximize else losses, *self._space.bounds))


def _places(axes: Cube, axis: int, most: int) -> Array:
    """Return places along an axis: its values, if it has few; and the place of 0, where a log scale has one."""
    bins, gap = int(axes.bins[axis]), float(axes.gap[axis])
    units = (np.arange(bins) + 0.5) / bins if bins else np.linspace(gap, 1.0, most - (gap > 0))
    return np.concatenate([[0.0] * (gap > 0), units])[:: -(-len(units) // most)]


def _numbers(values: Array) -> Numbers:
    return tuple(float(f"{value:.7g}") for value in values)
