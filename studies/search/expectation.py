"""What is expected of configurations, by a study's finished trials: the best of many noisy values flatters itself.

A model of the losses (studies/search/surrogate.py) expects of a configuration what its own trainings and those of its
neighbours say together, so that a value that was luck is drawn back to what is around it.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass

import numpy as np
from optuna.trial import FrozenTrial, TrialState

from caviar.storage.history import BEST, is_feasible
from caviar.studies.definition import Study
from caviar.studies.search.candidates import Cube, cube
from caviar.studies.search.observations import Observations, from_half_rank, half_rank, standardised
from caviar.studies.search.surrogate import NOISE, Array, fit, one_thread

_BEST, _NEWEST = 100, 100  # trials that the model learns from; its cost grows with their cube
_BETWEEN_STUDIES = 1.2  # where the model expects an earlier study to differ: alike, correlated by 0.6
# Standard deviations that make a 90 % interval. 1.6 would, if the model knew its own parameters and the winner had not
# been chosen by it. On the development tables of benchmarks/search 2.5 hold in 85 to 92 % of searches, these in 91 to
# 95 %, and on others in 89 to 90 %.
_SURE = 3.0
# What the model of the winner thinks of one training's luck, to begin with. There 0.1 and 0.4 name winners that are as
# good after 50 and 100 trials; 0.05, as the search has it, a slightly worse one (0.067 for 0.063 after 100).
_NOISE = 0.2
_FEW = 20  # trials: with fewer, a model knows less than a value says (after 10 there 0.198, the best value 0.170)


class Expectation:
    """A model of finished trials.

    Trials of an earlier study, if there are any, are at a distance that is fitted with all else: where this study's own
    trials contradict them, they come to mean nothing. Each study's losses have a scale of their own.

    Args:
        study: whose prior is learned from too.
        observed: one trial at least.

    Attributes:
        numbers: of this study's trials that it learned from, (trials,).
        points: where they are on the unit cube, (trials, hyperparameters).
    """

    def __init__(self, study: Study, cube: Cube, observed: Observations, noise: float = NOISE) -> None:
        z = half_rank(observed.losses)
        order = np.argsort(z, kind="stable")
        chosen = np.concatenate([order[:_BEST], np.sort(order[_BEST:])[-_NEWEST:]])
        self.numbers, self.points = observed.numbers[chosen], observed.points[chosen]
        self._losses = observed.losses.copy()
        self._mean, self._deviation = float(z[chosen].mean()), float(z[chosen].std() or 1.0)
        self._with_prior = bool(study.prior)
        x, z = self._here(self.points), (z[chosen] - self._mean) / self._deviation
        unordered, lengths = cube.unordered, cube.lengths
        if self._with_prior:
            before = np.array(study.places(known.values for known in study.prior))
            x = np.concatenate([x, np.column_stack([before, np.ones(len(before))])])
            z = np.concatenate([z, standardised(half_rank([known.loss for known in study.prior]))])
            unordered, lengths = np.append(unordered, True), np.append(lengths, _BETWEEN_STUDIES)
        self._surrogate = fit(x, z, unordered, lengths, noise)

    def posterior(self, points: Array) -> tuple[Array, Array]:
        """Return mean and standard deviation of what is expected at points, on a scale of losses of its own."""
        return self._surrogate.posterior(self._here(points))

    def believing(self, points: Array) -> Expectation:
        """Return the model as if the loss at these points were what is expected there."""
        found = copy(self)
        found.points = np.concatenate([self.points, points])
        found._surrogate = self._surrogate.believing(self._here(points))
        return found

    @property
    def noise(self) -> float:
        """The standard deviation of a single training's loss, on that scale."""
        return self._surrogate.noise

    def losses(self, z: Array) -> Array:
        """Return the losses that stand at places of that scale."""
        return from_half_rank(self._mean + self._deviation * z, self._losses)

    def _here(self, points: Array) -> Array:
        """Return points as the surrogate has them: of this study, not of the one before."""
        return np.column_stack([points, np.zeros(len(points))]) if self._with_prior else points


@dataclass(frozen=True)
class Expected:
    """What is expected of a complete trial's configuration: the metric of other trainings, on average.

    Attributes:
        value, low, high: where that is in 90 % of searches; None where there are too few trials to tell luck.
    """

    trial: int
    value: float | None = None
    low: float | None = None
    high: float | None = None


def winner_of(study: Study, trials: Sequence[FrozenTrial], tested: int | None = None) -> Expected | None:
    """Return, of the three complete trials with the best values, the one of whose configuration most is expected; None
    where none is complete and sound.

    Of several trainings of it the one with the best value; where as much is expected, the first. With fewer than 20
    finished trials it is the one with the best value. On the development tables of benchmarks/search its regret after
    100 trials is 0.063, where the one of which most is expected of all has 0.070, and the best value 0.075.

    Args:
        tested: the winner, if that is decided.
    """
    sound = {t.number for t in trials if t.state == TrialState.COMPLETE and t.value is not None and is_feasible(t)}
    if tested in sound:
        sound = {tested}
    observed = Observations(study)
    observed.learn(trials)
    places = np.flatnonzero(np.isin(observed.numbers, list(sound)))
    if not len(places):
        return None
    places = places[np.argsort(observed.losses[places], kind="stable")][:BEST]
    numbers, losses = observed.numbers[places].tolist(), observed.losses[places].tolist()
    if len(observed) < _FEW or np.ptp(observed.losses) == 0:
        return Expected(numbers[0])
    with one_thread():
        model = Expectation(study, cube(study), observed, _NOISE)
        mean, deviation = model.posterior(observed.points[places])
    # Rounded, so that one configuration's trainings, and any two machines, agree about what is equal.
    place = min(range(len(places)), key=lambda at: (round(float(mean[at]), 9), losses[at], numbers[at]))
    sign = -1 if study.maximize else 1
    ends = sign * model.losses(mean[place] + deviation[place] * np.array([-_SURE, 0, _SURE]))
    low, value, high = np.clip(np.sort(ends), 0.0, 1.0 if study.maximize else None).tolist()
    return Expected(numbers[place], value, low, high)
