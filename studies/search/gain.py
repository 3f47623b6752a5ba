"""The gain over the default: how much better the winner of a search is than the configuration that it began with.

Both are expected by the model that chooses the winner, since either value alone may be luck, and the winner's more so:
it was chosen for it. The interval is that of their difference, in which what the two share is not counted twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from optuna.trial import FrozenTrial

from caviar.storage.history import is_sound
from caviar.studies.search.expectation import WinnerModel, possible
from caviar.studies.search.least_trials import FEW
from caviar.studies.search.surrogate import one_thread
from caviar.studies.space.search_space import SearchSpace

_DRAWS = 4000  # of both expected losses, whose scale is bent
_PERCENT = (5, 95)
# Times the model's own standard deviation. 1 would hold the true gain in 83 to 88 % of 204 searches of tables and of
# curves after 30, 60 and 100 trials, not in 90 %, since the winner was chosen by it; this holds it in 90 to 92 %, and
# in benchmarks/search/gain.py in 91 %.
_WIDER = 1.2


@dataclass(frozen=True)
class ExpectedGain:
    """By how much the winner is better than the default; below 0 where it is worse.

    Attributes:
        default: the number of the trial that had the default values.
        low, high: the 90 % interval; None where too few trials are finished for a model: `by` is that of one
            training of each then.
    """

    default: int
    by: float
    low: float | None = None
    high: float | None = None


def gain_over_default(
    space: SearchSpace, trials: Sequence[FrozenTrial], winner: int, known: WinnerModel | None = None
) -> ExpectedGain | None:
    """Return the gain of a trial over the default; None where no complete, sound trial had the default values.

    `known` is the model of these trials, where there is one already.
    """
    known = known or WinnerModel(space, trials)
    sound = {t.number: t.value for t in trials if is_sound(t)}
    default = default_trial(space, trials)
    if default is None or winner not in sound:
        return None
    sign = 1 if space.maximize else -1
    single = sign * ((sound[winner] or 0.0) - (sound[default] or 0.0))
    if winner == default:
        return ExpectedGain(default, 0.0)
    observed, model = known.observed, known.fitted(FEW)
    if model is None:
        return ExpectedGain(default, single)
    rows = [int(np.flatnonzero(observed.numbers == number)[0]) for number in (winner, default)]
    with one_thread():
        mean, covariance = model.together(observed.points[rows])
    least, most = sorted(-sign * bound for bound in possible(space, trials))
    drawn = np.random.default_rng(0).multivariate_normal(mean, _WIDER**2 * covariance, _DRAWS, method="svd")
    losses = np.clip(model.losses(np.concatenate([mean[None], drawn])), least, most)
    by = losses[:, 1] - losses[:, 0]
    low, high = np.percentile(by[1:], _PERCENT).tolist()
    return ExpectedGain(default, float(by[0]), min(low, float(by[0])), max(high, float(by[0])))


def default_trial(space: SearchSpace, trials: Sequence[FrozenTrial]) -> int | None:
    """Return the number of the first complete, sound trial that had the default of each hyperparameter; None where
    there is none, as where the trials name their hyperparameters themselves."""
    if space.by_trials:
        return None
    scales, stored = space.scales(), space.stored_names()
    defaults = space.trained({stored[name]: scale.to_stored(scale.default) for name, scale in scales.items()})
    own = (t for t in trials if is_sound(t) and t.params.keys() >= set(stored.values()))
    return next((t.number for t in own if space.trained(t.params) == defaults), None)
