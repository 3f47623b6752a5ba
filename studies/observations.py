"""What a search learns from its trials: a loss for each that is finished, on a scale that a model can use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from optuna.trial import FrozenTrial, TrialState

from storage.history import is_feasible
from studies.definition import Study
from studies.scale import Value


@dataclass(frozen=True)
class Observation:
    """A finished trial: its values, and its loss (lower is better)."""

    number: int
    values: Mapping[str, Value]
    loss: float
    failed: bool = False


def best_of(observed: Sequence[Observation]) -> Observation | None:
    """Return the best one, which is a failed one only where all failed; None where there is none."""
    return min(observed, key=lambda o: (o.loss, o.failed), default=None)


def observations(
    study: Study, trials: Sequence[FrozenTrial], known: dict[int, Observation] | None = None
) -> list[Observation]:
    """Return the finished trials with a loss: complete ones have their value, pruned ones the last that they reported.

    A failed trial, one without any value, and one that violates a constraint has the worst loss of all, and is never
    forgotten.

    Args:
        known: the finished trials that were read before, by number; the others are added.
    """
    known = {} if known is None else known
    stored = {scale.stored_name(name) for name, scale in study.scales().items()}
    for trial in trials:
        # A trial with other parameters was made by another program.
        if trial.number not in known and trial.state.is_finished() and stored <= trial.params.keys():
            known[trial.number] = _observe(study, trial)
    found = [known[trial.number] for trial in trials if trial.number in known]
    worst = max((o.loss for o in found if not o.failed), default=0.0)
    return sorted((replace(o, loss=worst) if o.failed else o for o in found), key=lambda o: o.number)


def _observe(study: Study, trial: FrozenTrial) -> Observation:
    values, value = study.trained(trial.params), trial.value
    if value is None and trial.intermediate_values:
        value = trial.intermediate_values[max(trial.intermediate_values)]
    if trial.state == TrialState.FAIL or value is None or not np.isfinite(value) or not is_feasible(trial):
        return Observation(trial.number, values, 0.0, failed=True)
    return Observation(trial.number, values, -value if study.maximize else value)


def standardised(z: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return losses with a mean of 0 and a variance of 1; all 0 where all are equal."""
    return np.asarray((z - z.mean()) / (z.std() or 1.0))


def half_rank(losses: Sequence[float]) -> NDArray[np.float64]:
    """Return losses on a scale on which bad trials are only bad, however bad: what a model should see.

    Better than the median: (y - median) / rms(better ones - median). Worse: the normal score of the rank. An early
    stopped or diverged trial would otherwise stretch the scale until good ones cannot be told apart.
    """
    from scipy.special import ndtri

    y = np.asarray(losses, dtype=float)
    above = y - np.median(y)
    better = above < 0
    spread = float(np.sqrt(np.mean(above[better] ** 2))) if better.any() else 1.0
    _, of, count = np.unique(y, return_inverse=True, return_counts=True)
    ranks = np.cumsum(count) - (count - 1) / 2  # those that are equal share the mean of their ranks
    scores = ndtri((ranks[of] - 0.5) / len(y))
    return np.asarray(np.where(better, above / spread, np.maximum(scores, 0.0)))
