"""The TieredSampler: what is free when, where it zooms, what it learns from, and as an ordinary Optuna sampler."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.trial import TrialState, create_trial

import caviar.studies.search.expectation as expectation_module
import caviar.studies.search.tiers as tiers_module
from caviar.storage.history import study_of
from caviar.studies.definition import Study, change
from caviar.studies.search.initial_design import halton, strata, zoom
from caviar.studies.search.observations import Observations, half_rank
from caviar.studies.search.plan import plan
from caviar.studies.search.sampler import TieredSampler
from caviar.studies.search.strategies import Proposer
from caviar.studies.space.base import BaseScale
from caviar.studies.space.scales import Choice, Grid, Linear, Log, PowersOfTwo
from tests.helpers.studies import TIERS, small_study

optuna.logging.set_verbosity(optuna.logging.WARNING)

DEFAULTS = {
    "learning_rate": 0.1, "momentum": 0.9, "hidden_units": 64, "batch_size": 256, "layers": 2, "decay": 0.0,
}  # fmt: skip


def loss_of(values: dict[str, Any]) -> float:
    """Best at α = 0.01, β = 0.99 and 80 units."""
    away = (np.log10(values["learning_rate"]) + 2) ** 2 + (np.log10(1 - values["momentum"]) + 2) ** 2
    return float(away + ((values["hidden_units"] - 80) / 50) ** 2 + 0.1 * (values["layers"] - 3) ** 2)


def search(study: Study) -> tuple[optuna.Study, list[dict[str, Any]]]:
    """Run a search of `loss_of` in a plain Optuna program."""
    program = optuna.create_study(sampler=TieredSampler(study), direction=study.direction)
    seen = []

    def objective(trial: optuna.Trial) -> float:
        stored = {}
        for name, scale in study.scales().items():
            kind = scale.distribution()
            if isinstance(kind, optuna.distributions.IntDistribution):
                stored[name] = trial.suggest_int(scale.stored_name(name), kind.low, kind.high, step=kind.step)
            else:
                assert isinstance(kind, optuna.distributions.FloatDistribution)
                stored[name] = trial.suggest_float(scale.stored_name(name), kind.low, kind.high, log=kind.log)
        values = {n: s.from_stored(stored[n]) for n, s in study.scales().items()}
        seen.append(values)
        return (-1 if study.maximize else 1) * loss_of(values)

    program.optimize(objective, n_trials=study.budget)
    return program, seen


def changed(values: dict[str, Any]) -> set[str]:
    return {name for name, value in values.items() if value != DEFAULTS[name]}


def test_the_tiers_open_one_after_the_other_and_the_learning_rate_is_looked_at_everywhere() -> None:
    study = small_study(budget=20, metric="loss", direction="minimize")
    program, seen = search(study)
    second = {"momentum", "hidden_units", "batch_size"}
    assert changed(seen[0]) == set()
    assert all(changed(values) == {"learning_rate"} for values in seen[1:3])
    assert {"learning_rate", "momentum", "hidden_units"} <= changed(seen[3]) <= {"learning_rate", *second}
    quarters = [int(4 * study.scales()["learning_rate"].unit(values["learning_rate"])) for values in seen[:4]]
    assert sorted(quarters) == [0, 1, 2, 3]
    for made, values in zip(program.trials[4:6], seen[4:6], strict=True):  # near the best, the last tier anywhere
        zoom = made.user_attrs["zoom"]
        assert zoom.keys() == {"learning_rate", *second}
        assert all(low <= values[name] <= high for name, (low, high) in zoom.items())
    assert {"layers", "decay"} & (changed(seen[4]) | changed(seen[5]))


def test_it_works_in_a_plain_optuna_program_and_beats_random() -> None:
    def best(sampler: optuna.samplers.BaseSampler | None, seed: int) -> float:
        study = small_study(budget=20, metric="loss", direction="minimize", seed=seed)
        if sampler is None:
            return search(study)[0].best_value
        random = change(study, strategy="random")
        proposals = [Proposer(random).propose(optuna.create_study(), slot) for slot in plan(random)]
        return min(loss_of(dict(proposal.values)) for proposal in proposals)

    ours = [best(None, seed) for seed in range(3)]
    random = [best(optuna.samplers.RandomSampler(), seed) for seed in range(3)]
    assert np.mean(ours) < 0.5 * np.mean(random)


def test_maximising_and_minimising_are_mirrors() -> None:
    _, down = search(small_study(budget=18, metric="loss", direction="minimize"))
    _, up = search(small_study(budget=18, metric="accuracy", direction="maximize"))
    assert down == up


def test_the_same_seed_gives_the_same_search_and_another_seed_another() -> None:
    _, first = search(small_study(budget=18, metric="loss", direction="minimize"))
    _, again = search(small_study(budget=18, metric="loss", direction="minimize"))
    _, other = search(small_study(budget=18, metric="loss", direction="minimize", seed=1))
    assert first == again
    assert first[1:] != other[1:]


def trial(number: int, **fields: Any) -> optuna.trial.FrozenTrial:
    fields.setdefault("state", TrialState.RUNNING)
    made = create_trial(**fields)
    made.number = made._trial_id = number
    return made


def finished(study: Study, number: int, state: TrialState, value: float | None, curve: dict[int, float]) -> Any:
    stored = {s.stored_name(n): s.to_stored(s.default) for n, s in study.scales().items()}
    kinds = {s.stored_name(n): s.distribution() for n, s in study.scales().items()}
    return trial(number, state=state, value=value, intermediate_values=curve, params=stored, distributions=kinds)


def observed(study: Study, trials: list[optuna.trial.FrozenTrial]) -> Observations:
    found = Observations(study)
    found.learn(trials)
    return found


def test_what_the_search_learns_from_each_kind_of_trial() -> None:
    study = small_study()
    trials = [
        finished(study, 0, TrialState.COMPLETE, 0.9, {1: 0.5, 2: 0.9}),
        finished(study, 1, TrialState.PRUNED, None, {1: 0.2, 2: 0.3}),  # the last that it reported
        finished(study, 2, TrialState.FAIL, None, {1: 0.95}),  # worse than all others, however it began
        finished(study, 3, TrialState.RUNNING, None, {1: 0.99}),
        trial(4, state=TrialState.COMPLETE, value=0.99),  # somebody else's, without our hyperparameters
    ]
    learned = observed(study, trials)
    assert learned.numbers.tolist() == [0, 1, 2]
    assert learned.losses.tolist() == pytest.approx([-0.9, -0.3, 0.3])


def test_what_is_learned_later_or_out_of_order_comes_to_the_same() -> None:
    study = small_study()
    trials = [finished(study, n, TrialState.COMPLETE, n / 10, {}) for n in range(6)]
    trials[2] = finished(study, 2, TrialState.FAIL, None, {})
    trials[4] = finished(study, 4, TrialState.PRUNED, None, {1: -1.0})
    at_once, bit_by_bit = observed(study, trials), observed(study, trials[3:4])
    assert bit_by_bit.losses.tolist() == [-0.3]
    for upto in (2, 4, 6):
        bit_by_bit.learn(trials[:upto])
    for name in ("numbers", "losses", "points", "values"):
        assert np.array_equal(getattr(at_once, name), getattr(bit_by_bit, name))
    assert at_once.losses.tolist() == [-0.0, -0.1, 2.5, -0.3, 1.0, -0.5]
    assert at_once.best() == study.trained(trials[5].params)


def test_another_trial_of_the_same_number_takes_nobodys_place() -> None:
    study = small_study()
    one, other = (finished(study, 3, TrialState.COMPLETE, value, {}) for value in (0.9, 0.1))
    other._trial_id = 99
    other.params["layers"] = 4
    learned = observed(study, [one])
    learned.learn([one, other])
    assert learned.losses.tolist() == [-0.9, -0.1]
    assert [values["layers"] for values in learned.values] == [2, 4]


def test_the_zoom_box_holds_the_best_quarter_with_a_margin() -> None:
    study = small_study(tiers=TIERS[:1])
    scale = study.scales()["learning_rate"]
    trials = [finished(study, i, TrialState.COMPLETE, -loss, {}) for i, loss in enumerate([9, 1, 2, 8])]
    for made, unit in zip(trials, (0.1, 0.5, 0.6, 0.9), strict=True):
        made.params["learning_rate"] = scale.value(unit)
    assert zoom(study, observed(study, trials[:1])) == {}
    low, high = zoom(study, observed(study, trials))["learning_rate"]
    assert (low, high) == pytest.approx((0.5 - 0.05 - 0.05, 0.6 + 0.05 + 0.05))


def test_fine_trials_stay_in_the_box_and_say_so() -> None:
    study = small_study(budget=40, strategy="classic", metric="loss", direction="minimize")
    program, seen = search(study)
    fine = [(t, v) for t, v, s in zip(program.trials, seen, plan(study), strict=True) if s.phase == "fine"]
    assert fine
    for kept, values in fine:
        low, high = kept.user_attrs["zoom"]["learning_rate"]
        assert low <= values["learning_rate"] <= high


def after(study: Study, count: int, random: int = 0, **fields: Any) -> optuna.Study:
    """A program with some trials of `loss_of`, at random."""
    program = optuna.create_study(sampler=TieredSampler(study))
    rng = np.random.default_rng(random)
    for _ in range(count):
        values = {n: s.value(float(rng.random())) for n, s in study.scales().items()}
        stored = {s.stored_name(n): s.to_stored(values[n]) for n, s in study.scales().items()}
        loss = loss_of(values) if "learning_rate" in values and len(values) == 6 else float(rng.random())
        given = {"value": loss, **fields}
        program.add_trial(create_trial(params=stored, distributions=study.distributions(), **given))
    return program


LOSS = {"metric": "loss", "direction": "minimize"}


@pytest.mark.parametrize("state", [TrialState.PRUNED, TrialState.FAIL])
def test_the_model_learns_from_pruned_and_failed_trials(state: TrialState) -> None:
    study = small_study(budget=40, **LOSS)
    untold, told = after(study, 12), after(study, 12)
    proposed = untold.ask(study.distributions()).params
    ended = {"state": state, "value": None, "intermediate_values": {1: 99.0} if state is TrialState.PRUNED else {}}
    for program in (untold, told):  # so that the next one has the same number
        program.add_trial(create_trial(state=TrialState.FAIL))
    told.add_trial(create_trial(params=proposed, distributions=study.distributions(), **ended))
    untold.add_trial(create_trial(state=TrialState.FAIL))
    assert untold.ask(study.distributions()).params != told.ask(study.distributions()).params


def test_a_fresh_sampler_proposes_the_same_and_a_batch_is_fitted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    study = small_study(budget=60, **LOSS)
    fits = []
    real = expectation_module.fit

    def spy(*given: Any) -> Any:
        fits.append(given)
        return real(*given)

    monkeypatch.setattr(expectation_module, "fit", spy)
    program = after(study, 20)
    batch = [program.ask(study.distributions()).params for _ in range(6)]
    assert len(fits) == 1
    assert len({tuple(params.items()) for params in batch}) == 6
    last = program.trials[-1]
    view = optuna.create_study()
    for done in program.trials[:-1]:
        view.add_trial(done)
    assert TieredSampler(study).sample_relative(view, trial(last.number), study.distributions()) == last.params
    assert len(fits) == 2
    program.tell(20, 0.5)
    program.ask(study.distributions())
    assert len(fits) == 3


def test_trials_of_a_batch_do_not_stand_beside_one_another() -> None:
    """What is expected of a running trial is nothing to improve on right beside it."""
    close = 0
    for seed, count in itertools.product(range(4), (6, 8, 10, 12, 16, 20, 25)):
        study = small_study(budget=60, seed=seed, **LOSS)
        program = after(study, count, random=seed)
        batch = [study.trained(program.ask(study.distributions()).params) for _ in range(6)]
        points = np.array([[s.unit(values[n]) for n, s in study.scales().items()] for values in batch])
        close += np.abs(points[:, None] - points[None]).max(axis=2)[np.triu_indices(6, 1)].min() < 0.08
    assert close <= 3  # of 28 batches


def test_values_that_a_trial_was_given_are_kept_and_the_model_goes_with_them() -> None:
    study = small_study(budget=40, **LOSS)
    held = {"one_minus_momentum": 0.03, "log2_batch_size": 9, "layers": 4}
    for strategy, count in (("classic", 20), ("tiered", 1), ("tiered", 5), ("tiered", 20)):  # at last: all free
        program = after(change(study, strategy=strategy), count)
        program.enqueue_trial(held)
        asked = program.ask()
        given = program.trials[asked.number]
        assert held.items() <= program.sampler.sample_relative(program, given, study.distributions()).items()
        for name, kind in study.distributions().items():
            asked._suggest(name, kind)
        assert held.items() <= asked.params.items()
    program = after(study, 20)
    free = program.ask(study.distributions()).params
    program = after(study, 20)
    program.enqueue_trial({"learning_rate": 1e-4})
    assert program.ask(study.distributions()).params != {**free, "learning_rate": 1e-4}  # others are chosen for it
    whole = {s.stored_name(n): s.to_stored(s.default) for n, s in study.scales().items()}
    program.enqueue_trial(whole)
    assert program.ask(study.distributions()).params == whole


def test_a_held_value_outside_its_scale_is_refused() -> None:
    program = after(small_study(budget=40, **LOSS), 20)
    program.enqueue_trial({"layers": 7})
    with pytest.raises(ValueError, match="layers = 7 is outside its scale: one of 2, 3, 4"):
        program.ask(small_study().distributions())


def test_where_all_networks_guess_it_looks_elsewhere() -> None:
    """A network learns with the lower quarter of the learning rates, but the first two of them diverge by chance: a
    model of that alone would stay where all others guess."""
    for seed in range(8):
        study = small_study(budget=30, seed=seed, **LOSS)
        rate = study.scales()["learning_rate"]
        program, low = optuna.create_study(sampler=TieredSampler(study)), 0
        for _ in range(study.budget):
            trial = program.ask(study.distributions())
            learns = rate.unit(study.trained(trial.params)["learning_rate"]) < 0.25
            low += learns
            program.tell(trial, 0.999 if not learns else 1.0 if low <= 2 else 0.5)
        assert program.best_value == 0.5


def test_what_is_not_free_yet_stays_at_the_best_so_far() -> None:
    study = small_study(budget=40, strategy="classic", **LOSS)
    program = after(study, 6)
    asked = study.trained(program.ask(study.distributions()).params)
    best = study.trained(program.best_trial.params)
    assert (asked["layers"], asked["decay"]) == (best["layers"], best["decay"])
    assert asked != best


@pytest.mark.parametrize("tiers", [({"layers": Grid(2, 3, 4, default=2)}, {"kind": Choice("a", "b", default="a")})])
def test_a_small_space_is_searched_whole_before_anything_is_repeated(
    tiers: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Study, "noisy", property(lambda _: False))  # else a second training may be worth more
    study = small_study(budget=40, tiers=tiers, **LOSS)
    program = after(study, 1)
    for _ in range(3 * len(tiers)):  # the coarse ones have a plan
        program.add_trial(create_trial(state=TrialState.FAIL))
    seen = {tuple(program.trials[0].params.items())}
    for _ in range(5):
        asked = program.ask(study.distributions())
        program.tell(asked, 1.0)
        seen.add(tuple(asked.params.items()))
    assert len(seen) == 6
    for _ in range(3):
        program.tell(program.ask(study.distributions()), 1.0)


def test_good_configurations_are_trained_once_more_where_values_are_noisy() -> None:
    fives = [{name: Grid(1, 2, 3, 4, 5, default=1)} for name in ("layers", "width", "height")]
    study = small_study(budget=60, tiers=fives, **LOSS)
    rng = np.random.default_rng(0)

    def away(values: Iterable[int]) -> float:
        return float(sum((value - 3) ** 2 for value in values))

    program = optuna.create_study(sampler=TieredSampler(study))
    for _ in range(45):
        asked = program.ask(study.distributions())
        program.tell(asked, away(asked.params.values()) + 2 * rng.normal())
    tried = [tuple(t.params.values()) for t in program.trials][10:]  # the phase in which all is free
    again = {params for params in tried if tried.count(params) > 1}
    assert again
    assert max(tried.count(params) for params in again) <= 4
    assert np.mean([away(params) for params in again]) < 3  # of 0 to 12


def test_candidates_that_are_equal_but_for_rounding_are_chosen_among_in_the_same_way_everywhere(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Both ends of a range are as far from a default in its middle, and as much is expected of them."""
    study = small_study(budget=40, tiers=({"width": Linear(0, 100, default=50)},), **LOSS)
    real = tiers_module.log_augmented_expected_improvement
    program = optuna.create_study(sampler=TieredSampler(study))
    for _ in range(10):
        program.add_trial(create_trial(params={"width": 50}, distributions=study.distributions(), value=1.0))
    chosen = set()
    for seed in range(10):
        rounding = np.random.default_rng(seed)
        monkeypatch.setattr(
            tiers_module, "log_augmented_expected_improvement",
            lambda *of, rounding=rounding: real(*of) + 1e-10 * rounding.normal(size=len(of[0])),
        )  # fmt: skip
        chosen.add(program.sampler.sample_relative(program, trial(10), study.distributions())["width"])
    assert len(chosen) == 1
    assert chosen <= {0, 100}


def test_where_nothing_is_finished_yet_workers_spread_out() -> None:
    study = small_study(budget=40, **LOSS)
    program = optuna.create_study(sampler=TieredSampler(study))
    asked = [program.ask(study.distributions()).params for _ in range(12)]
    assert len({tuple(params.items()) for params in asked}) == 12


@pytest.mark.parametrize("offset", [-2.0, -1.5, 0.0, 1.5, 2.0])
def test_five_trials_find_the_learning_rate_wherever_the_default_is(offset: float) -> None:
    """A learning rate of 1e-5 to 0.1 with 0.001 as the default: three others are looked at, in other quarters."""
    scale, away = Log(1e-5, 1e-1, default=1e-3), []
    for seed in range(10):
        study = small_study(budget=5, seed=seed, tiers=({"lr": scale}, *TIERS[1:]), **LOSS)
        program = optuna.create_study(sampler=TieredSampler(study))
        for _ in range(5):
            asked = program.ask(study.distributions())
            program.tell(asked, (np.log10(asked.params["lr"]) + 3 - offset) ** 2)
        away.append(program.best_value**0.5)
    assert max(away) < 1  # a decade; quarters are one each
    assert np.mean(away) < 0.6


def test_it_finds_better_points_than_random_search_in_30_trials() -> None:
    wins = 0
    for seed in range(10):
        study = small_study(budget=30, seed=seed, **LOSS)
        rng = np.random.default_rng(seed)
        scales = study.scales().items()
        random = min(loss_of({n: s.value(float(rng.random())) for n, s in scales}) for _ in range(30))
        wins += search(study)[0].best_value < random
    assert wins >= 9


def test_strata_are_one_number_from_each_part_that_is_not_taken_in_an_order_of_its_own() -> None:
    orders = set()
    scale = Linear(0.0, 1.0, default=0.3)
    for name in ("a", "b", "c", "d", "e"):
        numbers = strata(3, 0, name, scale)
        assert sorted(int(4 * u) for u in numbers) == [0, 2, 3]
        orders.add(tuple(np.argsort(numbers)))
    assert len(orders) > 1
    assert strata(3, 0, "a", scale) != strata(3, 1, "a", scale)
    ends = [strata(3, 0, "a", Linear(0.0, 1.0, default=end)) for end in (0.0, 1.0)]
    assert [sorted(int(4 * u) for u in numbers) for numbers in ends] == [[1, 2, 3], [0, 1, 2]]


@pytest.mark.parametrize(
    ("scale", "most"),
    [(Choice("adam", "sgd", default="sgd"), 1), (Grid(2, 3, 4, default=3), 2), (PowersOfTwo(16, 256, default=64), 3)],
)
def test_of_few_values_no_trial_repeats_the_default_before_all_others_were_trained(scale: BaseScale, most: int) -> None:
    for seed in range(20):
        values = [scale.value(unit) for unit in strata(3, seed, "few", scale)]
        assert scale.default not in values
        assert len(set(values)) == most


def test_beyond_a_small_budget_the_search_goes_on_as_one_of_a_large_budget() -> None:
    def best(budget: int) -> float:
        sampler = TieredSampler(tiers=[["a"], ["b"], ["c"]], budget=budget, seed=0)
        program = optuna.create_study(sampler=sampler)
        program.optimize(lambda trial: sum((trial.suggest_float(name, 0, 1) - 0.6) ** 2 for name in "abc"), n_trials=40)
        return program.best_value

    assert best(3) == best(6) == best(100) < 1e-3


def test_what_the_model_sees_of_an_explosion_is_only_that_it_is_bad() -> None:
    losses = [0.1, 0.2, 0.3, 0.4, 1e30]
    assert np.argsort(half_rank(losses)).tolist() == [0, 1, 2, 3, 4]
    assert max(half_rank(losses)) < 2
    assert half_rank([0.5, 0.5, 0.5]).tolist() == [0, 0, 0]
    assert half_rank([0.5]).tolist() == [0]


def test_a_failed_trial_is_never_the_best_so_far() -> None:
    study = small_study()
    trials = [finished(study, 0, TrialState.FAIL, None, {}), finished(study, 1, TrialState.COMPLETE, 0.0, {1: 0.0})]
    trials[0].params["learning_rate"] = 0.5
    assert observed(study, trials).best() == study.trained(trials[1].params)


def test_a_definition_that_does_not_fit_the_program_is_refused() -> None:
    with pytest.raises(ValueError, match="must be tiered or classic"):
        TieredSampler(small_study(strategy="random"))
    program = optuna.create_study(sampler=TieredSampler(small_study()))
    with pytest.raises(ValueError, match="is to maximize; say so to Optuna too"):
        program.ask({"learning_rate": small_study().scales()["learning_rate"].distribution()})


def test_halton_points_do_not_depend_on_who_asks() -> None:
    points = np.array([halton(6, 0, i) for i in range(64)])
    assert points.min() >= 0
    assert points.max() < 1
    assert np.all(np.abs(points.mean(0) - 0.5) < 0.05)  # of 64 random points one in six would miss this
    assert halton(6, 0, 7) == list(points[7])
    assert halton(6, 1, 7) != list(points[7])


@pytest.mark.parametrize(
    "strategy", ["tiered", "classic", "random", "grid", "tpe", pytest.param("gp", marks=pytest.mark.slow)]
)
def test_every_strategy_proposes_all_hyperparameters_and_repeats_itself(strategy: str) -> None:
    study = small_study(strategy=strategy, budget=20)
    program = optuna.create_study(direction="maximize", storage=optuna.storages.InMemoryStorage())
    names = {s.stored_name(n) for n, s in study.scales().items()}
    seen = []
    for slot in plan(study)[:14]:
        view = study_of({t._trial_id: t for t in program.trials}, program.direction)
        proposal, again = (Proposer(study).propose(view, slot) for _ in range(2))
        stored = dict(proposal.stored)
        assert set(stored) == names
        assert proposal == again
        assert study.trained(stored) == proposal.values
        assert study.values(proposal.internal) == proposal.values
        kinds = {s.stored_name(n): s.distribution() for n, s in study.scales().items()}
        diverged = {"diverged": 1.0} if slot.number == 5 else None  # which Optuna's GPSampler alone cannot bear
        program.add_trial(
            create_trial(value=float(stored["layers"]), params=stored, distributions=kinds, constraints=diverged)
        )
        seen.append(tuple(stored.items()))
    assert seen[0] == tuple((s.stored_name(n), s.to_stored(s.default)) for n, s in study.scales().items())
    assert len(set(seen)) > 10


def test_a_grid_visits_each_of_its_points_once() -> None:
    study = small_study(
        strategy="grid", budget=28, tiers=({"layers": TIERS[2]["layers"]}, {"momentum": TIERS[1]["momentum"]})
    )
    points = [tuple(Proposer(study).propose(optuna.create_study(), slot).values.values()) for slot in plan(study)[1:10]]
    assert len(set(points)) == 9
