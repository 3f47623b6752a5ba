"""Points of the phases that follow a plan: spread over a range, or over the part of it that was good."""

from __future__ import annotations

import numpy as np

from caviar.models.seeding import derive
from caviar.studies.definition import Study
from caviar.studies.search.observations import Observations

_ENOUGH = 2  # finished trials before there is a zoom box: the default, and one more
_MARGIN = 0.05  # of the unit interval, on each side of the zoom box


def strata(count: int, seed: int, name: str) -> list[float]:
    """Return a number from each of `count` equal parts of the unit interval, in a random order of its own."""
    rng = np.random.default_rng(derive(seed, "strata", name))
    return [float(u) for u in (rng.permutation(count) + rng.random(count)) / count]


def halton(dimensions: int, seed: int, index: int) -> list[float]:
    """Return one point of a scrambled Halton sequence: quasi-random, so a few points leave no large gaps.

    Source: A. B. Owen, A randomized Halton algorithm in R, https://arxiv.org/abs/1706.02808 (as scipy has it).
    """
    from scipy.stats import qmc

    sequence = qmc.Halton(dimensions, scramble=True, rng=np.random.default_rng(derive(seed, "halton")))
    sequence.fast_forward(index)
    return [float(x) for x in sequence.random(1)[0]]


def zoom(study: Study, observed: Observations) -> dict[str, tuple[float, float]]:
    """Return each hyperparameter's zoom box on the unit interval; nothing before two trials are finished.

    From the lowest to the highest of the best quarter of the trials (two at least), padded by half its width + 0.05.
    """
    if len(observed) < _ENOUGH:
        return {}
    good = observed.points[np.argsort(observed.losses, kind="stable")[: max(2, len(observed) // 4)]]
    low, high = good.min(axis=0), good.max(axis=0)
    pad = (high - low) / 2 + _MARGIN
    edges = np.stack([np.maximum(low - pad, 0.0), np.minimum(high + pad, 1.0)], axis=1)
    return dict(zip(study.scales(), map(tuple, edges.tolist()), strict=True))
