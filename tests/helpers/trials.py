"""Trials of Optuna that nobody trained."""

from __future__ import annotations

from typing import Any

import numpy as np
from optuna.trial import FrozenTrial, TrialState, create_trial

from caviar.studies.definition import Study


def made(study: Study, number: int, value: float | None, unit: float, **fields: Any) -> FrozenTrial:
    """A trial of a learning rate."""
    stored = {s.stored_name(n): s.to_stored(s.default) for n, s in study.scales().items()}
    stored["learning_rate"] = study.scales()["learning_rate"].value(unit)
    fields.setdefault("state", TrialState.COMPLETE)
    trial = create_trial(value=value, params=stored, distributions=study.distributions(), **fields)
    trial.number = number
    return trial


def noisy(study: Study, seed: int, count: int = 50, noise: float = 0.02) -> tuple[list[FrozenTrial], Any]:
    """Trials all over the scale of the learning rate, best in its middle, and the true accuracy of each."""
    rng = np.random.default_rng(seed)
    units = rng.random(count)
    truth = 0.95 - 0.4 * (units - 0.5) ** 2
    return [made(study, i, truth[i] + noise * rng.normal(), units[i]) for i in range(count)], truth
