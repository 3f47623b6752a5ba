"""Find the pairs of hyperparameters whose effects depend on each other by more than noise.

A pair's interaction is the share of the whole variation that the two explain together and neither explains alone (a
second-order Sobol index), by a Gaussian process like the one that the search learns from. A process finds some in every
data set. So the same measure is taken of data without any: the sums of the main effects, with what they leave over
dealt out at random. A pair counts if it has more than the largest of all pairs in at least 19 of 20 such draws. Source:
I. M. Sobol, Global sensitivity indices for nonlinear mathematical models and their Monte Carlo estimates,
https://doi.org/10.1016/S0378-4754(00)00270-6.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from optuna.trial import FrozenTrial

from caviar.models.seeding import derive
from caviar.studies.definition import Study
from caviar.studies.search.candidates import Cube, cube
from caviar.studies.search.observations import Observations, half_rank, standardised
from caviar.studies.search.optuna_space import space_of
from caviar.studies.search.surrogate import Array, Surrogate, fit, one_thread, prior_lengths

ENOUGH = 30  # trials: with fewer, hardly any interaction is more than noise
_MOST = 150  # trials, at most; of more, the newest
_AXES = 8  # hyperparameters, at most; of more, the first
_PLACES, _OTHERS = 5, 32  # places along an axis, and places of the others for each of them
_DRAWS = 19  # without an interaction: the largest of them is passed by chance in 1 of 20
_LEAST = 0.03  # of the variation: less decides nothing, however sure it is

Pair = tuple[int, int]


@dataclass(frozen=True)
class Interaction:
    """Two hyperparameters whose effects depend on each other, and the share of the variation that only both explain.

    `noise` is the largest share that a pair had in data without any interaction.
    """

    first: str
    second: str
    share: float
    noise: float


def interactions(study: Study, trials: Sequence[FrozenTrial]) -> tuple[Interaction, ...]:
    """Return the interactions that are more than noise, the largest one first; none with fewer than 30 trials."""
    space = space_of(study, trials)
    if space is None:
        return ()
    observed = Observations(space)
    observed.learn(trials)
    x, losses = observed.points[-_MOST:], observed.losses[-_MOST:]
    if len(x) < ENOUGH or np.ptp(losses) == 0:
        return ()
    axes, names = cube(space), list(space.scales())
    varied = [axis for axis in range(x.shape[1]) if len(set(x[:, axis].tolist())) > 1][:_AXES]
    pairs = list(combinations(varied, 2))
    if not pairs:
        return ()
    rng = np.random.default_rng(derive(study.seed, "interactions"))
    others = axes.snap(rng.random((_OTHERS, x.shape[1])))
    z = standardised(half_rank(losses))
    with one_thread():
        process = _fitted(x, z, axes)
        shares = _shares(process, axes, others, pairs)
        if max(shares) < _LEAST:
            return ()
        additive = _additive(process, x, others, varied)
        left = z - additive
        drawn = [
            _shares(_fitted(x, additive + rng.permutation(left), axes), axes, others, pairs) for _ in range(_DRAWS)
        ]
    noise = float(np.max(drawn))
    found = [
        Interaction(names[a], names[b], round(share, 4), round(noise, 4))
        for (a, b), share in zip(pairs, shares, strict=True)
        if share > max(noise, _LEAST)
    ]
    return tuple(sorted(found, key=lambda each: -each.share))


def _fitted(x: Array, z: Array, axes: Cube) -> Surrogate:
    return fit(x, standardised(z), axes.unordered, prior_lengths(axes.unordered))


def _shares(process: Surrogate, axes: Cube, others: Array, pairs: Sequence[Pair]) -> list[float]:
    """Return each pair's share of the variation over the cube."""
    whole, parts = [process.posterior(others)[0]], []
    for a, b in pairs:
        grid = [_places(axes, axis) for axis in (a, b)]
        points = np.tile(others, (len(grid[0]), len(grid[1]), 1, 1))
        points[..., a], points[..., b] = grid[0][:, None, None], grid[1][None, :, None]
        values = process.posterior(points.reshape(-1, others.shape[1]))[0].reshape(points.shape[:3])
        whole.append(values.ravel())
        mean = values.mean(axis=2)
        alone = mean.mean(axis=0, keepdims=True) + mean.mean(axis=1, keepdims=True) - mean.mean()
        parts.append(float(np.var(mean - alone)))
    variation = float(np.var(np.concatenate(whole)))
    return [part / variation if variation > 0 else 0.0 for part in parts]


def _places(axes: Cube, axis: int) -> Array:
    """Return places along an axis, in the middle of equal parts; of names, all of them."""
    bins = int(axes.bins[axis])
    count = bins if axes.unordered[axis] or 0 < bins < _PLACES else _PLACES
    middles = (np.arange(count) + 0.5) / count
    at = np.full((count, len(axes.bins)), 0.5)
    at[:, axis] = middles
    return axes.snap(at)[:, axis]


def _additive(process: Surrogate, x: Array, others: Array, varied: Sequence[int]) -> Array:
    """Return the sum of the main effects at points, (points,)."""
    mean = process.posterior(others)[0].mean()
    total = np.full(len(x), mean)
    for axis in varied:
        points = np.repeat(others[None], len(x), axis=0)
        points[..., axis] = x[:, axis, None]
        total += process.posterior(points.reshape(-1, x.shape[1]))[0].reshape(len(x), -1).mean(axis=1) - mean
    return total
