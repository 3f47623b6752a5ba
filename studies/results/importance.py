"""Estimate which hyperparameters mattered in a study, how surely, and whether the documented order of tiers held.

A hyperparameter's importance is its main effect: the share of the whole variation over the search space that it
explains alone (a first-order Sobol index), by a Gaussian process like the one that the search learns from. Where the
truth is known (benchmarks/search/importance.py), losses on the scale of the search find it better than their ranks do.
What it explains only together with others is nobody's, so the shares need not add up to 1. Its interval is that of the
same measure on trials drawn anew (a bootstrap). Source: I. M. Sobol, Global sensitivity indices for nonlinear
mathematical models and their Monte Carlo estimates, https://doi.org/10.1016/S0378-4754(00)00270-6.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from optuna.trial import FrozenTrial

from caviar.models.seeding import derive
from caviar.studies.definition import Study
from caviar.studies.search.candidates import Cube, cube
from caviar.studies.search.observations import Observations, half_rank, standardised
from caviar.studies.search.optuna_space import space_of
from caviar.studies.search.surrogate import Array, Surrogate, fit, one_thread, prior_lengths
from caviar.studies.space.search_space import SearchSpace

ENOUGH = 10  # trials: with fewer, an interval says nothing
_PLACES, _OTHERS = 8, 128  # places along a hyperparameter's axis, and places of the others for each of them
_DRAWS = 60  # of the bootstrap
MOST = 200  # trials, at most; of more, the newest
_INTERVAL = (5, 95)  # percent
_SURE = 0.95


@dataclass(frozen=True)
class Importance:
    """A hyperparameter's share of the variation, 0 to 1, with its 90 % bootstrap interval.

    Attributes:
        share: the share of the variation that it explains alone; `low` and `high` are the ends of its interval.
        varied: whether it had more than one value; else nothing is known of it.
    """

    name: str
    tier: int
    share: float
    low: float
    high: float
    varied: bool


class OrderVerdict(StrEnum):
    """Whether a tier mattered more than the one after it."""

    HELD = "held"  # it did, in at least 95 % of the bootstrap's draws
    REVERSED = "reversed"  # the one after it did
    OPEN = "open"  # the trials cannot tell


@dataclass(frozen=True)
class TierOrder:
    """The comparison of a tier with the one after it.

    Attributes:
        sure: the share of the bootstrap's draws, 0 to 1, in which the earlier tier's most important hyperparameter
            mattered more than the later one's.
    """

    tier: int
    after: int
    verdict: OrderVerdict
    sure: float


@dataclass(frozen=True)
class Importances:
    """The importance of a study's hyperparameters, the most important one first, estimated from so many trials.

    `orders` compares each tier with the next.
    """

    trials: int
    hyperparameters: tuple[Importance, ...]
    orders: tuple[TierOrder, ...]

    def json_fields(self) -> dict[str, Any]:
        """Return the fields, and whether the order held in words."""
        return {**vars(self), "words": order_in_words(self)}


def importances(study: Study, trials: Sequence[FrozenTrial]) -> Importances | None:
    """Return what mattered, from a study's own trials; None with fewer than ten, or if all have the same value.

    Where trials name their hyperparameters themselves, those that all of them have are compared; None if there are
    none.
    """
    space = space_of(study, trials)
    if space is None:
        return None
    observed = Observations(space)
    observed.learn(trials)
    x, losses = observed.points[-MOST:], observed.losses[-MOST:]
    if len(x) < ENOUGH or np.ptp(losses) == 0:
        return None
    tiers = [study.tier_of(name) for name in space.scales()]
    varied = [len(set(column)) > 1 for column in x.T.tolist()]
    rng = np.random.default_rng(derive(study.seed, "importance"))
    with one_thread():
        whole = _shares(space, x, losses, rng)
        draws = list[Array]()
        while len(draws) < _DRAWS:
            drawn = rng.integers(len(x), size=len(x))
            if np.ptp(losses[drawn]) > 0:
                draws.append(_shares(space, x[drawn], losses[drawn], rng))
    low, high = np.percentile(draws, _INTERVAL, axis=0)
    ranked = [
        # Trials that are drawn twice make the process surer than it is: the interval is widened to the share itself.
        Importance(name, tier, float(whole[i]), float(min(low[i], whole[i])), float(max(high[i], whole[i])), varied[i])
        for i, (name, tier) in enumerate(zip(space.scales(), tiers, strict=True))
    ]
    ranked.sort(key=lambda importance: -importance.share)
    return Importances(len(x), tuple(ranked), _orders(np.array(draws)[:, varied], np.array(tiers)[varied], tiers))


def order_in_words(importances: Importances) -> list[str]:
    """Return in words whether the documented order of the tiers held."""
    if not importances.orders:
        return ["the study has one tier: there is no order to compare with"]
    words = {
        "held": "tier {0} mattered more than tier {1}: the documented order held",
        "reversed": "tier {1} mattered more than tier {0}: here the documented order did not hold",
        "open": "tier {0} or tier {1}? These trials cannot tell",
    }
    return [
        words[order.verdict].format(order.tier, order.after)
        + ("" if order.verdict is OrderVerdict.OPEN else f" ({max(order.sure, 1 - order.sure):.0%} sure)")
        for order in importances.orders
    ]


def _shares(space: SearchSpace, x: Array, losses: Array, rng: np.random.Generator) -> Array:
    """Return each hyperparameter's share of the variation, by a process that is fitted to these trials."""
    axes = cube(space)
    process = fit(x, standardised(half_rank(losses)), axes.unordered, prior_lengths(axes.unordered))
    others = axes.snap(rng.random((_OTHERS, x.shape[1])))
    effects, everywhere = [], [process.posterior(others)[0]]
    for axis in range(x.shape[1]):
        means = _along(process, axes, others, axis)
        effects.append(float(np.var(means.mean(axis=1))))
        everywhere.append(means.ravel())
    whole = float(np.var(np.concatenate(everywhere)))
    return np.minimum(np.array(effects) / whole, 1.0) if whole > 0 else np.zeros(x.shape[1])


def _along(process: Surrogate, axes: Cube, others: Array, axis: int) -> Array:
    """Return the expected loss at places along an axis, for each place of the others, (places, others)."""
    bins = int(axes.bins[axis])
    count = bins if axes.unordered[axis] else min(bins or _PLACES, _PLACES)
    points = np.repeat(others[None], count, axis=0)
    points[:, :, axis] = ((np.arange(count) + 0.5) / count)[:, None]
    return process.posterior(axes.snap(points.reshape(-1, others.shape[1])))[0].reshape(count, -1)


def _orders(draws: Array, of: NDArray[np.int_], tiers: Sequence[int]) -> tuple[TierOrder, ...]:
    """Compare each tier with the next, by the shares of the varied hyperparameters, (draws, varied), of tiers `of`."""
    best = {tier: draws[:, of == tier].max(axis=1) for tier in set(of.tolist())}
    orders = []
    for tier, after in pairwise(sorted(set(tiers))):
        sure = 0.5  # nothing is known
        if tier in best and after in best:
            sure = float(np.mean(best[tier] > best[after]) + np.mean(best[tier] == best[after]) / 2)
        held, reversed_ = sure >= _SURE, sure <= 1 - _SURE
        verdict = OrderVerdict.HELD if held else OrderVerdict.REVERSED if reversed_ else OrderVerdict.OPEN
        orders.append(TierOrder(tier, after, verdict, sure))
    return tuple(orders)
