"""What a search learns from its trials: a loss for each that is finished, on a scale that a model can use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from optuna.trial import FrozenTrial, TrialState

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
    study: Study, trials: Sequence[FrozenTrial], trained: dict[int, dict[str, Value]] | None = None
) -> list[Observation]:
    """Return the finished trials with a loss: complete ones have their value, pruned ones the last that they reported.

    A failed trial, and one without any value, has the worst loss of all, and is never forgotten.

    Args:
        trained: the values of finished trials by Optuna's id, as far as they are known; the others are added.
    """
    stored = {scale.stored_name(name) for name, scale in study.scales().items()}
    known, lost = [], []
    sign = -1.0 if study.maximize else 1.0
    for trial in trials:
        if not trial.state.is_finished():
            continue
        values = trained.get(trial._trial_id) if trained is not None else None
        if values is None:
            if stored - trial.params.keys():
                continue  # another program made it
            values = study.trained(trial.params)
            if trained is not None:
                trained[trial._trial_id] = values
        value = trial.value
        if value is None and trial.intermediate_values:
            value = trial.intermediate_values[max(trial.intermediate_values)]
        if trial.state == TrialState.FAIL or value is None or not np.isfinite(value):
            lost.append((trial.number, values))
        else:
            known.append(Observation(trial.number, values, sign * value))
    worst = max((o.loss for o in known), default=0.0)
    return sorted([*known, *(Observation(n, v, worst, failed=True) for n, v in lost)], key=lambda o: o.number)


def half_rank(losses: Sequence[float]) -> list[float]:
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
    return [float(z) for z in np.where(better, above / spread, np.maximum(scores, 0.0))]
