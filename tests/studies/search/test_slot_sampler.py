"""The search where trials name their hyperparameters themselves, by the slots of a plan."""

from __future__ import annotations

from typing import Any

import optuna
import pytest
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial

from caviar.storage.history import study_of
from caviar.storage.records import Slot
from caviar.storage.states import Phase
from caviar.studies.definition import Study
from caviar.studies.search.expectation import winner_of
from caviar.studies.search.optuna_space import named_scales, space_of
from caviar.studies.search.plan import plan
from caviar.studies.search.slot_sampler import SlotSampler, TieredSlots, fitted, samplers_of
from tests.helpers.objectives import objective_study

KINDS = {"lr": FloatDistribution(1e-4, 1, log=True), "units": IntDistribution(1, 9), "drop": FloatDistribution(0, 0.5)}


def finished(number: int, value: float, kinds: dict[str, BaseDistribution] | None = None, **params: Any) -> FrozenTrial:
    values = {"lr": 0.01, "units": 5, "drop": 0.25} | params
    of = KINDS | (kinds or {})
    trial = create_trial(value=value, params=values, distributions={name: of[name] for name in values})
    trial.number = trial._trial_id = number
    return trial


def program(*trials: FrozenTrial) -> optuna.Study:
    return study_of({t._trial_id: t for t in trials}, StudyDirection.MINIMIZE)


def proposed(study: Study, slot: Slot, *trials: FrozenTrial) -> dict[str, Any]:
    """What an objective gets that suggests all of KINDS, in their order."""
    sampler = SlotSampler(study, slot, program(*trials), {})
    trial = create_trial(state=TrialState.RUNNING)
    together = sampler.infer_relative_search_space(program(), trial)
    values = sampler.sample_relative(program(), trial, together)
    return {
        name: values[name] if name in values else sampler.sample_independent(program(), trial, name, kind)
        for name, kind in KINDS.items()
    }


def test_the_plan_has_a_last_tier_for_what_no_tier_names() -> None:
    study = objective_study("silent", tiers=[["lr"], ["units"]], budget=20)
    slots = plan(study)
    assert [(s.tier, s.phase, s.free) for s in (slots[0], slots[1], slots[4], slots[7])] == [
        (1, Phase.DEFAULT, ()), (1, Phase.COARSE, ("lr",)), (3, Phase.COARSE, ("lr", "units")),
        (3, Phase.ALL, ("lr", "units")),
    ]  # fmt: skip
    assert {s.tier for s in plan(objective_study("silent", tiers=[]))} == {1}
    four = [["a"], ["b"], ["c"], ["d"]]
    assert {s.tier for s in plan(objective_study("silent", tiers=four, budget=20))} == {1, 2, 3, 4}
    assert objective_study("silent", tiers=four).tier_of("e") == 4
    assert study.tier_of("e") == 3


def test_a_slot_moves_the_names_of_its_tiers_alone() -> None:
    study = objective_study("silent", tiers=[["lr"], ["units"]], budget=20)
    slots, first = plan(study), finished(0, 1.0)
    assert proposed(study, slots[0]) == {"lr": pytest.approx(0.01), "units": 5, "drop": 0.25}
    coarse = proposed(study, slots[1], first)
    assert coarse["lr"] != 0.01
    assert (coarse["units"], coarse["drop"]) == (5, 0.25)
    rates = [proposed(study, slot, first)["lr"] for slot in slots[1:4]]  # beside the default, 0.01
    assert [sum(10**-n < rate <= 10 ** (1 - n) for rate in rates) for n in (1, 2, 3, 4)] == [1, 0, 1, 1]


def test_a_slot_whose_names_are_unknown_moves_those_of_the_next_tier() -> None:
    study = objective_study("silent", tiers=[["nobody"], ["units"]], budget=20)
    found = space_of(study, [finished(0, 1.0)])
    assert found is not None
    slot = fitted(plan(study)[1], study, found)
    assert (slot.tier, slot.free) == (1, ("units",))


def test_values_depend_on_slot_and_name_alone() -> None:
    study = objective_study("silent", strategy="random", budget=20)
    slots = plan(study)
    one, again = proposed(study, slots[3]), proposed(study, slots[3])
    assert one == again
    assert proposed(study, slots[4])["lr"] != one["lr"]
    sampler = SlotSampler(study, slots[3], program(), {})  # as if an earlier attempt had suggested the others
    trial = create_trial(state=TrialState.RUNNING)
    assert sampler.sample_independent(program(), trial, "drop", KINDS["drop"]) == one["drop"]


@pytest.mark.parametrize(
    ("strategy", "sampler"),
    [
        ("tiered", TieredSlots), ("classic", TieredSlots), ("tpe", optuna.samplers.TPESampler),
        ("optuna:NSGAIISampler(population_size=7)", optuna.samplers.NSGAIISampler),
    ],
)  # fmt: skip
def test_a_slot_has_the_sampler_of_its_strategy(strategy: str, sampler: type) -> None:
    study = objective_study("silent", strategy=strategy)
    made = samplers_of(study).at(plan(study)[1], 0)
    assert type(made) is sampler
    assert getattr(made, "population_size", 7) == 7


def test_the_tiered_search_remembers_what_it_has_read() -> None:
    study, trials = objective_study("silent", budget=20), program(finished(0, 1.0))
    tiers = TieredSlots(study)
    for slot in plan(study)[1:3]:
        sampler = SlotSampler(study, slot, trials, {}, tiers)
        sampler.sample_relative(trials, create_trial(state=TrialState.RUNNING), dict(KINDS))
    assert tiers._search is not None
    assert len(tiers._search[1].tiers._observed) == 1


def test_what_trials_have_in_common_is_modelled() -> None:
    study = objective_study("silent")
    deep = finished(1, 1.0, {"deep": IntDistribution(1, 2)}, deep=1)
    other = finished(2, 1.0, {"drop": FloatDistribution(0, 1)})
    assert space_of(study, []) is None
    common = space_of(study, [finished(0, 1.0), deep, other])
    assert common is not None
    assert list(common.scales()) == ["lr", "units"]


def test_ranges_that_differ_are_drawn_as_one() -> None:
    kinds = {"drop": FloatDistribution(0.1, 0.9), "act": CategoricalDistribution([None, True, "relu"])}
    scales = named_scales([finished(0, 1.0), finished(1, 1.0, kinds, act=None)])
    assert (str(scales["drop"]), str(scales["lr"]), str(scales["units"])) == (
        "0 … 0.9, linear", "0.0001 … 1, log", "1 … 9, linear integer",
    )  # fmt: skip
    assert str(scales["act"]) == "one of None, True, relu"
    assert scales["act"].unit("None") == pytest.approx(1 / 6)
    assert scales["lr"].model_dump(mode="json")["of"]["name"] == "FloatDistribution"


def test_the_winner_where_some_trials_have_other_hyperparameters_is_the_one_with_the_best_value() -> None:
    study = objective_study("silent")
    trials = [finished(n, abs(n - 11) / 10 + (n % 3) / 50, lr=10 ** (-4 + n / 8)) for n in range(24)]
    known = winner_of(study, trials)
    assert known is not None
    assert known.value is not None
    deep = finished(24, 0.5, {"deep": IntDistribution(1, 2)}, deep=1)
    best = winner_of(study, [*trials, deep])
    assert best is not None
    assert (best.trial, best.value) == (min(trials, key=lambda t: t.value or 0.0).number, None)
