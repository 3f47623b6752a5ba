"""The TieredSampler: what is free when, where it zooms, what it learns from, and as an ordinary Optuna sampler."""

from __future__ import annotations

from typing import Any

import numpy as np
import optuna
import pytest
from optuna.trial import TrialState, create_trial

from studies.definition import Study, change
from studies.plan import plan
from studies.sampler import Observation, TieredSampler, half_rank, halton, observations, zoom
from studies.strategies import Proposer
from tests.studies_for_tests import TIERS, small_study

optuna.logging.set_verbosity(optuna.logging.WARNING)

DEFAULTS = {
    "learning_rate": 0.1, "momentum": 0.9, "hidden_units": 64, "batch_size": 256, "layers": 2, "decay": 0.0,
}  # fmt: skip


class Notepad(optuna.storages.InMemoryStorage):
    """Takes a sampler's notes on a trial that is not there yet, as a worker's view does."""

    def set_trial_user_attr(self, trial_id: int, key: str, value: Any) -> None:
        pass

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        pass


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


def test_only_the_learning_rate_leaves_the_default_in_tier_one() -> None:
    study = small_study(budget=20, metric="loss", direction="minimize")
    _, seen = search(study)
    assert changed(seen[0]) == set()
    assert changed(seen[1]) == changed(seen[2]) == {"learning_rate"}
    for slot, values in zip(plan(study), seen, strict=True):
        if slot.tier == 2:
            assert changed(values) <= {"learning_rate", "momentum", "hidden_units", "batch_size"}


def test_it_works_in_a_plain_optuna_program_and_beats_random() -> None:
    def best(sampler: optuna.samplers.BaseSampler | None, seed: int) -> float:
        study = small_study(budget=20, metric="loss", direction="minimize", seed=seed)
        if sampler is None:
            return search(study)[0].best_value
        values = [Proposer(change(study, strategy="random")).propose(slot, optuna.create_study(), trial(slot.number))
                  for slot in plan(change(study, strategy="random"))]  # fmt: skip
        return min(loss_of({n: s.from_stored(v[s.stored_name(n)]) for n, s in study.scales().items()}) for v in values)

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
    made.number = number
    return made


def finished(study: Study, number: int, state: TrialState, value: float | None, curve: dict[int, float]) -> Any:
    stored = {s.stored_name(n): s.to_stored(s.default) for n, s in study.scales().items()}
    kinds = {s.stored_name(n): s.distribution() for n, s in study.scales().items()}
    return trial(number, state=state, value=value, intermediate_values=curve, params=stored, distributions=kinds)


def test_what_the_search_learns_from_each_kind_of_trial() -> None:
    study = small_study()
    trials = [
        finished(study, 0, TrialState.COMPLETE, 0.9, {1: 0.5, 2: 0.9}),
        finished(study, 1, TrialState.PRUNED, None, {1: 0.2, 2: 0.3}),  # the last that it reported
        finished(study, 2, TrialState.FAIL, None, {1: 0.95}),  # the worst of all, however it began
        finished(study, 3, TrialState.RUNNING, None, {1: 0.99}),
        trial(4, state=TrialState.COMPLETE, value=0.99),  # somebody else's, without our hyperparameters
    ]
    learned = observations(study, trials)
    assert [(o.number, o.loss) for o in learned] == [(0, -0.9), (1, -0.3), (2, -0.3)]


def test_the_zoom_box_holds_the_best_quarter_with_a_margin() -> None:
    study = small_study(tiers=TIERS[:1])
    scale = study.scales()["learning_rate"]
    seen = [Observation(i, {"learning_rate": scale.value(u)}, loss)
            for i, (u, loss) in enumerate([(0.1, 9), (0.5, 1), (0.6, 2), (0.9, 8)])]  # fmt: skip
    assert zoom(study, seen[:1]) == {}
    low, high = zoom(study, seen)["learning_rate"]
    assert (low, high) == pytest.approx((0.5 - 0.05 - 0.05, 0.6 + 0.05 + 0.05))


def test_fine_trials_stay_in_the_box_and_say_so() -> None:
    study = small_study(budget=40, strategy="classic", metric="loss", direction="minimize")
    program, seen = search(study)
    fine = [(t, v) for t, v, s in zip(program.trials, seen, plan(study), strict=True) if s.phase == "fine"]
    assert fine
    for kept, values in fine:
        low, high = kept.user_attrs["zoom"]["learning_rate"]
        assert low <= values["learning_rate"] <= high


def test_the_model_learns_from_pruned_trials(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[optuna.trial.FrozenTrial] = []
    real = optuna.Study.add_trial

    def spy(self: optuna.Study, added: optuna.trial.FrozenTrial) -> None:
        given.append(added)
        real(self, added)

    study = small_study(budget=20, metric="loss", direction="minimize")
    program = optuna.create_study(sampler=TieredSampler(study))
    for number in range(12):
        state = TrialState.PRUNED if number % 2 else TrialState.COMPLETE
        program.add_trial(
            finished(study, number, state, 1.0 + number if state is TrialState.COMPLETE else None, {1: 5.0})
        )
    monkeypatch.setattr(optuna.Study, "add_trial", spy)
    program.ask({s.stored_name(n): s.distribution() for n, s in study.scales().items()})
    assert len(given) == 12
    assert {t.state for t in given} == {TrialState.COMPLETE}
    values = [t.value for t in given]  # complete: 1, 3, ... 11; pruned: 5 each, so four of the complete are worse
    assert sorted(values)[:2] == [values[0], values[2]]  # type: ignore[type-var]
    assert max(values) == values[10]  # type: ignore[type-var]


def test_what_the_model_sees_of_an_explosion_is_only_that_it_is_bad() -> None:
    losses = [0.1, 0.2, 0.3, 0.4, 1e30]
    assert np.argsort(half_rank(losses)).tolist() == [0, 1, 2, 3, 4]
    assert max(half_rank(losses)) < 2
    assert half_rank([0.5, 0.5, 0.5]) == [0, 0, 0]
    assert half_rank([0.5]) == [0]


def test_a_failed_trial_is_never_the_best_so_far() -> None:
    study = small_study()
    trials = [finished(study, 0, TrialState.FAIL, None, {}), finished(study, 1, TrialState.COMPLETE, 0.0, {1: 0.0})]
    best = min(observations(study, trials), key=lambda o: (o.loss, o.failed))
    assert best.number == 1


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


@pytest.mark.parametrize("strategy", ["tiered", "classic", "random", "grid", "tpe", "gp"])
def test_every_strategy_proposes_all_hyperparameters_and_repeats_itself(strategy: str) -> None:
    study = small_study(strategy=strategy, budget=20)
    program = optuna.create_study(direction="maximize", storage=Notepad())
    names = {s.stored_name(n) for n, s in study.scales().items()}
    seen = []
    for slot in plan(study)[:14]:
        # A new study each time, as a worker does: a study caches its trials.
        stored, again = (
            Proposer(study).propose(slot, optuna.Study(program.study_name, program._storage), trial(slot.number))
            for _ in range(2)
        )
        assert set(stored) == names
        assert stored == again
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
    points = [
        tuple(Proposer(study).propose(slot, optuna.create_study(), trial(slot.number)).values())
        for slot in plan(study)[1:10]
    ]
    assert len(set(points)) == 9
