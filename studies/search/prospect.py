"""What more trials would bring: the expected gain of a search's winner, with an interval.

The model of the winner is asked for many losses that configurations may have, as far as it knows. In each such case the
search trains the most promising candidates once, picks what looks best under the noise of a training, and the gain is
by how much that is better than today's winner. It says what a search gains on average, and not what a lucky value
looks like; it may be below 0, where the next winner is the luckier one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from optuna.trial import FrozenTrial

from caviar.models.seeding import derive
from caviar.studies.search.candidates import candidates, cube, ranked, unseen
from caviar.studies.search.expectation import Expectation, WinnerModel, possible, winner_of
from caviar.studies.search.least_trials import MANY
from caviar.studies.search.noise import Evidence, Noise, noise_of
from caviar.studies.search.observations import Observations
from caviar.studies.search.surrogate import Array, log_expected_improvement, one_thread
from caviar.studies.space.search_space import SearchSpace

MORE = 40  # trials, of a search that has ended
_MOST = 200  # candidates that are looked at: with more trials than that, what is expected of so many
_CASES = 256
# Standard deviations on both sides of the gain. On the development tables of benchmarks/search the interval holds in
# 91 % of searches (benchmarks/search/prospect.py).
_SURE = 2.0
_WORTH = 0.1  # of the noise of a training: more trials that are expected to bring less are not advised


@dataclass(frozen=True)
class Prospect:
    """What more trials of a search are expected to bring.

    Attributes:
        trials: how many more.
        gain: by how much the winner's metric, as the mean of many trainings, is expected to be better then; in the
            metric's unit, 0 or more whether that is maximized or minimized.
        low, high: the ends of its interval, which is meant for 90 % (docs/figures.md says how often it holds); below 0
            it is worse.
        noise: how much one training differs from another.
    """

    trials: int
    gain: float
    low: float
    high: float
    noise: Noise

    def __str__(self) -> str:
        more = f"{self.trials} more trial{'s are' if self.trials > 1 else ' is'} expected to improve the winner by"
        ends = f"{self.gain:.2g} ({self.low:.2g} to {self.high:.2g})"
        return f"{more} {ends}; one training differs from another by {self.noise}"

    @property
    def is_noise(self) -> bool:
        """Whether even the upper end of the gain is less than one training differs from another."""
        return self.high < self.noise.deviation

    @property
    def is_worth_it(self) -> bool:
        """Whether the gain is more than nothing, and at least a tenth of what one training differs from another."""
        return self.gain > 0 and self.gain >= _WORTH * self.noise.deviation


def prospect_of(
    space: SearchSpace,
    trials: Sequence[FrozenTrial],
    more: int = MORE,
    tested: int | None = None,
    known: WinnerModel | None = None,
    evidence: Evidence | None = None,
) -> Prospect | None:
    """Return what `more` trials, 1 or more, are expected to bring.

    None with fewer than 20 finished trials, without a winner, where all values are equal, and where trials name other
    hyperparameters than one another. `tested` and `known` are as for `winner_of`, `evidence` is as for `noise_of`.
    """
    known = known or WinnerModel(space, trials)
    observed, model = known.observed, known.fitted(MANY)
    winner = None if model is None else winner_of(space, trials, tested, known)
    if model is None or winner is None or winner.value is None:
        return None
    noise = noise_of(space, trials, winner.trial, known, evidence)
    if noise is None:
        return None
    own = observed.points[observed.numbers == winner.trial][:1]
    unit = model.unit_at(own)
    with one_thread():
        gains = _gains(known.space, model, observed, own, more, noise.deviation / unit)
        deviation = model.posterior(own)[1]
    gain, spread = unit * max(gains.mean(), 0.0), _SURE * unit * np.hypot(gains.std(), deviation[0])
    lowest, highest = possible(space, trials)
    most = highest - winner.value if space.maximize else winner.value - lowest
    low, gain, high = (min(float(each), most) for each in (gain - spread, gain, gain + spread))
    return Prospect(more, gain, low, high, noise)


def _gains(
    space: SearchSpace, model: Expectation, observed: Observations, own: Array, more: int, noise: float
) -> Array:
    """Return the gain in each case, (cases,), on the model's scale; `noise` is one training's, on that scale."""
    rng = np.random.default_rng(derive(space.seed, "prospect", len(observed)))
    starts = model.points[ranked(model.posterior(model.points)[0])]
    points = unseen(candidates(cube(space), starts, np.ones(starts.shape[1], dtype=bool), rng), observed.points)
    mean, deviation = model.posterior(points)
    best = model.posterior(model.points)[0].min()
    order = np.argsort(-log_expected_improvement(mean, deviation, best), kind="stable")[: min(more, _MOST)]
    mean, variance = mean[order], deviation[order] ** 2
    middle, covariance = model.together(np.concatenate([own, points[order]]))
    cases = rng.multivariate_normal(middle, covariance, _CASES, check_valid="ignore", method="eigh")
    today, others = cases[:, 0], cases[:, 1:]
    seen = others + noise * rng.standard_normal(others.shape)
    believed = mean + variance / (variance + noise**2) * (seen - mean)
    place, case = believed.argmin(axis=1), np.arange(_CASES)
    is_taken = believed[case, place] < model.posterior(own)[0][0]
    return np.where(is_taken, today - others[case, place], 0.0)
