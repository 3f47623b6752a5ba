"""Define a study that begins with the results of an earlier one.

The earlier winner is its second trial, and the earlier trials are a prior of its model (studies/search/expectation.py).
All else is as in any search: where nothing is alike any more, the default and the coarse trials show it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from optuna.trial import FrozenTrial

from caviar.studies.definition import PriorTrial, Study, change
from caviar.studies.errors import DefinitionError
from caviar.studies.search.expectation import winner_of
from caviar.studies.search.observations import Observations
from caviar.studies.space.base import BaseScale
from caviar.studies.way import NO_PRIOR

_BEST, _OTHERS = 25, 25  # of the earlier trials: the model's cost grows with the cube of all


def retuned(
    study: Study, trials: Sequence[FrozenTrial], *, tested: int | None = None, widen: Iterable[str] = (), **fields: Any
) -> Study:
    """Return a study that begins with the results of the trials of `study`.

    Args:
        tested: the winner, if that is decided.
        widen: hyperparameters whose range is to become larger on both sides: a log axis by a decade, a linear one by
            half of its width, powers of two by two of them, a grid of integers by a step; what is above 0 stays so.
        fields: of the new study, as `Study` has them; those of None are as before.
    """
    if study.by_trials:
        raise DefinitionError(f"study '{study.name}': {NO_PRIOR}")
    winner = winner_of(study, trials, tested)
    if winner is None:
        raise DefinitionError(f"no trial of '{study.name}' is complete: there is nothing to begin with")
    scales = study.scales()
    for name in (widen := list(widen)):
        if name not in scales:
            raise DefinitionError(f"'{name}' is not searched by '{study.name}', which searches {', '.join(scales)}")
    observed = Observations(study)
    observed.learn(trials)
    new = {name: _widened(name, scale) if name in widen else scale for name, scale in scales.items()}
    tiers = [{name: new[name] for name in tier} for tier in study.tiers]
    return change(study, strategy="tiered", tiers=tiers, prior=_prior(observed, winner.trial), **fields)


def _prior(observed: Observations, winner: int) -> list[PriorTrial]:
    """Return the winner, the best trials, and others that are evenly spread over time."""
    order = np.argsort(observed.losses, kind="stable")
    others = np.sort(order[_BEST:])
    first = np.flatnonzero(observed.numbers == winner)[:1]
    chosen = [*first, *order[:_BEST], *others[:: -(-len(others) // _OTHERS) or 1]]
    return [PriorTrial(values=observed.values[row], loss=float(observed.losses[row])) for row in dict.fromkeys(chosen)]


def _widened(name: str, scale: BaseScale) -> BaseScale:
    """Return a scale with a larger range; refuse one that has no range."""
    wider = scale.widened()
    if wider is None:
        raise DefinitionError(f"'{name}' is {scale}, which has no range to widen: name more values in a study's file")
    return wider
