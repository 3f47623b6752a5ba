"""Who is stopped early, and who never."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState, create_trial

from caviar.studies.errors import DefinitionError
from caviar.studies.search.pruners import PRUNERS, Pruner, make_pruner
from tests.helpers.studies import small_study

optuna.logging.set_verbosity(optuna.logging.WARNING)
CURVE = {1: 0.5, 2: 0.6, 3: 0.7, 4: 0.8, 5: 0.9}


def reason_to_stop(pruner: str, program: optuna.Study, trial: FrozenTrial, beside: Sequence[FrozenTrial] = ()) -> Any:
    return make_pruner(pruner).reason_to_stop(lambda others: program, trial, beside)


def complete(count: int) -> optuna.Study:
    program = optuna.create_study(direction="maximize")
    for _ in range(count):
        program.add_trial(create_trial(value=0.9, intermediate_values=CURVE))
    return program


def running(*values: float) -> optuna.trial.FrozenTrial:
    return create_trial(state=TrialState.RUNNING, intermediate_values=dict(enumerate(values, start=1)))


def test_a_bad_curve_is_stopped_after_the_warm_up() -> None:
    reason = reason_to_stop("median", complete(5), running(0.1, 0.1, 0.1, 0.1))
    assert reason == "worse than the median at epoch 4"


def test_nothing_is_stopped_in_the_first_three_epochs() -> None:
    assert reason_to_stop("median", complete(50), running(0.1, 0.1, 0.1)) is None


def test_nothing_is_stopped_before_five_trials_are_complete() -> None:
    assert reason_to_stop("median", complete(4), running(0.1, 0.1, 0.1, 0.1, 0.1)) is None


def test_diverged_trials_are_no_ground_to_stop_others() -> None:
    program = complete(4)
    for _ in range(5):
        program.add_trial(create_trial(value=0.1, intermediate_values={1: 0.1}, constraints={"diverged": 1.0}))
    assert reason_to_stop("median", program, running(0.1, 0.1, 0.1, 0.1, 0.1)) is None


def test_a_good_curve_goes_on_and_its_best_epoch_counts() -> None:
    assert reason_to_stop("median", complete(5), running(0.5, 0.95, 0.1, 0.1)) is None


def test_without_a_pruner_nothing_is_stopped() -> None:
    assert reason_to_stop("none", complete(5), running(0.1, 0.1, 0.1, 0.1)) is None


def test_what_learns_more_than_twice_slower_than_the_best_is_stopped() -> None:
    program = complete(1)  # with one finished trial already
    reason = reason_to_stop("pace", program, running(0.1, 0.2, 0.3, 0.4))
    assert reason == "at epoch 4 not yet where trial 0, the best, was at epoch 2"
    assert reason_to_stop("pace", program, running(0.1, 0.2, 0.3, 0.6)) is None  # it is just there
    assert reason_to_stop("pace", program, running(0.6, 0.1, 0.1, 0.1)) is None  # its best epoch counts
    reason = reason_to_stop("pace", program, running(*[0.6] * 5))
    assert reason == "at epoch 5 not yet where trial 0, the best, was at epoch 3"


def test_the_pace_is_that_of_a_trial_beside_it_where_that_one_is_the_best() -> None:
    slow, quick, second = running(0.1, 0.2, 0.3, 0.4), running(0.3, 0.5, 0.5, 0.5), running(0.1, 0.2, 0.3, 0.45)
    quick.number = 7
    reason = reason_to_stop("pace", complete(0), slow, [quick, second])
    assert reason == "at epoch 4 not yet where trial 7, the best, was at epoch 2"
    assert reason_to_stop("pace", complete(0), second, [quick, slow]) is None  # that one may yet diverge
    assert reason_to_stop("pace", complete(0), quick, [slow]) is None
    assert reason_to_stop("pace", complete(0), slow, [running(), running(0.1, 0.1, 0.1, 0.9)]) is None
    assert reason_to_stop("pace", complete(1), slow, [running(0.1, 0.1, 0.1, 0.8)]) is not None  # 0.9 is better


def test_a_curve_that_is_worse_again_sets_no_pace_by_what_it_was() -> None:
    program = optuna.create_study(direction="maximize")
    program.add_trial(create_trial(value=0.7, intermediate_values={1: 0.98, 2: 0.98, 3: 0.8, 4: 0.7}))
    assert reason_to_stop("pace", program, running(0.1, 0.2, 0.3, 0.75)) is None
    assert reason_to_stop("pace", program, running(0.1, 0.2, 0.3, 0.65)) is not None


def test_a_good_trial_is_not_measured_against_other_good_ones() -> None:
    """Half of the good trials at the end of a search are below their median."""
    below = running(*(value - 0.01 for value in CURVE.values()))
    assert reason_to_stop("median", complete(20), below) is not None
    assert reason_to_stop("pace", complete(20), below) is None


def test_nobody_is_slow_in_the_first_three_epochs_or_before_any_trial_is_finished() -> None:
    assert reason_to_stop("pace", complete(9), running(0.1, 0.1, 0.1)) is None
    assert reason_to_stop("pace", complete(0), running(*[0.1] * 9)) is None
    assert reason_to_stop("none", complete(9), running(*[0.1] * 9)) is None


def test_the_pace_is_the_best_trials_whichever_way_is_better_and_never_a_diverged_ones() -> None:
    program = optuna.create_study(direction="minimize")
    curves = [{1: 3.0, 2: 2.0, 3: 1.0}, {1: 2.0, 2: 1.0, 3: 0.5}, {1: 0.1, 2: 0.1, 3: 0.1}]
    for curve, constraints in zip(curves, ({}, {}, {"diverged": 1.0}), strict=True):
        program.add_trial(create_trial(value=curve[3], intermediate_values=curve, constraints=constraints))
    assert reason_to_stop("pace", program, running(9.0, 8.0, 7.0, 1.0)) is None
    reason = reason_to_stop("pace", program, running(9.0, 8.0, 7.0, 1.5))
    assert reason == "at epoch 4 not yet where trial 1, the best, was at epoch 2"


@pytest.mark.parametrize("name", PRUNERS)
def test_a_pruner_reads_no_curves_where_it_decides_nothing(name: str) -> None:
    def read(others: int) -> optuna.Study:
        raise AssertionError(f"{name} read the curves of {others} trials")

    early = running(0.1, 0.1, 0.1)
    assert make_pruner(name).reason_to_stop(read, early, [early]) is None
    assert make_pruner("none").reason_to_stop(read, running(*[0.1] * 9), []) is None


def test_optunas_pruners_have_a_name_and_arguments() -> None:
    program = complete(5)
    low = running(0.1, 0.1)
    assert reason_to_stop("ThresholdPruner(lower=0.2)", program, low) == "ThresholdPruner at epoch 2"
    assert reason_to_stop("ThresholdPruner(lower=0.05)", program, low) is None
    assert reason_to_stop("ThresholdPruner(lower=0.2, n_warmup_steps=5)", program, low) is None
    assert reason_to_stop("PercentilePruner(percentile=50.0)", program, low) == "PercentilePruner at epoch 2"
    assert reason_to_stop("MedianPruner", complete(4), low) is None  # its own rule of five trials
    assert reason_to_stop("MedianPruner", program, running()) is None


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("pcae", r"no pruner 'pcae'; did you mean pace\? there are: pace, median, none, .*Optuna's MedianPruner"),
        ("MedainPruner", r"no pruner 'MedainPruner'; did you mean MedianPruner"),
        ("HyperbandPruner", "no pruner 'HyperbandPruner'"),
        ("PatientPruner(patience=3)", "no pruner"),
        ("PercentilePruner", "missing 1 required positional argument: 'percentile'"),
        ("PercentilePruner(percentile=200.0)", "Percentile must be between 0 and 100"),
        ("PercentilePruner(25.0)", "no pruner"),
        ("PercentilePruner(percentile=print('hello'))", "no pruner"),
        ("PercentilePruner(**{})", "no pruner"),
        ("os.PathPruner()", "no pruner"),
        ("", "no pruner ''"),
    ],
)
def test_what_is_no_pruner_is_refused_and_nothing_is_evaluated(
    name: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(DefinitionError, match=message):
        make_pruner(name)
    assert capsys.readouterr().out == ""


def test_a_new_pruner_is_one_class_and_one_name(monkeypatch: pytest.MonkeyPatch) -> None:
    class Never(Pruner):
        def reason_to_stop(self, complete: Any, trial: FrozenTrial, beside: Sequence[FrozenTrial]) -> str | None:
            return f"never mind epoch {max(trial.intermediate_values)}"

    monkeypatch.setitem(PRUNERS, "never", Never)
    assert small_study(pruner="never").pruner == "never"
    assert reason_to_stop("never", complete(0), running(0.1)) == "never mind epoch 1"
