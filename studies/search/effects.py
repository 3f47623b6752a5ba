"""The effect of each hyperparameter: what a model expects of the winner if this one alone is changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from optuna.trial import FrozenTrial

from caviar.studies.search.candidates import cube
from caviar.studies.search.expectation import FEW, WINNER_NOISE, Expectation, modelled
from caviar.studies.search.observations import Observations
from caviar.studies.search.surrogate import one_thread
from caviar.studies.space.search_space import SearchSpace

_PLACES = 40  # along a scale without steps, and at most of one with steps


@dataclass(frozen=True)
class Effect:
    """The expected metric along one hyperparameter, where all others stay as in the winner.

    Attributes:
        units: places on the hyperparameter's scale, 0 to 1, in rising order; the others have one entry for each.
        mean: what the mean of many trainings is expected to be; `low` and `high` are one standard
            deviation of the model beside it.
    """

    units: tuple[float, ...]
    mean: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]


def effects(space: SearchSpace, trials: Sequence[FrozenTrial], number: int) -> Mapping[str, Effect]:
    """Return the effect of each hyperparameter around the trial `number`, by name; empty with fewer than 20 trials.

    The model is the one that chooses the winner, so that at the winner's own value the mean is the one told of it. A
    pruned trial counts with its last value, as in the search: where all were pruned, less is expected than is there.
    """
    known = modelled(space, trials)
    observed = Observations(known or space)
    observed.learn(trials)
    if known is None or len(observed) < FEW or np.ptp(observed.losses) == 0 or number not in observed.numbers:
        return {}
    axes, centre = cube(known), observed.points[int(np.flatnonzero(observed.numbers == number)[0])]
    found = {}
    with one_thread():
        model = Expectation(known, axes, observed, WINNER_NOISE)
        for axis, name in enumerate(known.scales()):
            bins = int(axes.bins[axis])
            units = (np.arange(bins) + 0.5) / bins if bins else np.linspace(axes.gap[axis], 1.0, _PLACES)
            if axes.gap[axis]:
                units = np.concatenate([[0.0], units])
            units = units[:: -(-len(units) // (_PLACES + 1))]
            points = np.repeat(centre[None], len(units), axis=0)
            points[:, axis] = units
            mean, deviation = model.posterior(points)
            sides = (model.losses(mean + way * deviation) for way in (-1, 0, 1))
            low, middle, high = (np.clip(-side if known.maximize else side, *known.bounds) for side in sides)
            if known.maximize:
                low, high = high, low
            found[name] = Effect(
                *(tuple(float(f"{value:.7g}") for value in each) for each in (units, middle, low, high))
            )
    return found
