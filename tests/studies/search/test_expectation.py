"""What is expected of configurations: the winner that is not only lucky, its interval, and an earlier study's part."""

from __future__ import annotations

import numpy as np
import optuna
import pytest
from hypothesis import example, given
from hypothesis import strategies as some
from optuna.trial import FrozenTrial, TrialState

from caviar.studies.definition import PriorTrial, Study, change
from caviar.studies.search.candidates import cube
from caviar.studies.search.expectation import Expectation, winner_of
from caviar.studies.search.observations import Observations, from_half_rank, half_rank
from tests.helpers.studies import small_study
from tests.helpers.trials import made, noisy

optuna.logging.set_verbosity(optuna.logging.WARNING)


def test_the_winner_is_expected_to_be_good_and_what_is_said_of_it_holds() -> None:
    study = small_study()
    better, held, flattery = 0, 0, []
    for seed in range(40):
        trials, truth = noisy(study, seed)
        found = winner_of(study, trials)
        assert found is not None
        luckiest = max(trials, key=lambda t: t.value or 0.0)
        better += truth[found.trial] >= truth[luckiest.number]
        assert found.value is not None
        assert found.low is not None
        assert found.high is not None
        held += found.low <= truth[found.trial] <= found.high
        flattery.append(((luckiest.value or 0.0) - truth[luckiest.number], found.value - truth[found.trial]))
    assert better >= 30
    assert held >= 36
    lucky, expected = np.mean(flattery, axis=0)
    assert lucky > 0.02
    assert abs(expected) < 0.005


def test_only_one_of_the_three_best_values_wins() -> None:
    study = small_study()
    for seed in range(10):
        trials, _ = noisy(study, seed)
        found = winner_of(study, trials)
        assert found is not None
        best = sorted(trials, key=lambda t: -(t.value or 0.0))[:3]
        assert found.trial in [t.number for t in best]


def test_of_the_three_best_values_the_best_expected_wins() -> None:
    """A parabola whose top is between two trials, and the best value of all at its foot, among bad ones: luck."""
    study = small_study()
    values = {i: 0.9 - 0.4 * (i / 29 - 0.5) ** 2 for i in range(30)}
    lucky = values | {1: 0.91}
    trials = [made(study, i, value, i / 29) for i, value in lucky.items()]
    found = winner_of(study, trials)
    assert found is not None
    assert found.trial in (14, 15)  # the second and the third best value
    # Where the three best values are all luck, the best expected of them wins, not the best expected of all.
    lucky |= {2: 0.9101, 27: 0.9102}
    found = winner_of(study, [made(study, i, value, i / 29) for i, value in lucky.items()])
    assert found is not None
    assert found.trial in (1, 2, 27)


def test_what_cannot_be_said_is_not_said() -> None:
    study = small_study()
    few, _ = noisy(study, 0, count=9)
    equal = [made(study, i, 1.0, i / 29) for i in range(30)]
    for trials in ([made(study, 0, 0.93, 0.5)], few, equal):
        found = winner_of(study, trials)
        assert found is not None
        assert (found.value, found.low, found.high) == (None, None, None)


@pytest.mark.parametrize(("metric", "direction"), [("accuracy", "maximize"), ("loss", "minimize")])
def test_an_interval_stays_within_what_the_metric_can_be(metric: str, direction: str) -> None:
    study = small_study(metric=metric, direction=direction)
    rng = np.random.default_rng(0)
    good = 1 - 1e-4 * rng.random(40) if study.maximize else 1e-4 * rng.random(40)
    found = winner_of(study, [made(study, i, value, i / 39) for i, value in enumerate(good)])
    assert found is not None
    assert found.low is not None
    assert found.high is not None
    assert found.low >= 0
    assert found.high <= (1 if study.maximize else 2e-4)


def test_many_pruned_trials_with_better_values_hide_no_complete_one() -> None:
    study = small_study()
    trials = [made(study, i, 0.8 + i / 1000, i / 5) for i in range(5)]
    for i in range(210):
        curve = {1: 0.9 + i / 10000}
        trials.append(made(study, 5 + i, None, i / 210, state=TrialState.PRUNED, intermediate_values=curve))
    found = winner_of(study, trials)
    assert found is not None
    assert found.trial < 5


def test_the_one_that_is_decided_stays() -> None:
    study = small_study()
    trials, _ = noisy(study, 0)
    found = winner_of(study, trials)
    other = winner_of(study, trials, tested=7)
    assert found is not None
    assert other is not None
    assert other.trial == 7 != found.trial
    assert other.value is not None
    assert found.value is not None
    assert other.value < found.value


def test_of_few_trials_the_best_value_wins() -> None:
    study = small_study()
    trials, _ = noisy(study, 0, count=9)
    found = winner_of(study, trials)
    assert found is not None
    assert found.trial == max(trials, key=lambda t: t.value or 0.0).number


def test_only_a_complete_and_sound_trial_can_win() -> None:
    study = small_study()
    assert winner_of(study, []) is None
    pruned = [made(study, i, None, 0.5, state=TrialState.PRUNED, intermediate_values={1: 0.99}) for i in range(30)]
    assert winner_of(study, pruned) is None
    diverged = made(study, 30, 0.99, 0.5, system_attrs={"constraints:diverged": 1.0})
    assert winner_of(study, [*pruned, diverged]) is None
    found = winner_of(study, [*pruned, diverged, made(study, 31, 0.1, 0.9)])
    assert found is not None
    assert found.trial == 31


def test_losses_are_minimised_and_an_interval_has_its_ends_in_order() -> None:
    study = small_study(metric="loss", direction="minimize")
    trials = [made(study, i, abs(i - 15) / 15 + 0.1, i / 29) for i in range(30)]
    found = winner_of(study, trials)
    assert found is not None
    assert abs(found.trial - 15) <= 2
    assert found.low is not None
    assert found.value is not None
    assert found.high is not None
    assert found.low <= found.value <= found.high


def test_of_several_trainings_of_one_configuration_the_best_is_taken() -> None:
    study = small_study()
    trials, _ = noisy(study, 1, count=30, noise=0.001)
    trials += [made(study, 30 + i, value, 0.5) for i, value in enumerate([0.97, 0.99, 0.98])]
    found = winner_of(study, trials)
    assert found is not None
    assert found.trial == 31
    assert found.value is not None
    assert 0.955 < found.value < 0.99


@given(some.lists(some.floats(-1e3, 1e3), min_size=1, max_size=40))
@example([0.0, 1.1125369292536007e-308])
def test_the_scale_of_the_model_and_back(losses: list[float]) -> None:
    there = half_rank(losses)
    back = from_half_rank(there, np.array(losses))
    better = np.array(losses) < np.median(losses)
    assert back[better] == pytest.approx(np.array(losses)[better], abs=1e-6)
    assert (back[~better] >= np.median(losses) - 1e-9).all()


def expectation_of(study: Study, trials: list[FrozenTrial]) -> Expectation:
    observed = Observations(study)
    observed.learn(trials)
    return Expectation(study, cube(study), observed)


def middle_and_end(study: Study, model: Expectation) -> list[float]:
    """What the model expects of a learning rate in the middle of its scale, and at its end."""
    scales = study.scales()
    points = [[unit if n == "learning_rate" else s.unit(s.default) for n, s in scales.items()] for unit in (0.5, 1.0)]
    return model.posterior(np.array(points))[0].tolist()


def test_a_prior_is_believed_until_it_is_contradicted() -> None:
    study = small_study()
    scale = study.scales()["learning_rate"]
    defaults = {n: s.default for n, s in study.scales().items()}
    units = np.linspace(0, 1, 21)
    prior = tuple(
        PriorTrial(values={**defaults, "learning_rate": scale.value(u)}, loss=float((u - 0.5) ** 2)) for u in units
    )
    with_prior = change(study, prior=[known.model_dump() for known in prior])
    few = [made(study, 0, 0.9, 0.1), made(study, 1, 0.91, 0.15)]
    middle, end = middle_and_end(with_prior, expectation_of(with_prior, few))
    assert middle < end - 0.5
    unmoved = middle_and_end(study, expectation_of(study, few))
    assert abs(unmoved[0] - unmoved[1]) < 0.5
    against = [made(study, i, 0.5 + 2 * (u - 0.5) ** 2, u) for i, u in enumerate(units)]
    middle, end = middle_and_end(with_prior, expectation_of(with_prior, against))
    assert middle > end + 0.5
