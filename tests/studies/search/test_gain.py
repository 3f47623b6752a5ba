"""The gain of the winner over the default, of searches whose truth is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from optuna.trial import TrialState

from caviar.studies.results.gain import Basis, Gain, gain_of, in_words
from caviar.studies.search.expectation import winner_of
from caviar.studies.search.gain import ExpectedGain, default_trial, gain_over_default
from caviar.studies.search.least_trials import FEW
from tests.helpers.studies import small_study
from tests.helpers.trials import made, noisy

STUDY = small_study()
DEFAULT = STUDY.scales()["learning_rate"].unit(0.1)  # whose true accuracy is 0.925, of 0.95 at most


def search(seed: int, count: int = 40) -> tuple[list, float]:
    """Trials of which the first has the default values, and the true gain of their winner."""
    trials, truth = noisy(STUDY, seed, count)
    of_default = 0.95 - 0.4 * (DEFAULT - 0.5) ** 2
    rng = np.random.default_rng([seed, 1])
    trials[0] = made(STUDY, 0, of_default + 0.02 * rng.normal(), DEFAULT)
    truth[0] = of_default
    winner = winner_of(STUDY, trials)
    assert winner is not None
    return trials, float(truth[winner.trial] - of_default)


def test_the_interval_of_the_gain_holds_and_it_flatters_less_than_the_values_do() -> None:
    holds, flattery, of_values = [], [], []
    for seed in range(40):
        trials, true = search(seed)
        winner = winner_of(STUDY, trials)
        assert winner is not None
        found = gain_over_default(STUDY, trials, winner.trial)
        assert found is not None
        assert found.low is not None
        assert found.high is not None
        holds.append(found.low <= true <= found.high)
        flattery.append(found.by - true)
        of_values.append((trials[winner.trial].value or 0.0) - (trials[0].value or 0.0) - true)
    assert np.mean(holds) >= 0.8
    assert abs(np.mean(flattery)) < np.mean(of_values)


def test_it_is_the_difference_of_what_is_expected() -> None:
    trials, _ = search(0)
    winner = winner_of(STUDY, trials)
    assert winner is not None
    found = gain_over_default(STUDY, trials, winner.trial)
    of_default = winner_of(STUDY, trials, tested=0)
    assert found is not None
    assert found.by == pytest.approx((winner.value or 0.0) - (of_default.value if of_default else 0.0))


def test_few_trials_have_a_difference_without_an_interval() -> None:
    trials, _ = search(0)
    few = trials[: FEW - 1]
    best = max(few, key=lambda t: t.value or 0.0)
    found = gain_over_default(STUDY, few, best.number)
    assert found == ExpectedGain(0, (best.value or 0.0) - (few[0].value or 0.0))
    assert gain_of(STUDY, few, best.number, {}) == Gain(0, found.by, None, None, Basis.SINGLE)


def test_a_default_that_won_gains_nothing_and_one_that_was_pruned_is_not_compared() -> None:
    trials, _ = search(0)
    assert gain_over_default(STUDY, trials, 0) == ExpectedGain(0, 0.0)
    trials[0] = made(STUDY, 0, None, DEFAULT, state=TrialState.PRUNED, intermediate_values={1: 0.5})
    assert default_trial(STUDY, trials) is None
    assert gain_over_default(STUDY, trials, 1) is None


def test_lower_is_better_where_a_loss_is_minimized() -> None:
    study = small_study(metric="validation_loss", direction="minimize")
    units = np.random.default_rng(0).random(40)
    trials = [made(study, i, 0.1 + (u - 0.5) ** 2, u) for i, u in enumerate(units)]
    trials[0] = made(study, 0, 0.1 + (DEFAULT - 0.5) ** 2, DEFAULT)
    winner = winner_of(study, trials)
    assert winner is not None
    found = gain_over_default(study, trials, winner.trial)
    assert found is not None
    assert 0 < found.by < 0.1
    trained = {0: {0: 0.30, 1: 0.31, 2: 0.32}, winner.trial: {0: 0.10, 1: 0.11, 2: 0.12}}
    measured = gain_of(study, trials, winner.trial, trained)
    assert measured is not None
    assert (measured.by, measured.basis) == (pytest.approx(0.2), Basis.MEASURED)
    single = gain_of(study, [trials[0], made(study, 1, 0.05, 0.5)], 1, {})
    assert single is not None
    assert (single.by, single.basis) == (pytest.approx((trials[0].value or 0.0) - 0.05), Basis.SINGLE)


def test_what_was_measured_takes_the_place_of_what_was_expected() -> None:
    trials, _ = search(0)
    winner = winner_of(STUDY, trials)
    assert winner is not None
    trained = {0: {0: 0.90, 1: 0.91, 2: 0.92}, winner.trial: {0: 0.94, 1: 0.95, 2: 0.96}}
    found = gain_of(STUDY, trials, winner.trial, trained)
    assert found is not None
    assert found.basis is Basis.MEASURED
    assert found.by == pytest.approx(0.04)
    assert found.low is not None
    assert 0 < found.low < 0.04
    only = gain_of(STUDY, trials, winner.trial, {winner.trial: trained[winner.trial]})
    assert only is not None
    assert only.basis is Basis.EXPECTED


def test_an_interval_that_says_next_to_nothing_is_known_to_be_one() -> None:
    trials, _ = search(0)
    winner = winner_of(STUDY, trials)
    assert winner is not None
    found = gain_of(STUDY, trials, winner.trial, {})
    assert found is not None
    assert not found.is_vague
    wild = {0: {0: 0.5, 1: 0.9}, winner.trial: {0: 0.6, 1: 0.95}}  # of trials from 0.85 to 0.95
    measured = gain_of(STUDY, trials, winner.trial, wild)
    assert measured is not None
    assert measured.is_vague
    # A narrow one around nothing says a lot.
    calm = gain_of(STUDY, trials, winner.trial, {0: {0: 0.9, 1: 0.9001}, winner.trial: {0: 0.9, 1: 0.9001}})
    assert calm is not None
    assert not calm.is_vague


def test_in_words() -> None:
    expected = Gain(0, 0.0139, 0.004, 0.0238, Basis.EXPECTED)
    assert in_words(expected, 20) == ("+0.0139", "expected over the default (trial 0), +0.0040 to +0.0238 (90 %)")
    measured = replace(expected, low=-1e-9, basis=Basis.MEASURED)
    assert in_words(measured, 20)[1] == "measured over the default (trial 0), +0.0000 to +0.0238 (95 %)"
    vague = replace(expected, low=0.0005, high=1.96, is_vague=True)
    assert in_words(vague, 20)[1].startswith("expected over the default (trial 0); how much is hardly known yet: +0.00")
    single = Gain(0, -0.01, None, None, Basis.SINGLE)
    assert in_words(single, 20) == ("-0.0100", "over the default (trial 0); one training of each, without an interval")
    assert in_words(Gain(3, 0.0, None, None, Basis.SINGLE), 3)[1].startswith("over the default, which is the winner")
