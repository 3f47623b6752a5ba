"""Candidates: configurations for a model to choose from, most of them near the best ones, some anywhere.

They are points of the unit cube, each of them one that a study can store. Near the best, hyperparameters of early tiers
move more often than those of late ones, by steps of all sizes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from caviar.studies.search.surrogate import Array
from caviar.studies.space.search_space import SearchSpace

_CANDIDATES, _LOCAL = 600, 450  # 2,000 are no better
_STARTS = (0.6, 0.25, 0.15)  # shares of the candidates that start from the best, second and third point so far
_MOVES = (0.9, 0.6, 0.4, 0.4)  # probability that a hyperparameter moves, by tier
_MOST_MOVES = 3.5  # that move at once on average; with more of them the probabilities are lower, to stay near a start
_STEP, _SMALLER, _LARGER = 0.15, -1.5, 0.7  # of the unit interval, times e to the power of U(smaller, larger)
# The number of configurations that may be trained again, and of the trainings of each: more trainings tell near-ties
# apart, and without a limit too few others are tried.
_AGAIN, _TRAININGS = 3, 4
_EQUAL = 1e-6  # scores that differ by less are equal: rounding differs between processors and versions of libraries
_REDRAWN = 0.15  # probability that what moves is drawn anew from its whole range


@dataclass(frozen=True)
class Cube:
    """The unit cube of a search, with an axis for each hyperparameter; each attribute is an array (hyperparameters,).

    `bins`, `gap` and `unordered` are those of the scales.
    """

    moves: Array  # the probability that a hyperparameter moves
    bins: NDArray[np.int_]
    gap: Array
    unordered: NDArray[np.bool_]

    def snap(self, points: Array) -> Array:
        """Return the points as they are after being stored: each in the middle of its bin."""
        bins = np.maximum(self.bins, 1)
        middles = (np.clip(np.floor(points * bins), 0, bins - 1) + 0.5) / bins
        return np.where(self.bins > 0, middles, np.where(points < self.gap, 0.0, np.clip(points, 0.0, 1.0)))


def cube(space: SearchSpace) -> Cube:
    """Return the unit cube of a search space."""
    tiers = [tier - 1 for _, tier, _ in space.hyperparameters()]
    bins, gap, unordered = zip(*((s.bins, s.gap, s.unordered) for s in space.scales().values()), strict=True)
    return Cube(np.array(_MOVES)[tiers], *map(np.array, (bins, gap, unordered)))


def candidates(cube: Cube, starts: Array, free: NDArray[np.bool_], rng: np.random.Generator) -> Array:
    """Return points that differ from the starts only in the free hyperparameters: (600, hyperparameters).

    The starts, (starts, hyperparameters), have the best first and are alike in what is not free; those after the third
    are left out. One hyperparameter at least is free.
    """
    starts = starts[: len(_STARTS)]
    often = np.array(_STARTS[: len(starts)]) / sum(_STARTS[: len(starts)])
    start = starts[rng.choice(len(starts), size=_LOCAL, p=often)]
    moves = cube.moves * min(1.0, _MOST_MOVES / cube.moves[free].sum())
    moved = free & (rng.random(start.shape) < moves)
    still = np.flatnonzero(~moved.any(axis=1))
    moved[still, rng.choice(np.flatnonzero(free), size=len(still))] = True
    step = _STEP * np.exp(rng.uniform(_SMALLER, _LARGER, size=(_LOCAL, 1)))
    anywhere = rng.random((_CANDIDATES, starts.shape[1]))
    redrawn = moved & (cube.unordered | (rng.random(start.shape) < _REDRAWN))
    stepped = start + moved * step * rng.normal(size=start.shape)
    # What would be beyond the end of a range without bins is as far inside: its very end may be a value that no program
    # bears, such as a share of 0, and nothing speaks for it.
    mirrored = 1.0 - np.abs(1.0 - np.abs(stepped))
    near = np.where(redrawn, anywhere[:_LOCAL], np.where(cube.bins > 0, stepped, mirrored))
    far = np.where(free, anywhere[_LOCAL:], starts[0])
    # What does not move is left alone: it need not be a point that this scale would choose.
    moving = np.concatenate([moved, np.broadcast_to(free, far.shape)])
    points = np.concatenate([near, far])
    return np.where(moving, cube.snap(points), points)


def unseen(points: Array, taken: Array) -> Array:
    """Return the points that are not among those taken; all of them if none is left, so that a search can go on."""
    new = ~np.isin(_as_keys(points), _as_keys(taken))
    return points[new] if new.any() else points


def repeats(best: Array, taken: Array) -> Array:
    """Return those of the three best configurations that were trained fewer than four times, running trainings counted:
    more trainings tell near-ties apart."""
    keys, counts = np.unique(_as_keys(taken), return_counts=True)
    trainings = dict(zip(keys.tolist(), counts.tolist(), strict=True))
    _, first = np.unique(_as_keys(best), return_index=True)
    distinct = best[np.sort(first)][:_AGAIN]
    often = np.array([trainings.get(key, 0) for key in _as_keys(distinct).tolist()])
    return distinct[often < _TRAININGS]


def ranked(losses: Array) -> NDArray[np.intp]:
    """Return the places of losses, the lowest first; of equal ones, the first."""
    return np.argsort(np.round(losses / _EQUAL), kind="stable")


def highest(scores: Array) -> int:
    """Return the place of the highest score; of equal ones, as mirrored candidates have, the first."""
    return int(np.flatnonzero(scores >= scores.max() - _EQUAL)[0])


def _as_keys(points: Array) -> NDArray[np.void]:
    """Return a key for each point, (points,); equal points have equal keys."""
    rounded = np.ascontiguousarray(np.round(points, 9) + 0.0)  # so that -0 is 0
    return rounded.view(np.dtype((np.void, rounded.itemsize * points.shape[1]))).ravel()
