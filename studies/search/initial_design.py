"""The initial design: points that are spread over a range, or over the part of it that was good so far."""

from __future__ import annotations

import numpy as np

from caviar.models.seeding import derive
from caviar.studies.search.observations import Observations
from caviar.studies.space.base import BaseScale, bin_of
from caviar.studies.space.search_space import SearchSpace

_ENOUGH = 2  # finished trials before there is a zoom box: the default, and one more
_MARGIN = 0.05  # of the unit interval, on each side of the zoom box


def strata(count: int, seed: int, name: str, scale: BaseScale) -> list[float]:
    """Return a random number from each part of the unit interval but the one that has the scale's default, of
    `count` + 1 equal parts; in a random order that seed and name decide.

    Of a scale with few values, which are not spread evenly over so many parts, return the middles of its other values'
    bins, again from the first where these are fewer.
    """
    rng = np.random.default_rng(derive(seed, "strata", name))
    few = 1 < scale.bins <= count + 2
    parts = scale.bins if few else count + 1
    taken = bin_of(scale.unit(scale.default), parts)
    free = [part for part in rng.permutation(parts) if part != taken]
    if few:
        return [(free[at % len(free)] + 0.5) / parts for at in range(count)]
    return [float(u) for u in (free + rng.random(count)) / parts]


def halton(dimensions: int, seed: int, index: int) -> list[float]:
    """Return a point of a scrambled Halton sequence, by its index: quasi-random, so a few points leave no large gaps.

    Source: A. B. Owen, A randomized Halton algorithm in R, https://arxiv.org/abs/1706.02808 (as scipy has it).
    """
    from scipy.stats import qmc

    sequence = qmc.Halton(dimensions, scramble=True, rng=np.random.default_rng(derive(seed, "halton")))
    sequence.fast_forward(index)
    return [float(x) for x in sequence.random(1)[0]]


def zoom(space: SearchSpace, observed: Observations) -> dict[str, tuple[float, float]]:
    """Return the zoom box of each hyperparameter on the unit interval; none before two trials are finished.

    A box reaches from the lowest to the highest of the best quarter of the trials (two at least), padded on each side
    by half its width + 0.05.
    """
    if len(observed) < _ENOUGH:
        return {}
    good = observed.points[np.argsort(observed.losses, kind="stable")[: max(2, len(observed) // 4)]]
    low, high = good.min(axis=0), good.max(axis=0)
    pad = (high - low) / 2 + _MARGIN
    edges = np.stack([np.maximum(low - pad, 0.0), np.minimum(high + pad, 1.0)], axis=1)
    return dict(zip(space.scales(), map(tuple, edges.tolist()), strict=True))
