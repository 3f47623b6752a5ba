"""The table of slots: exact, in the documented order, the same on every machine."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caviar.studies.definition import PriorTrial, change
from caviar.studies.search.plan import plan
from tests.helpers.studies import TIERS, small_study

STRATEGIES = ("tiered", "classic", "random", "grid", "tpe", "gp", "optuna:CmaEsSampler")
FOUR = (*TIERS, {"weight_decay": TIERS[2]["decay"]})


def shape(**fields: object) -> str:
    return " ".join(f"{s.tier}{s.phase[0]}" for s in plan(small_study(**fields)))


@given(budget=st.integers(4, 200), tiers=st.integers(1, 4), strategy=st.sampled_from(STRATEGIES))
def test_a_budget_is_its_table_of_slots(budget: int, tiers: int, strategy: str) -> None:
    slots = plan(small_study(budget=budget, tiers=FOUR[:tiers], strategy=strategy))
    assert [s.number for s in slots] == list(range(budget))
    assert (slots[0].phase, slots[0].free) == ("default", ())
    assert {s.tier for s in slots[1:]} <= set(range(1, tiers + 1))


@given(budget=st.integers(4, 200), tiers=st.integers(1, 4), strategy=st.sampled_from(["tiered", "classic"]))
def test_tiers_open_in_order_and_stay_open_coarse_before_fine(budget: int, tiers: int, strategy: str) -> None:
    slots = plan(small_study(budget=budget, tiers=FOUR[:tiers], strategy=strategy))
    order = ["default", "coarse", "fine", "all"]
    keys = [(s.tier if s.phase != "all" else 5, order.index(s.phase)) for s in slots]
    assert keys == sorted(keys)
    if strategy == "classic":
        assert {s.tier for s in slots} == set(range(1, tiers + 1))  # every tier gets a slot
    for slot in slots[1:]:
        names = {name for tier in FOUR[: slot.tier] for name in tier}
        assert set(slot.free) == names


def test_the_documented_opening() -> None:
    assert shape(budget=20) == "1d 1c 1c 2c 3c 3c" + " 3a" * 14
    assert shape(budget=40) == shape(budget=20) + " 3a" * 20  # a longer budget extends the last phase


@given(budget=st.integers(4, 40), more=st.integers(1, 40), tiers=st.integers(1, 4), known=st.booleans())
def test_a_smaller_budget_is_the_beginning_of_a_larger_one(budget: int, more: int, tiers: int, known: bool) -> None:
    study = small_study(budget=budget + more, tiers=FOUR[:tiers])
    if known:
        values = {name: scale.default for name, scale in study.scales().items()}
        study = change(study, prior=[PriorTrial(values=values, loss=0.0).model_dump()])
    assert plan(study)[: budget + 1] == plan(change(study, budget=budget + 1))


def test_an_opening_with_other_numbers_of_tiers() -> None:
    assert shape(budget=16, tiers=FOUR[:1]) == "1d 1c 1c 1c" + " 1a" * 12
    assert shape(budget=16, tiers=FOUR[:2]) == "1d 1c 1c 2c 2c 2c" + " 2a" * 10
    assert shape(budget=16, tiers=FOUR) == "1d 1c 1c 2c 3c 4c" + " 4a" * 10


def test_classic_shares_its_budget_among_the_tiers_and_has_no_model() -> None:
    assert shape(budget=10, strategy="classic") == "1d 1c 2c 2c 2f 3c 3c 3c 3f 3f"
    assert "a" not in shape(budget=20, strategy="classic")


@pytest.mark.parametrize("strategy", ["random", "grid", "tpe", "gp", "optuna:QMCSampler(scramble=True)"])
def test_strategies_to_compare_with_begin_with_the_default_too(strategy: str) -> None:
    slots = plan(small_study(strategy=strategy))
    assert [s.phase for s in slots] == ["default"] + [strategy.partition(":")[0]] * 7
    assert all(len(s.free) == 6 for s in slots[1:])
