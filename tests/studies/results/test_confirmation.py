"""Whether the winner is better than the runner-up: who that is, and Welch's interval against SciPy's."""

from __future__ import annotations

from dataclasses import replace

import optuna
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from optuna.trial import FrozenTrial, TrialState
from scipy.stats import ttest_ind
from sqlalchemy import Engine

from caviar.storage.trainings import write_trainings
from caviar.studies.definition import Study
from caviar.studies.lifecycle.manager import open_study
from caviar.studies.results.confirmation import (
    Comparison,
    Confirmation,
    compare,
    in_words,
    read_confirmation,
    runner_up,
    welch,
)
from caviar.studies.space.scales import Log

STUDY = Study(
    name="small", model="mlp", data="digits", epochs=2, budget=8, tiers=({"learning_rate": Log(1e-4, 1, default=0.1)},)
)
SAMPLES = st.lists(st.floats(0, 1, allow_subnormal=False), min_size=2, max_size=8)


def trial(number: int, value: float, rate: float, state: TrialState = TrialState.COMPLETE) -> FrozenTrial:
    made = optuna.trial.create_trial(
        state=state, value=value, params={"learning_rate": rate}, distributions=STUDY.distributions()
    )
    made.number = number
    return made


@given(SAMPLES, SAMPLES)
def test_the_interval_is_scipys(first: list[float], second: list[float]) -> None:
    assume(max(first) - min(first) > 1e-6)
    assume(max(second) - min(second) > 1e-6)
    expected = ttest_ind(first, second, equal_var=False).confidence_interval(0.95)
    difference, low, high = welch(first, second)
    assert low is not None
    assert high is not None
    assert (low, high) == pytest.approx((expected.low, expected.high), rel=1e-6, abs=1e-9)
    assert low <= difference <= high


def test_trainings_that_all_come_to_the_same_have_no_interval() -> None:
    assert welch([0.75, 0.75], [0.5, 0.5]) == (0.25, None, None)
    assert welch([0.5, 0.5], [0.5, 0.5]) == (0.0, None, None)


@pytest.mark.parametrize(
    ("winner", "other", "verdict"),
    [
        ([0.9, 0.9], [0.89, 0.89], "open"),
        ([0.9, 0.91, 0.9], [0.5, 0.51, 0.5], "better"),
        ([0.5, 0.51, 0.5], [0.9, 0.9, 0.9], "worse"),
        ([0.9, 0.8], [0.85, 0.86], "open"),
    ],
)
def test_the_verdict_is_that_of_the_interval(
    engine: Engine, winner: list[float], other: list[float], verdict: str
) -> None:
    record = open_study(engine, STUDY)
    values = {(0, n): v for n, v in enumerate(winner)} | {(1, n): v for n, v in enumerate(other)}
    write_trainings(engine, record.study_id, values)
    found = read_confirmation(engine, record.study_id, STUDY, 0, 1)
    assert found is not None
    assert found.verdict == verdict
    assert (found.low is None) == (len({*winner}) == len({*other}) == 1)
    assert "caviar " in in_words(found) or verdict == "better"


def test_the_runner_up_has_other_values_and_is_complete() -> None:
    trials = [trial(0, 0.8, 0.1), trial(1, 0.9, 0.2), trial(2, 0.89, 0.2), trial(3, 0.95, 0.3, TrialState.PRUNED)]
    assert runner_up(STUDY, trials, 1) == 0
    assert runner_up(STUDY, [*trials, trial(4, 0.85, 0.4), trial(5, 0.85, 0.5)], 1) == 4
    assert runner_up(STUDY, trials[1:], 1) is None


def test_of_a_loss_the_lowest_is_the_runner_up() -> None:
    study = STUDY.model_copy(update={"metric": "validation_loss", "direction": "minimize"})
    assert runner_up(study, [trial(0, 0.1, 0.1), trial(1, 0.3, 0.2), trial(2, 0.2, 0.3)], 0) == 2


def test_of_a_loss_the_lower_one_is_better() -> None:
    study = STUDY.model_copy(update={"metric": "validation_loss", "direction": "minimize"})
    found = compare(study, 1, [0.1, 0.11, 0.1], [0.3, 0.31, 0.3])
    assert (found.verdict, found.better_by) == (Comparison.BETTER, pytest.approx(0.2))
    assert compare(study, 1, [0.3, 0.31, 0.3], [0.1, 0.11, 0.1]).verdict is Comparison.WORSE


def test_the_words_name_both_and_the_verdict() -> None:
    found = Confirmation("small", 7, (0.9,) * 5, (0.8,) * 3, 0.9, 0.8, 0.1, 0.05, 0.15, Comparison.BETTER)
    assert "5 and 3 times" in in_words(found)
    assert "trial 7 to 0.8;" in in_words(found)
    assert in_words(found).endswith(": more than the noise of a training")
    assert "it was better by 0.100, 0.050 to 0.150 (95 %" in in_words(found)
    worse = in_words(replace(found, better_by=-0.0011, low=-0.003, high=0.0008, verdict=Comparison.OPEN))
    assert "it was worse by 0.00110, -0.00080 to 0.00300 (95 %" in worse
    assert ", which the noise of a training may explain; more" in worse
    assert worse.endswith("more trainings may tell (caviar best small --confirm 10)")
    worse = in_words(replace(found, better_by=-0.1, low=-0.15, high=-0.05, verdict=Comparison.WORSE))
    assert "the runner-up is the better one" in worse
    assert worse.endswith("take its hyperparameters (caviar trials small)")
    same = in_words(replace(found, low=None, high=None, verdict=Comparison.OPEN))
    assert "it was better by 0.100; all trainings of each came to the same" in same
    assert same.endswith("repeat more (caviar best small --confirm 10)")
