"""The median rule: who is stopped, and who never."""

from __future__ import annotations

import optuna
from optuna.trial import TrialState, create_trial

from studies.pruning import reason_to_stop
from tests.studies_for_tests import small_study

optuna.logging.set_verbosity(optuna.logging.WARNING)
CURVE = {1: 0.5, 2: 0.6, 3: 0.7, 4: 0.8, 5: 0.9}


def complete(count: int) -> optuna.Study:
    program = optuna.create_study(direction="maximize")
    for _ in range(count):
        program.add_trial(create_trial(value=0.9, intermediate_values=CURVE))
    return program


def running(*values: float) -> optuna.trial.FrozenTrial:
    return create_trial(state=TrialState.RUNNING, intermediate_values=dict(enumerate(values, start=1)))


def test_a_bad_curve_is_stopped_after_the_warm_up() -> None:
    reason = reason_to_stop(small_study(), complete(5), running(0.1, 0.1, 0.1, 0.1))
    assert reason == "worse than the median at epoch 4"


def test_nothing_is_stopped_in_the_first_three_epochs() -> None:
    assert reason_to_stop(small_study(), complete(50), running(0.1, 0.1, 0.1)) is None


def test_nothing_is_stopped_before_five_trials_are_complete() -> None:
    assert reason_to_stop(small_study(), complete(4), running(0.1, 0.1, 0.1, 0.1, 0.1)) is None


def test_diverged_trials_are_no_ground_to_stop_others() -> None:
    program = complete(4)
    for _ in range(5):
        program.add_trial(create_trial(value=0.1, intermediate_values={1: 0.1}, constraints={"diverged": 1.0}))
    assert reason_to_stop(small_study(), program, running(0.1, 0.1, 0.1, 0.1, 0.1)) is None


def test_a_good_curve_goes_on_and_its_best_epoch_counts() -> None:
    assert reason_to_stop(small_study(), complete(5), running(0.5, 0.95, 0.1, 0.1)) is None


def test_without_a_pruner_nothing_is_stopped() -> None:
    assert reason_to_stop(small_study(pruner="none"), complete(5), running(0.1, 0.1, 0.1, 0.1)) is None
