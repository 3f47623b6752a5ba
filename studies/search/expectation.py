"""The model of a study's finished trials, and the winner by what it expects: the best of many noisy values is luck.

The model (studies/search/surrogate.py) expects of a configuration what its own trainings and those of its neighbours
say together, so that a value that was luck is drawn back to what is around it.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from optuna.trial import FrozenTrial, TrialState

from caviar.storage.history import BEST, is_sound
from caviar.studies.search.candidates import Cube, cube
from caviar.studies.search.least_trials import FEW, MANY
from caviar.studies.search.observations import Observations, from_half_rank, half_rank, key_of, standardised
from caviar.studies.search.optuna_space import space_of
from caviar.studies.search.surrogate import NOISE, Array, fit, one_thread, prior_lengths
from caviar.studies.space.search_space import SearchSpace

_BEST, _NEWEST = 100, 100  # trials that the model learns from; its cost grows with their cube
_BETWEEN_STUDIES = 1.2  # the distance of an earlier study in length-scales: its losses are correlated by 0.6
# Standard deviations that make a 90 % interval. 1.6 would, if the model knew its own parameters and the winner had not
# been chosen by it. On the development tables of benchmarks/search these hold in 89 to 94 % of searches, and on others
# in 84 to 93 %.
_SURE = 3.0
_SURE_WITH_FEW = 4.0  # with fewer than 20 trials: 3 would hold in 78 to 87 %, this holds in 86 to 93 %
# The prior median of a training's noise in the model of the winner, twice the search's: a winner should not be luck.
WINNER_NOISE = 0.2


class Expectation:
    """A model of finished trials.

    It learns from the trials of an earlier study, too, if there are any. They stand at a distance that is fitted with
    all else: where this study's own trials contradict them, they come to mean nothing. The losses of each study have a
    scale of their own. `noise` is the prior median of the standard deviation of a single training's loss.

    Attributes:
        rows: the rows of the observations that the model learned from, (trials,).
        points: their configurations on the unit cube, (trials, hyperparameters).
    """

    def __init__(self, space: SearchSpace, cube: Cube, observed: Observations, noise: float = NOISE) -> None:
        z = half_rank(observed.losses)
        order = np.argsort(z, kind="stable")
        chosen = np.concatenate([order[:_BEST], np.sort(order[_BEST:])[-_NEWEST:]])
        self.rows, self.points = chosen, observed.points[chosen]
        self._losses = observed.losses.copy()
        self._mean, self._deviation = float(z[chosen].mean()), float(z[chosen].std() or 1.0)
        self._with_prior = bool(space.prior)
        x, z = self._here(self.points), (z[chosen] - self._mean) / self._deviation
        unordered, lengths = cube.unordered, prior_lengths(cube.unordered)
        if self._with_prior:
            before = np.array(space.places(known.values for known in space.prior))
            x = np.concatenate([x, np.column_stack([before, np.ones(len(before))])])
            z = np.concatenate([z, standardised(half_rank([known.loss for known in space.prior]))])
            unordered, lengths = np.append(unordered, True), np.append(lengths, _BETWEEN_STUDIES)
        self._surrogate = fit(x, z, unordered, lengths, noise)

    def posterior(self, points: Array) -> tuple[Array, Array]:
        """Return mean and standard deviation of the expected loss at points, (points,) each, on the model's scale."""
        return self._surrogate.posterior(self._here(points))

    def together(self, points: Array) -> tuple[Array, Array]:
        """Return the mean of the expected loss at points, (points,), and its covariance, on the model's scale."""
        return self._surrogate.together(self._here(points))

    def believing(self, points: Array) -> Expectation:
        """Return the model as if these points had been trained, with the losses that it expects of them."""
        believing = copy(self)
        believing.points = np.concatenate([self.points, points])
        believing._surrogate = self._surrogate.believing(self._here(points))
        return believing

    @property
    def noise(self) -> float:
        """The standard deviation of a single training's loss, on the model's scale."""
        return self._surrogate.noise

    def losses(self, z: Array) -> Array:
        """Return the losses at places of the model's scale."""
        return from_half_rank(self._mean + self._deviation * z, self._losses)

    def unit_at(self, point: Array) -> float:
        """Return how much of the loss one unit of the model's scale is below the loss that is expected at a point, of
        the shape (1, hyperparameters): there the scale is linear."""
        with one_thread():
            here = float(self.posterior(point)[0][0])
        ends = self.losses(np.array([here - 1.0, here]))
        return float(ends[1] - ends[0])

    def _here(self, points: Array) -> Array:
        """Return points with the coordinate that says that they are of this study, not of the earlier one."""
        return np.column_stack([points, np.zeros(len(points))]) if self._with_prior else points


class WinnerModel:
    """What the trials of a search say of its winner: a model that is fitted once, when it is asked for.

    A pruned trial counts as no worse than the worst complete one. How its training would have ended is not known, and
    its last value is that of an early epoch: a model would take the distance between the two for noise.

    Attributes:
        space: of all that the trials differ in; the given one where they name other hyperparameters than one another.
        observed: the finished trials.
    """

    def __init__(self, space: SearchSpace, trials: Sequence[FrozenTrial]) -> None:
        known = modelled(space, trials)
        self.space, self._is_one_space = known or space, known is not None
        self.observed = Observations(self.space)
        self.observed.learn(trials)
        sound = {key_of(t) for t in trials if is_sound(t)}
        is_whole = np.array([key in sound for key in self.observed.keys], dtype=bool)
        if is_whole.any():
            self.observed.losses = np.minimum(self.observed.losses, self.observed.losses[is_whole].max())

    def fitted(self, least: int) -> Expectation | None:
        """Return the model; None with fewer finished trials than `least`, where all values are equal, and where trials
        name other hyperparameters than one another."""
        if not self._is_one_space or len(self.observed) < least or np.ptp(self.observed.losses) == 0:
            return None
        return self._fitted

    @cached_property
    def _fitted(self) -> Expectation:
        with one_thread():
            return Expectation(self.space, cube(self.space), self.observed, WINNER_NOISE)


@dataclass(frozen=True)
class Expected:
    """The expected metric of a complete trial's configuration: the mean of many trainings of it, and an interval that
    holds the true mean in 90 % of searches; None if there are too few trials to tell luck."""

    trial: int
    value: float | None = None
    low: float | None = None
    high: float | None = None


def winner_of(
    space: SearchSpace, trials: Sequence[FrozenTrial], tested: int | None = None, known: WinnerModel | None = None
) -> Expected | None:
    """Return the winner: of the three complete trials with the best values, the one whose configuration the model
    expects most of; None if no trial is complete and sound.

    Among trainings of one configuration the one with the best value wins, among equal ones the first. With fewer than
    10 finished trials the best value wins, and so it does where some have hyperparameters that others lack. On the
    development tables of benchmarks/search its regret after 100 trials is 0.065, that of the best value 0.077.

    Args:
        tested: the number of the winner, if that is decided.
        known: the model of these trials, where there is one already.
    """
    known = known or WinnerModel(space, trials)
    observed, model = known.observed, known.fitted(FEW)
    sound = {key_of(t) for t in trials if is_sound(t)}
    decided = {key for key in sound if key[0] == tested}
    places = np.array([row for row, key in enumerate(observed.keys) if key in (decided or sound)], dtype=int)
    if not len(places):
        return None
    places = places[np.argsort(observed.losses[places], kind="stable")][:BEST]
    numbers, losses = observed.numbers[places].tolist(), observed.losses[places].tolist()
    if model is None:
        return Expected(numbers[0])
    with one_thread():
        mean, deviation = model.posterior(observed.points[places])
    # Rounded, so that one configuration's trainings, and any two machines, agree about what is equal.
    place = min(range(len(places)), key=lambda at: (round(float(mean[at]), 9), losses[at], numbers[at]))
    sign = -1 if space.maximize else 1
    sure = _SURE if len(observed) >= MANY else _SURE_WITH_FEW
    ends = sign * model.losses(mean[place] + deviation[place] * np.array([-sure, 0, sure]))
    low, value, high = np.clip(np.sort(ends), *possible(space, trials)).tolist()
    return Expected(numbers[place], value, low, high)


def possible(space: SearchSpace, trials: Sequence[FrozenTrial]) -> tuple[float, float]:
    """Return the lowest and the highest value that a trial can have; a metric that was never below 0 cannot be."""
    low, high = space.bounds
    values = [t.value for t in trials if is_sound(t) and t.value is not None]
    return (max(low, 0.0) if values and min(values) >= 0 else low), high


def modelled(space: SearchSpace, trials: Sequence[FrozenTrial]) -> SearchSpace | None:
    """Return the space of all that trials differ in; None if they name other hyperparameters than one another."""
    known = space_of(space, trials)
    if known is None or not space.by_trials:
        return known
    finished = [t for t in trials if t.state in (TrialState.COMPLETE, TrialState.PRUNED)]
    others = [{name: value for name, value in t.params.items() if name not in known.scales()} for t in finished]
    return known if all(each == others[0] for each in others) else None
