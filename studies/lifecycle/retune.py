"""A study that is tuned again: what an earlier one knew is where it begins.

The earlier winner is its second trial, and the earlier trials are a prior of its model (studies/search/expectation.py).
All else is as in any search: where nothing is alike any more, the default and the coarse trials show it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from optuna.trial import FrozenTrial

from caviar.studies.definition import PriorTrial, Study, from_body, to_body
from caviar.studies.errors import DefinitionError
from caviar.studies.search.expectation import winner_of
from caviar.studies.search.observations import Observations
from caviar.studies.space.scales import Grid, Linear, Log, LogOneMinus, PowersOfTwo, Scale

_BEST, _OTHERS = 25, 25  # of the earlier trials: the model's cost grows with the cube of all
_DECADE = 10


def retuned(
    study: Study, trials: Sequence[FrozenTrial], *, tested: int | None = None, widen: Iterable[str] = (), **fields: Any
) -> Study:
    """Return the study that begins with what the trials of `study` show.

    Args:
        tested: the winner, if that is decided.
        widen: hyperparameters whose range is to become larger on both sides: a log axis by a decade, a linear one by
            half of its width, powers of two by two of them, a grid of integers by a step; what is above 0 stays so.
        fields: of the new study, as `Study` has them; those of None are as before.

    Raises:
        DefinitionError: no trial is complete, a name is not searched or has no range, or the result is not valid.
    """
    won = winner_of(study, trials, tested)
    if won is None:
        raise DefinitionError(f"no trial of '{study.name}' is complete: there is nothing to begin with")
    scales = study.scales()
    for name in (widen := list(widen)):
        if name not in scales:
            raise DefinitionError(f"'{name}' is not searched by '{study.name}', which searches {', '.join(scales)}")
    observed = Observations(study)
    observed.learn(trials)
    new = {name: widened(name, scale) if name in widen else scale for name, scale in scales.items()}
    tiers = [{name: new[name].model_dump(mode="json") for name in tier} for tier in study.tiers]
    prior = [known.model_dump(mode="json") for known in _known(observed, won.trial)]
    given = {name: value for name, value in fields.items() if value is not None}
    return from_body({**to_body(study), "strategy": "tiered", "tiers": tiers, "prior": prior, **given})


def _known(observed: Observations, winner: int) -> list[PriorTrial]:
    """Return the winner, the best trials, and others that are evenly spread over time."""
    order = np.argsort(observed.losses, kind="stable")
    others = np.sort(order[_BEST:])
    chosen = observed.numbers[[*order[:_BEST], *others[:: -(-len(others) // _OTHERS) or 1]]].tolist()
    losses = dict(zip(observed.numbers.tolist(), observed.losses.tolist(), strict=True))
    return [PriorTrial(values=observed.values[n], loss=losses[n]) for n in dict.fromkeys([winner, *chosen])]


def widened(name: str, scale: Scale) -> Scale:
    """Return a scale with a larger range.

    Raises:
        DefinitionError: it has none.
    """
    given = scale.model_dump()
    if isinstance(scale, Log):
        given |= {"low": scale.low / _DECADE, "high": scale.high * _DECADE}
    elif isinstance(scale, LogOneMinus):
        low, high = 1 - min(1.0, (1 - scale.low) * _DECADE), 1 - (1 - scale.high) / _DECADE
        given |= {"low": round(low, 12), "high": round(high, 12)}
    elif isinstance(scale, Linear):
        half = (scale.high - scale.low) / 2
        step = math.ceil(half) if isinstance(scale.low, int) and isinstance(scale.high, int) else half
        least = -math.inf if scale.low < 0 else min(scale.low, 1) if isinstance(scale.low, int) else 0.0
        given |= {"low": max(scale.low - step, least), "high": scale.high + step}
    elif isinstance(scale, PowersOfTwo):
        given |= {"low": max(1, scale.low // 4), "high": scale.high * 4}
    elif isinstance(scale, Grid) and scale.step:
        apart = scale.step
        values = [int(v) for v in scale.values]
        below = [values[0] - apart] if values[0] - apart >= min(values[0], 1) else []
        given |= {"values": [*below, *values, values[-1] + apart]}
    else:
        raise DefinitionError(f"'{name}' is {scale}, which has no range to widen: name more values in a study's file")
    return type(scale).model_validate(given)
