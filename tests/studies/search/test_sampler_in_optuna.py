"""The TieredSampler in Optuna programs that know nothing of Caviar: Optuna's own tests of samplers, and more."""

from __future__ import annotations

import math
import pickle
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler
from optuna.testing.pytest_samplers import BasicSamplerTestCase, RelativeSamplerTestCase, SingleOnlySamplerTestCase
from optuna.trial import Trial, TrialState

from caviar.studies.search.optuna_space import OptunaScale
from caviar.studies.search.sampler import TieredSampler

optuna.logging.set_verbosity(optuna.logging.WARNING)


VARIANTS: dict[str, dict[str, Any]] = {
    "bare": {},
    "seeded": {"seed": 0},
    "four tiers": {"tiers": [["x0"], ["x1"], ["a"], ["b"]], "seed": 2},
    "a budget of 1": {"budget": 1},
    "a budget of 10": {"budget": 10},
    "a budget of 100,000": {"budget": 100_000},
}


class TestAsOptunaTestsSamplers(BasicSamplerTestCase, RelativeSamplerTestCase, SingleOnlySamplerTestCase):
    @pytest.fixture(
        params=[
            pytest.param({"tiers": [["x"], ["y"]], "seed": 0}, id="two tiers"),
            *(pytest.param(options, id=name, marks=pytest.mark.optuna) for name, options in VARIANTS.items()),
        ]
    )
    def sampler(self, request: pytest.FixtureRequest) -> Callable[[], BaseSampler]:
        return partial(TieredSampler, **request.param)


def bowl(trial: Trial) -> float:
    """Best at x = 0.001, units = 40 and name = b; y is only there with the name a."""
    x = trial.suggest_float("x", 1e-5, 1, log=True)
    units = trial.suggest_int("units", 1, 64)
    name = trial.suggest_categorical("name", ["a", "b", "c"])
    y = trial.suggest_float("y", 0, 1) if name == "a" else 0.0
    return (math.log10(x) + 3) ** 2 + ((units - 40) / 32) ** 2 + {"a": 0.3, "b": 0.0, "c": 1.0}[name] + y


def search(sampler: BaseSampler, trials: int = 40, direction: str = "minimize", **how: Any) -> optuna.Study:
    study = optuna.create_study(sampler=sampler, direction=direction)
    sign = 1 if direction == "minimize" else -1
    study.optimize(lambda trial: sign * bowl(trial), n_trials=trials, **how)
    return study


def test_the_first_trial_has_the_middle_of_every_range_and_then_only_the_first_tier_moves() -> None:
    study = search(TieredSampler(tiers=[["x"], ["units", "name"]], seed=0), trials=4)
    first, *others = [trial.params for trial in study.trials]
    assert (first["x"], first["units"], first["name"]) == (pytest.approx(10**-2.5), 33, "a")
    assert {(p["units"], p["name"]) for p in others[:2]} == {(33, "a")}
    quarters = sorted(int((math.log10(p["x"]) + 5) / 5 * 4) for p in others)  # the third opens the second tier
    assert quarters == [0, 1, 3]


@pytest.mark.parametrize("direction", ["minimize", "maximize"])
def test_it_finds_more_than_random_search(direction: str) -> None:
    ours = [search(TieredSampler(tiers=[["x"]], seed=seed), 40, direction).best_value for seed in range(5)]
    theirs = [search(optuna.samplers.RandomSampler(seed), 40, direction).best_value for seed in range(5)]
    assert abs(sum(ours)) < abs(sum(theirs)) / 3


def test_the_same_seed_gives_the_same_search_also_after_pickling() -> None:
    def params(sampler: BaseSampler) -> list[dict[str, Any]]:
        return [trial.params for trial in search(sampler, 15).trials]

    used = TieredSampler(tiers=[["x"]], seed=3)
    expected = params(used)
    assert params(pickle.loads(pickle.dumps(used))) == expected
    assert params(TieredSampler(tiers=[["x"]], seed=4)) != expected
    assert params(TieredSampler()) != params(TieredSampler())


def test_a_sampler_that_is_pickled_in_the_middle_goes_on_as_if_it_were_not() -> None:
    study = search(TieredSampler(tiers=[["x"]], seed=3), 12)
    whole = search(TieredSampler(tiers=[["x"]], seed=3), 15)
    study.sampler = pickle.loads(pickle.dumps(study.sampler))
    study.optimize(bowl, n_trials=3)
    assert [t.params for t in study.trials] == [t.params for t in whole.trials]


def test_threads_share_a_search() -> None:
    study = search(TieredSampler(tiers=[["x"]], seed=0), 40, n_jobs=4)
    assert len(study.trials) == 40
    assert study.best_value < 0.5


@pytest.mark.slow
def test_programs_share_a_search_through_a_storage(tmp_path: Any) -> None:
    address = f"sqlite:///{tmp_path}/study.db"
    optuna.create_study(study_name="shared", storage=address)
    for _ in range(4):
        program = optuna.load_study(study_name="shared", storage=address, sampler=TieredSampler(tiers=[["x"]], seed=0))
        program.optimize(bowl, n_trials=6)
    alone = search(TieredSampler(tiers=[["x"]], seed=0), 24)
    assert [t.params for t in program.trials] == [t.params for t in alone.trials]


def test_trials_that_failed_or_came_to_nothing_are_learned_from() -> None:
    def fragile(trial: Trial) -> float:
        x = trial.suggest_float("x", 0, 1)
        if x > 0.5:
            raise ValueError("x is too large")
        return -x

    study = optuna.create_study(sampler=TieredSampler(seed=0))
    study.optimize(fragile, n_trials=40, catch=ValueError)
    assert len(study.trials) == 40
    assert study.best_value < -0.4
    late = [trial.state for trial in study.trials[20:]]
    assert late.count(TrialState.FAIL) < len(late) / 2


def test_what_violates_a_constraint_is_avoided_however_good_it_is() -> None:
    def constrained(trial: Trial) -> float:
        x, y = trial.suggest_float("x", 0, 1), trial.suggest_float("y", 0, 1)
        trial.set_constraint("sum", x + y - 1)  # at most 0 where it is kept
        return -x - 0.5 * y

    study = optuna.create_study(sampler=TieredSampler(seed=0))
    study.optimize(constrained, n_trials=60)
    assert study.best_value < -0.9  # -1 is at (1, 0)
    late = [max(trial.constraints.values()) > 0 for trial in study.trials[30:]]
    assert sum(late) < len(late) / 2


def test_of_trials_that_violate_constraints_the_search_sees_which_one_violates_less() -> None:
    """Nothing is allowed at first, so what counts is how far each trial is from what is."""

    def constrained(trial: Trial) -> float:
        x, y = trial.suggest_float("x", 0, 1), trial.suggest_float("y", 0, 1)
        trial.set_constraint("corner", 0.2 - min(x - 0.7, y - 0.7))
        return x

    for seed in range(3):
        study = optuna.create_study(sampler=TieredSampler(seed=seed))
        study.optimize(constrained, n_trials=30)
        assert any(trial.constraints["corner"] <= 0 for trial in study.trials)  # 1 % of the space


def test_a_parameter_that_some_trials_do_not_have_is_searched_too() -> None:
    """The parameters of a branch, by the trials that have taken it."""

    def branches(trial: Trial) -> float:
        if trial.suggest_categorical("kind", ("flat", "deep")) == "flat":
            return 30.0
        return (trial.suggest_float("depth", 0, 10) - 7) ** 2 + (trial.suggest_float("width", 0, 10) - 2) ** 2

    def best(sampler: BaseSampler) -> float:
        study = optuna.create_study(sampler=sampler)
        study.optimize(branches, n_trials=60)
        return study.best_value

    ours = sum(best(TieredSampler(seed=seed)) for seed in range(5))
    assert ours < sum(best(optuna.samplers.RandomSampler(seed)) for seed in range(5)) / 3


def test_a_trial_that_was_pruned_before_it_had_a_parameter_does_not_take_that_from_the_search() -> None:
    def late(trial: Trial) -> float:
        x = trial.suggest_float("x", -1, 1)
        if trial.number == 2:
            raise optuna.TrialPruned
        return (x - 0.3) ** 2 + (trial.suggest_float("y", -1, 1) + 0.4) ** 2

    study = optuna.create_study(sampler=TieredSampler(seed=0))
    study.optimize(late, n_trials=30)
    assert study.best_value < 1e-3


def test_the_very_ends_of_a_range_are_not_proposed() -> None:
    """They may be values that no program bears, such as a share of 0, though the best ones are next to them."""
    study = optuna.create_study(sampler=TieredSampler(seed=0))
    study.optimize(lambda trial: trial.suggest_float("share", 0, 1) - trial.suggest_float("y", 0, 1), n_trials=40)
    shares = [trial.params["share"] for trial in study.trials]
    assert 0 < min(shares) < 0.01
    assert max(trial.params["y"] for trial in study.trials) < 1


def test_many_names_of_one_tier_are_searched_around_the_best() -> None:
    def names(trial: Trial) -> float:
        return float(sum(trial.suggest_categorical(f"c{i}", (0, 1, 2, 3)) != i % 4 for i in range(10)))

    for seed in range(3):
        study = optuna.create_study(sampler=TieredSampler(seed=seed))
        study.optimize(names, n_trials=60)
        assert study.best_value == 0  # one of a million


def test_where_all_values_are_equal_the_search_goes_on_without_repeats() -> None:
    study = optuna.create_study(sampler=TieredSampler(seed=0))
    study.optimize(lambda trial: 0.0 * trial.suggest_float("x", 0, 1), n_trials=30)
    assert len({trial.params["x"] for trial in study.trials}) == 30


def test_fifty_parameters() -> None:
    def wide(trial: Trial) -> float:
        return sum(trial.suggest_float(f"x{number}", -1, 1) ** 2 for number in range(50))

    tiers = [[f"x{number}" for number in range(start, 50, 4)] for start in range(4)]
    study = optuna.create_study(sampler=TieredSampler(tiers=tiers, seed=0))
    study.enqueue_trial({f"x{number}": 0.9 for number in range(50)})
    study.optimize(wide, n_trials=40)
    assert study.best_value < 30  # from 40.5


@pytest.mark.parametrize("directions", [("minimize", "minimize"), ("minimize", "maximize")])
def test_a_sampler_of_two_studies_learns_from_each_only_its_own(directions: tuple[str, str]) -> None:
    storage = optuna.storages.InMemoryStorage()
    used = TieredSampler(seed=0)
    first = optuna.create_study(storage=storage, sampler=used, direction=directions[0])
    first.optimize(lambda trial: (trial.suggest_float("x", 0, 1) - 0.1) ** 2, n_trials=20)
    sign = 1 if directions[1] == "minimize" else -1

    def search_again(sampler: BaseSampler) -> list[float]:
        study = optuna.create_study(storage=storage, sampler=sampler, direction=directions[1])
        study.optimize(lambda trial: sign * (trial.suggest_float("x", 0, 1) - 0.9) ** 2, n_trials=20)
        return [trial.params["x"] for trial in study.trials]

    assert search_again(used) == search_again(TieredSampler(seed=0))


def test_an_enqueued_value_outside_its_range_is_kept_as_optuna_keeps_it() -> None:
    study = optuna.create_study(sampler=TieredSampler(seed=0))
    study.optimize(lambda t: t.suggest_float("x", 0, 1) + t.suggest_float("y", 0, 1), n_trials=2)
    study.enqueue_trial({"x": 1.5})
    with pytest.warns(UserWarning, match="out of range"):
        study.optimize(lambda t: t.suggest_float("x", 0, 1) + t.suggest_float("y", 0, 1), n_trials=1)
    assert 0 <= study.trials[-1].params["y"] <= 1


def test_one_thread_leaves_the_number_of_threads_as_it_was_however_threads_interleave() -> None:
    from threadpoolctl import threadpool_info, threadpool_limits

    from caviar.studies.search.surrogate import one_thread

    def threads() -> set[int]:
        return {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}

    def hold(_: int) -> None:
        for _ in range(20):
            with one_thread():
                time.sleep(0.001)

    with threadpool_limits(2, user_api="blas"), ThreadPoolExecutor(4) as pool:
        list(pool.map(hold, range(4)))
        assert threads() == {2}


def test_what_cannot_be_searched_is_refused() -> None:
    with pytest.raises(ValueError, match="list of names"):
        TieredSampler(tiers=["lr", "m"])
    with pytest.raises(ValueError, match="none of them in two"):
        TieredSampler(tiers=[["x"], ["x"]])
    with pytest.raises(ValueError, match="a seed is 0 to 9,223,372,036,854,775,807"):
        TieredSampler(seed=-1)
    with pytest.raises(ValueError, match="at most four tiers"):
        TieredSampler(tiers=[["a"], ["b"], ["c"], ["d"], ["e"]])
    with pytest.raises(ValueError, match="budget of 1 to 100,000"):
        TieredSampler(budget=0)


DISTRIBUTIONS = [
    FloatDistribution(-1, 1), FloatDistribution(1e-7, 1, log=True), FloatDistribution(-10.2, 10.2, step=0.1),
    IntDistribution(-10, 10), IntDistribution(3, 9, step=2), IntDistribution(1, 100, log=True),
    CategoricalDistribution(["a", None, 3]),
]  # fmt: skip


@pytest.mark.parametrize("kind", DISTRIBUTIONS, ids=str)
@given(unit=st.floats(0, 1))
def test_every_place_of_a_scale_is_a_value_of_its_distribution_and_back(kind: BaseDistribution, unit: float) -> None:
    scale = OptunaScale(of=kind)
    value = scale.value(unit)
    assert kind._contains(kind.to_internal_repr(value))
    assert 0 <= scale.unit(value) <= 1
    assert scale.value(scale.unit(value)) == pytest.approx(value)


@pytest.mark.parametrize("kind", DISTRIBUTIONS[3:6], ids=str)
def test_the_ends_of_an_integer_scale_are_as_likely_as_the_others(kind: IntDistribution) -> None:
    values = [OptunaScale(of=kind).value(place / 10_000) for place in range(10_001)]
    assert (values[0], values[-1]) == (kind.low, kind.high)
    if not kind.log:
        counts = [values.count(number) for number in range(kind.low, kind.high + 1, kind.step)]
        assert max(counts) - min(counts) <= 2
