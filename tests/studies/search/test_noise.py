"""The one noise of a study: of fresh trainings, of repeated configurations, of the model, or of the validation set."""

from __future__ import annotations

import math

import pytest

from caviar.studies.search.noise import Basis, Evidence, noise_of
from tests.helpers.studies import small_study
from tests.helpers.trials import made, noisy

SPREAD = {0: {0: 0.88, 1: 0.90, 2: 0.92}, 1: {0: 0.87, 1: 0.89, 2: 0.91}}


def test_fresh_trainings_say_it_where_there_are_enough() -> None:
    study = small_study()
    trials, _ = noisy(study, 0, count=30)
    found = noise_of(study, trials, 0, evidence=Evidence(SPREAD, 359))
    assert found is not None
    assert found.deviation == pytest.approx(0.02)
    assert found.basis is Basis.FRESH
    assert str(found) == "0.02 (from fresh trainings)"
    of_model = noise_of(study, trials, 0)
    same = {0: {0: 0.9, 1: 0.9, 2: 0.9}, 1: {0: 0.9, 1: 0.9, 2: 0.9}}
    for too_few in ({0: {0: 0.88, 1: 0.92}}, same, {n: {0: 0.9} for n in range(9)}):
        assert noise_of(study, trials, 0, evidence=Evidence(too_few)) == of_model


def test_a_configuration_that_was_trained_again_and_again_says_it() -> None:
    study = small_study()
    alike = [made(study, i, 0.9 + i / 1000, 0.5) for i in range(5)]
    found = noise_of(study, alike, 0)
    assert found is not None
    assert (found.deviation, found.basis) == (pytest.approx(0.00158, rel=0.01), Basis.REPEATED)
    two = noise_of(study, alike[:2], 0, evidence=Evidence(examples=359))
    assert two is not None
    assert two.deviation > 0.01  # two that came near one another do not say that all would


@pytest.mark.parametrize("noise", [0.005, 0.02, 0.05])
def test_the_model_knows_what_the_hyperparameters_do_not_explain(noise: float) -> None:
    study = small_study()
    trials, _ = noisy(study, 1, count=60, noise=noise)
    found = noise_of(study, trials, max(trials, key=lambda t: t.value or 0.0).number)
    assert found is not None
    assert found.basis is Basis.MODEL
    assert noise / 2 < found.deviation < noise * 2


def test_the_validation_set_bounds_what_the_model_believes() -> None:
    """Below a rate the network learns nothing at all: for the model that is noise of a tenth and more."""
    study = small_study()
    trials = [made(study, i, 0.95 if i % 3 else 0.3 + i / 100, i / 30) for i in range(30)]
    alone = noise_of(study, trials, 1)
    bounded = noise_of(study, trials, 1, evidence=Evidence(examples=700))
    sampling = math.sqrt(0.95 * 0.05 / 700)
    assert alone is not None
    assert bounded is not None
    assert alone.deviation > 6 * sampling
    assert (bounded.deviation, bounded.basis) == (pytest.approx(3 * sampling), Basis.EXAMPLES)
    calm, _ = noisy(study, 1, count=60, noise=1e-4)
    least = noise_of(study, calm, 0, evidence=Evidence(examples=100))
    assert least is not None
    rate = max(t.value or 0.0 for t in calm)
    half = math.sqrt(rate * (1 - rate) / 100) / 2
    assert (least.deviation, least.basis) == (pytest.approx(half), Basis.EXAMPLES)


def test_with_few_trials_the_validation_set_alone_says_it_or_nothing_does() -> None:
    study = small_study()
    few = [made(study, i, 0.9, i / 9) for i in range(9)]
    assert noise_of(study, few, 0) is None
    found = noise_of(study, few, 0, evidence=Evidence(examples=359))
    assert found is not None
    assert (found.deviation, found.basis) == (pytest.approx(math.sqrt(0.9 * 0.1 / 359)), Basis.EXAMPLES)
    perfect = noise_of(study, [made(study, 0, 1.0, 0.5)], 0, evidence=Evidence(examples=359))
    assert perfect is not None
    assert perfect.deviation > 0
