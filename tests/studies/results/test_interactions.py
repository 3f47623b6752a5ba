"""Pairs of hyperparameters whose effects depend on each other: found where there are, and not in noise."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.trial import FrozenTrial, create_trial

from caviar.studies.results.interactions import interactions
from caviar.studies.search.candidates import cube
from caviar.studies.search.effects import Around
from tests.helpers.studies import small_study

optuna.logging.set_verbosity(optuna.logging.WARNING)
STUDY = small_study()


def trials_of(accuracy: Callable[[Sequence[float]], float], seed: int, count: int = 60) -> list[FrozenTrial]:
    """Trials all over the space, with some noise."""
    rng, scales = np.random.default_rng(seed), STUDY.scales()
    found = []
    for number in range(count):
        units = cube(STUDY).snap(rng.random((1, len(scales))))[0]
        stored: dict[str, Any] = {
            scale.stored_name(name): scale.to_stored(scale.value(float(unit)))
            for (name, scale), unit in zip(scales.items(), units, strict=True)
        }
        value = accuracy(units) + 0.01 * rng.normal()
        trial = create_trial(value=value, params=stored, distributions=STUDY.distributions())
        trial.number = trial._trial_id = number
        found.append(trial)
    return found


def additive(units: Sequence[float]) -> float:
    return 0.95 - 0.4 * (units[0] - 0.6) ** 2 - 0.05 * units[1] - 0.03 * (units[2] - 0.5) ** 2


def ridge(units: Sequence[float]) -> float:
    """The larger the momentum, the smaller the best learning rate."""
    return 0.95 - 0.4 * (units[0] + 0.8 * units[1] - 1) ** 2


def test_a_ridge_is_found_in_every_search() -> None:
    for seed in range(6):
        first, *_ = interactions(STUDY, trials_of(ridge, seed))
        assert (first.first, first.second) == ("learning_rate", "momentum")
        assert first.share > first.noise


def test_where_effects_add_up_hardly_any_pair_is_shown() -> None:
    assert sum(bool(interactions(STUDY, trials_of(additive, seed))) for seed in range(10)) <= 2


def test_too_few_trials_and_trials_of_one_value_have_none() -> None:
    assert interactions(STUDY, trials_of(ridge, 0, count=29)) == ()
    assert interactions(STUDY, []) == ()
    same = trials_of(lambda _: 0.9, 0)
    for trial in same:
        trial.value = 0.9
    assert interactions(STUDY, same) == ()


def test_what_is_expected_over_both_has_the_ridge() -> None:
    trials = trials_of(ridge, 0)
    best = max(trials, key=lambda t: t.value or 0.0).number
    surface = Around(STUDY, trials, best).surface("learning_rate", "momentum")
    assert surface is not None
    mean = np.array(surface.mean)
    assert mean.shape == (len(surface.units[1]), len(surface.units[0]))
    best_rates = np.array(surface.units[0])[mean.argmax(axis=1)]
    assert best_rates[0] > best_rates[-1] + 0.4  # of a small momentum, and of a large one
    for row, momentum in ((0, 0.0), (-1, 1.0)):
        assert best_rates[row] == pytest.approx(1 - 0.8 * momentum, abs=0.15)
    assert Around(STUDY, trials[:10], 3).surface("learning_rate", "momentum") is None
