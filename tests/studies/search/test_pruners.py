"""Who is stopped early, and who never."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.distributions import IntDistribution
from optuna.pruners import BasePruner, HyperbandPruner, SuccessiveHalvingPruner
from optuna.trial import FrozenTrial, TrialState, create_trial

from caviar.studies.errors import DefinitionError
from caviar.studies.search.pruner import PastTrials, Pruner
from caviar.studies.search.pruners import PRUNERS, make_pruner
from caviar.studies.space.base import BaseScale
from caviar.studies.space.scales import Grid, PowersOfTwo
from caviar.studies.workers.trial.checks import check
from tests.helpers.objectives import objective_study
from tests.helpers.studies import small_study

optuna.logging.set_verbosity(optuna.logging.WARNING)
CURVE = {1: 0.5, 2: 0.6, 3: 0.7, 4: 0.8, 5: 0.9}


def slow(epoch: int, *, trial: int, early: int, half: int) -> str:
    return (
        f"at epoch {epoch} not yet where trial {trial}, the best, was at epoch {early}; "
        f"since epoch {half} at less than half its pace"
    )


class Past:
    """The trials of a study in memory."""

    def __init__(self, program: optuna.Study) -> None:
        self.complete = self.ended = lambda others: program


def reason_to_stop(
    pruner: str,
    program: optuna.Study,
    trial: FrozenTrial,
    beside: Sequence[FrozenTrial] = (),
    epochs: int | None = None,
    lengths: BaseScale | None = None,
) -> Any:
    return make_pruner(pruner, epochs, lengths).reason_to_stop(Past(program), trial, beside)


def complete(count: int, curve: Mapping[int, float] = CURVE, **params: int) -> optuna.Study:
    program = optuna.create_study(direction="maximize")
    for _ in range(count):
        kinds = {name: IntDistribution(1, 1000) for name in params}
        value = curve[max(curve)]
        program.add_trial(
            create_trial(value=value, intermediate_values=dict(curve), params=params, distributions=kinds)
        )
    return program


def running(*values: float, **params: int) -> optuna.trial.FrozenTrial:
    return create_trial(
        state=TrialState.RUNNING, intermediate_values=dict(enumerate(values, start=1)),
        params=params, distributions={name: IntDistribution(1, 1000) for name in params},
    )  # fmt: skip


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
    assert reason == slow(4, trial=0, early=2, half=2)
    assert reason_to_stop("pace", program, running(0.1, 0.2, 0.3, 0.6)) is None  # it is just there
    assert reason_to_stop("pace", program, running(0.6, 0.1, 0.1, 0.1)) is None  # its best epoch counts
    reason = reason_to_stop("pace", program, running(*[0.6] * 5))
    assert reason == slow(5, trial=0, early=3, half=3)


def test_the_pace_is_that_of_a_trial_beside_it_where_that_one_is_the_best() -> None:
    weak, quick, second = running(0.1, 0.2, 0.2, 0.2), running(0.3, 0.5, 0.5, 0.5), running(0.1, 0.2, 0.2, 0.25)
    quick.number = 7
    reason = reason_to_stop("pace", complete(0), weak, [quick, second])
    assert reason == slow(4, trial=7, early=2, half=2)
    assert reason_to_stop("pace", complete(0), second, [quick, weak]) is None  # that one may yet diverge
    assert reason_to_stop("pace", complete(0), quick, [weak]) is None
    assert reason_to_stop("pace", complete(0), weak, [running(), running(0.1, 0.1, 0.1, 0.9)]) is None
    assert reason_to_stop("pace", complete(1), weak, [running(0.1, 0.1, 0.1, 0.8)]) is not None  # 0.9 is better


def test_who_begins_late_and_learns_quickly_then_goes_on() -> None:
    """A warm-up may be longer than that of the best trial: at epoch 8 it is where the best one was at epoch 3, and it
    has come there since epoch 4."""
    program = complete(1, {e: 0.1 * e for e in range(1, 10)})
    assert reason_to_stop("pace", program, running(0, 0, 0, 0.05, 0.1, 0.2, 0.25, 0.3)) is None
    assert reason_to_stop("pace", program, running(0, 0.1, 0.15, 0.2, 0.22, 0.24, 0.27, 0.3)) == slow(
        8, trial=0, early=4, half=4
    )


def test_the_first_part_of_a_long_schedule_is_free() -> None:
    program = complete(1, {e: 0.01 * e for e in range(1, 101)})
    for epochs, free in ((None, 3), (20, 3), (60, 3), (100, 5), (300, 15)):
        assert reason_to_stop("pace", program, running(*[0.0] * free), epochs=epochs) is None
        assert reason_to_stop("pace", program, running(*[0.0] * (free + 1)), epochs=epochs) is not None
    assert reason_to_stop("pace(free=20)", program, running(*[0.0] * 20), epochs=100) is None
    assert reason_to_stop("pace(free=20)", program, running(*[0.0] * 21), epochs=100) is not None
    assert reason_to_stop("pace(free=0)", program, running(0.0), epochs=100) is not None


def test_where_the_length_of_a_schedule_is_searched_each_trial_is_measured_in_its_own_time() -> None:
    quick = complete(1, {e: 0.05 * e for e in range(1, 21)}, epochs=20)
    half = [0.003 * e for e in range(1, 51)]  # at epoch 40 of 100 it has 0.12; after 4 of 20 the best had 0.2
    assert reason_to_stop("pace", quick, running(*half[:40], epochs=100), epochs=100) == slow(
        40, trial=0, early=4, half=20
    )
    enough = [0.006 * e for e in range(1, 51)]
    assert reason_to_stop("pace", quick, running(*enough[:40], epochs=100), epochs=100) is None
    assert reason_to_stop("pace", quick, running(*[0.0] * 5, epochs=100), epochs=20) is None  # 5 % of its own
    assert reason_to_stop("pace", quick, running(*[0.0] * 6, epochs=100), epochs=20) is not None


def test_the_length_of_a_schedule_is_read_off_the_scale_on_which_it_is_searched() -> None:
    """Powers of two are stored as their exponents, under another name: 4 and 6 are schedules of 16 and 64 epochs."""
    quick = complete(1, {e: 0.05 * e for e in range(1, 17)}, log2_epochs=4)
    half, scale = [0.004 * e for e in range(1, 41)], PowersOfTwo(16, 64, default=16)
    assert reason_to_stop("pace", quick, running(*half, log2_epochs=6), epochs=64, lengths=scale) == slow(
        40, trial=0, early=5, half=20
    )
    early = running(*[0.0] * 4, log2_epochs=6)  # 5 % of its own 64 epochs are 4
    assert reason_to_stop("pace", quick, early, epochs=16, lengths=scale) is None
    as_they_are = complete(1, {e: 0.05 * e for e in range(1, 17)}, epochs=16)
    early = running(*[0.0] * 4, epochs=64)
    assert reason_to_stop("pace", as_they_are, early, epochs=16, lengths=Grid(16, 64, default=16)) is None


@pytest.mark.parametrize("free", ["-1", "2.5", "True", "'3'", "None"])
def test_free_is_a_number_of_epochs(free: str) -> None:
    if free == "None":
        assert reason_to_stop(f"pace(free={free})", complete(1), running(0.1, 0.1, 0.1)) is None
        return
    with pytest.raises(DefinitionError, match=r"pace\(free=...\) is a number of epochs, 0 or more; given"):
        make_pruner(f"pace(free={free})")


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
    reason = reason_to_stop("pace", program, running(9.0, 8.0, 7.0, 2.5))
    assert reason == slow(4, trial=1, early=2, half=2)


@pytest.mark.parametrize("name", [*PRUNERS, "optuna:HyperbandPruner(min_resource=2)"])
def test_a_pruner_reads_no_curves_where_it_decides_nothing(name: str) -> None:
    class Unread:
        def complete(self, others: int) -> optuna.Study:
            raise AssertionError(f"{name} read the curves of {others} trials")

        ended = complete

    early = running(0.1, 0.1, 0.1)
    assert make_pruner(name, 30).reason_to_stop(Unread(), early, [early]) is None
    assert make_pruner("none").reason_to_stop(Unread(), running(*[0.1] * 9), []) is None


def test_optunas_pruners_have_a_name_and_arguments() -> None:
    program = complete(5)
    low = running(0.1, 0.1)
    assert reason_to_stop("optuna:ThresholdPruner(lower=0.2)", program, low) == "ThresholdPruner at epoch 2"
    assert reason_to_stop("optuna:ThresholdPruner(lower=0.05)", program, low) is None
    assert reason_to_stop("optuna:ThresholdPruner(lower=0.2, n_warmup_steps=5)", program, low) is None
    assert reason_to_stop("optuna:PercentilePruner(percentile=50.0)", program, low) == "PercentilePruner at epoch 2"
    assert reason_to_stop("PercentilePruner(percentile=50.0)", program, low) == "PercentilePruner at epoch 2"
    assert reason_to_stop("optuna:MedianPruner", complete(4), low) is None  # its own rule of five trials
    assert reason_to_stop("optuna:MedianPruner", program, running()) is None
    assert reason_to_stop("optuna:NopPruner", program, low) is None


@pytest.mark.parametrize(
    ("name", "native"),
    [
        ("SuccessiveHalvingPruner", SuccessiveHalvingPruner(min_resource=1)),
        (
            "SuccessiveHalvingPruner(min_resource=2, reduction_factor=3, bootstrap_count=2)",
            SuccessiveHalvingPruner(min_resource=2, reduction_factor=3, bootstrap_count=2),
        ),
        ("SuccessiveHalvingPruner(min_resource='auto')", SuccessiveHalvingPruner(min_resource=1)),
        ("HyperbandPruner", HyperbandPruner(max_resource=27)),
        ("HyperbandPruner(max_resource='auto')", HyperbandPruner(max_resource=27)),
        (
            "HyperbandPruner(min_resource=2, reduction_factor=2)",
            HyperbandPruner(min_resource=2, max_resource=27, reduction_factor=2),
        ),
    ],
)
@pytest.mark.parametrize("direction", ["maximize", "minimize"])
def test_halving_stops_whom_it_stops_in_optuna(name: str, native: BasePruner, direction: str) -> None:
    """Optuna notes in its storage what each trial has at its rungs; here that is read off the curves."""
    epochs, sign = 27, 1 if direction == "maximize" else -1
    program = optuna.create_study(study_name="history", direction=direction, pruner=copy.deepcopy(native))
    rng, mine = np.random.default_rng(3), optuna.create_study(direction=direction)
    stopped = 0
    for number in range(60):
        curve, trial = sign * np.cumsum(rng.random(epochs) * rng.random()), program.ask()
        kept: dict[int, float] = {}
        for epoch, value in enumerate(curve.tolist(), start=1):
            trial.report(value, epoch)
            kept[epoch] = value
            here = create_trial(state=TrialState.RUNNING, intermediate_values=dict(kept))
            here.number = number
            expected = trial.should_prune()
            found = reason_to_stop(f"optuna:{name}", mine, here, epochs=epochs)
            assert (found is not None) == expected, (number, epoch, found)
            if expected:
                assert found == f"{type(native).__name__} at epoch {epoch}"
                break
        state = TrialState.PRUNED if expected else TrialState.COMPLETE
        stopped += expected
        program.tell(trial, None if expected else curve[-1], state=state)
        mine.add_trial(create_trial(state=state, value=curve[-1], intermediate_values=kept))
    assert 20 < stopped < 60


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "pcae",
            r"no pruner 'pcae'; did you mean pace\? there are: pace, median, none, and Optuna's, such as optuna:H",
        ),
        ("HyperbandPruner", "no pruner 'HyperbandPruner'.* and Optuna's, such as optuna:HyperbandPruner"),
        ("median(n=3)", "the pruner median cannot be given n; .* pace alone"),
        ("pace(fre=3)", r"the pruner pace cannot be given fre; .* pace\(free=10\)"),
        (
            "optuna:MedainPruner",
            r"optuna.pruners has no 'MedainPruner'; did you mean MedianPruner.* there are: Hyp",
        ),
        ("optuna:BasePruner", "optuna.pruners has no 'BasePruner'"),
        ("optuna:CmaEsSampler", "optuna.pruners has no 'CmaEsSampler'"),
        ("optuna:PatientPruner(patience=3)", "optuna:PatientPruner is no pruner for a study: it wraps another pruner"),
        (
            "optuna:PercentilePruner",
            "it is missing 1 required positional argument: 'percentile'",
        ),
        ("optuna:PercentilePruner(percentile=200.0)", "Percentile must be between 0 and 100"),
        ("optuna:PercentilePruner(percentile='a')", "percentile is 'a'; give a value of type float"),
        ("optuna:PercentilePruner(percentile=True)", "percentile is True; give a value of type float"),
        (
            "optuna:PercentilePruner(percentil=2.0)",
            r"cannot be given 'percentil'; did you mean percentile\? it takes",
        ),
        ("optuna:NopPruner(n=1)", "cannot be given 'n'; it takes: nothing"),
        ("optuna:PercentilePruner(25.0)", "is no pruner; write a class of optuna.pruners"),
        ("optuna:PercentilePruner(percentile=print('hello'))", "is no pruner; write a class"),
        ("optuna:PercentilePruner(**{})", "is no pruner; write a class"),
        ("optuna:os.PathPruner()", "is no pruner; write a class"),
        ("optuna:__builtins__", "optuna.pruners has no '__builtins__'"),
        ("optuna:" + "(" * 5000, "is no pruner; write a class"),
        ("optuna:", "is no pruner; write a class"),
        ("", "no pruner ''"),
    ],
)
def test_what_is_no_pruner_is_refused_and_nothing_is_evaluated(
    name: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(DefinitionError, match=message) as raised:
        make_pruner(name)
    assert "\n" not in str(raised.value)
    assert capsys.readouterr().out == ""


NEVER = "can stop no trial: it looks at none of its 27 epochs; give it a smaller min_resource, or no arguments"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("SuccessiveHalvingPruner(min_resource=28)", NEVER),
        ("SuccessiveHalvingPruner(min_resource=7, min_early_stopping_rate=1)", NEVER),
        ("SuccessiveHalvingPruner(min_early_stopping_rate=1000000000000)", NEVER),
        ("HyperbandPruner(min_resource=100)", NEVER),
        ("HyperbandPruner(min_resource=10, max_resource=5)", NEVER),
        ("HyperbandPruner(min_resource=0)", "cannot decide about a trial: ZeroDivisionError"),
        ("HyperbandPruner(reduction_factor=1)", "cannot decide about a trial: ZeroDivisionError"),
    ],
)
def test_a_pruner_that_cannot_decide_or_never_would_is_found_before_the_first_trial(
    arguments: str, message: str
) -> None:
    study = small_study(pruner=f"optuna:{arguments}", epochs=27)
    with pytest.raises(DefinitionError) as raised:
        check(study)
    assert str(raised.value).startswith(f"the pruner optuna:{arguments} {message}")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("epochs", [1, 27, 100_000])
@pytest.mark.parametrize(
    "arguments",
    [
        "SuccessiveHalvingPruner(min_resource='auto')", "SuccessiveHalvingPruner",
        "HyperbandPruner(max_resource='auto')", "HyperbandPruner", "MedianPruner", "NopPruner",
        "PercentilePruner(percentile=25.0)", "ThresholdPruner(lower=0.1)", "WilcoxonPruner",
    ],
)  # fmt: skip
@pytest.mark.filterwarnings("error")
def test_every_other_pruner_passes_that_check(arguments: str, epochs: int) -> None:
    check(small_study(pruner=f"optuna:{arguments}", epochs=epochs))


def test_the_last_epoch_is_early_enough_to_look_and_an_objective_has_no_last_one() -> None:
    check(small_study(pruner="optuna:SuccessiveHalvingPruner(min_resource=27)", epochs=27))
    check(objective_study("silent", pruner="optuna:HyperbandPruner(min_resource=28)"))


def test_a_new_pruner_is_one_class_and_one_name(monkeypatch: pytest.MonkeyPatch) -> None:
    class Never(Pruner):
        def reason_to_stop(self, past: PastTrials, trial: FrozenTrial, running: Sequence[FrozenTrial]) -> str | None:
            return f"never mind epoch {max(trial.intermediate_values)}"

    monkeypatch.setitem(PRUNERS, "never", Never)
    assert small_study(pruner="never").pruner == "never"
    assert reason_to_stop("never", complete(0), running(0.1)) == "never mind epoch 1"
