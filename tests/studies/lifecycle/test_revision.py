"""A changed definition: what is comparable, what is refused, and that no earlier trial gets other values by it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from optuna.distributions import distribution_to_json, json_to_distribution

from caviar.studies.definition import Study, from_body, to_body
from caviar.studies.lifecycle.loader import catalog_names, select_study
from caviar.studies.lifecycle.revision import compare, rewrite
from caviar.studies.space.base import BaseScale, Value
from caviar.studies.space.scales import Choice, Grid, Linear, Log, LogOneMinus, PowersOfTwo
from tests.helpers.studies import ALL_SCALES, TIERS, small_study

units = st.floats(0, 1)


def searching(**scales: BaseScale) -> Study:
    return small_study(tiers=(scales,))


def kept(study: Study, values: dict[str, Value]) -> dict[str, tuple[float, str]]:
    """Values as a worker writes them into Optuna's tables."""
    stored = {}
    for name, scale in study.scales().items():
        kind = scale.distribution()
        number = kind.to_internal_repr(scale.to_stored(values[name]))
        stored[scale.stored_name(name)] = number, distribution_to_json(kind)
    return stored


def numbers(stored: dict[str, tuple[float, str]]) -> dict[str, float]:
    return {name: number for name, (number, _) in stored.items()}


def rewritten(before: Study, after: Study, values: dict[str, Value]) -> dict[str, Value]:
    """An earlier trial's values, read back by the new definition after what it makes of Optuna's tables."""
    parameters, beside = rewrite(before, after, kept(before, values))
    assert set(parameters) == set(after.distributions())
    for name, distribution in after.distributions().items():
        number, kind = parameters[name]
        assert json_to_distribution(kind) == distribution
        assert distribution._contains(number)
    read = after.values(numbers(parameters))
    assert beside == {name: value for name, value in read.items() if name not in parameters}
    return read


COMPARABLE: list[tuple[dict[str, Any], str]] = [
    ({"budget": 9}, "budget: 8 before, 9 now"),
    ({"pruner": "none"}, "pruner: pace before, none now"),
    (
        {"tiers": ({"learning_rate": Log(1e-5, 1, default=0.1)}, *TIERS[1:])},
        "learning_rate: 0.0001 … 1, log, default 0.1 before, 1e-05 … 1, log, default 0.1 now",
    ),
    (
        {"tiers": ({"learning_rate": Log(1e-4, 1, default=0.2)}, *TIERS[1:])},
        "learning_rate: 0.0001 … 1, log, default 0.1 before, 0.0001 … 1, log, default 0.2 now",
    ),
    (
        {"tiers": (*TIERS, {"activation": Choice("relu", "tanh", default="relu")})},
        "activation: new (one of relu, tanh, default relu); 'relu' in all earlier trials",
    ),
    (
        {"tiers": (*TIERS, {"weight_decay": Log(1e-5, 1, default=0, or_zero=True)})},
        "weight_decay: new (1e-05 … 1 or 0, log, default 0.0); 0.0 in all earlier trials",
    ),
    ({"tiers": (TIERS[1], TIERS[0], TIERS[2])}, "learning_rate: tier 1 before, 2 now"),
    (
        {"tiers": (TIERS[0], dict(reversed(TIERS[1].items())), TIERS[2])},
        "another order of the hyperparameters",
    ),
    ({"fixed": {"dropout": 0.0}}, "dropout: 0.0 as before, by another line"),
]


@pytest.mark.parametrize(("fields", "told"), COMPARABLE)
def test_comparable(fields: dict[str, Any], told: str) -> None:
    found = compare(small_study(), small_study(**fields))
    assert told in found.comparable
    assert found.refused == []


def test_a_test_for_the_winner_and_the_epochs_that_are_shown_are_free() -> None:
    def of_function(**fields: Any) -> Study:
        given = {"name": "own", "train": "tune:train", "metric": "rmse", "direction": "minimize", "budget": 4, **fields}
        return Study(epochs=3, tiers=({"lr": Log(1e-4, 1, default=0.1)},), **given)

    found = compare(of_function(), of_function(test="tune:test"))
    assert (found.comparable, found.refused) == (["test: None before, tune:test now"], [])
    by_trials: dict[str, Any] = {"name": "own", "objective": "tune:objective", "direction": "minimize", "budget": 4}
    found = compare(Study(**by_trials), Study(**by_trials, epochs=5))
    assert (found.comparable, found.refused) == (["epochs: None before, 5 now"], [])


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"model": "cnn"}, "model: mlp before, cnn now"),
    ({"data": "mnist"}, "data: digits before, mnist now"),
    ({"metric": "loss", "direction": "minimize"}, "metric: accuracy before, validation_loss now"),
    ({"metric": "loss", "direction": "minimize"}, "direction: maximize before, minimize now"),
    ({"epochs": 3}, "epochs: 2 before, 3 now"),
    ({"seed": 1}, "seed: 0 before, 1 now"),
    ({"strategy": "tpe"}, "strategy: tiered before, tpe now"),
    ({"budget": 7}, "budget: 8 before, 7 now; a budget can grow, but not shrink (caviar stop ends a study early)"),
    (
        {"tiers": TIERS[:2]},
        "decay: searched before (0.001 … 1 or 0, log), and no more",
    ),
    (
        {"tiers": TIERS[:2], "fixed": {"layers": 2}},
        "layers: searched before (one of 2, 3, 4), and no more",
    ),
    (
        {"tiers": (*TIERS, {"activation": Choice("relu", "tanh", default="tanh")})},
        "activation: new (one of relu, tanh, default tanh); 'relu' in all earlier trials, which its default must be",
    ),
    ({"fixed": {"dropout": 0.1}}, "dropout: fixed to 0.0 before, 0.1 now"),
    ({"fixed": {"optimizer": "adam"}}, "optimizer: fixed to 'sgd' before, 'adam' now"),
    (
        {"tiers": ({"learning_rate": Log(1e-3, 1, default=0.1)}, *TIERS[1:])},
        "learning_rate: 0.0001 … 1, log, default 0.1 before, 0.001 … 1, log, default 0.1 now; not a wider range",
    ),
    (
        {"tiers": ({"learning_rate": Linear(0.0001, 1.0, default=0.1)}, *TIERS[1:])},
        "learning_rate: 0.0001 … 1, log, default 0.1 before, 0.0001 … 1, linear, default 0.1 now; not a wider range",
    ),
]


@pytest.mark.parametrize(("fields", "told"), REFUSED)
def test_refused(fields: dict[str, Any], told: str) -> None:
    found = compare(small_study(), small_study(**fields))
    assert told in found.refused
    assert told in found.changes


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (Linear(50, 100, default=64), Linear(50.0, 100.0, default=64.0)),  # == to one another for Python
        (Linear(0.0, 1.0, default=0.0), Linear(0, 1, default=0)),
        (Linear(50, 100, default=64), Linear(10.0, 100.0, default=64)),
        (Linear(50, 100, default=64), Linear(50, 99, default=64)),
        (Grid(1, 2, default=1), Grid(1.0, 2.0, default=1.0)),
        (Grid(1, 2, default=1), Grid(1.0, 2.0, 3.0, default=1.0)),
        (Grid(1, 2, 3, default=1), Grid(1, 2, default=1)),
        (Grid(1, 2, default=1), Choice(1, 2, 3, default=1)),
        (Grid(1, 2, default=1), Linear(1, 2, default=1)),
        (Choice("a", "b", default="a"), Choice("a", "c", default="a")),
        (Choice(1, "b", default=1), Choice(1.0, "b", "c", default=1.0)),
        (Log(1e-3, 1, default=0, or_zero=True), Log(1e-3, 1, default=0.1)),
        (Log(1e-3, 1, default=0.1), Log(1e-2, 1, default=0.1, or_zero=True)),
        (Log(1e-3, 1, default=0.1), LogOneMinus(1e-3, 0.999, default=0.1)),
        (LogOneMinus(0.9, 0.999, default=0.9), LogOneMinus(0.9, 0.99, default=0.9)),
        (PowersOfTwo(16, 64, default=16), PowersOfTwo(16, 32, default=16)),
        (PowersOfTwo(16, 64, default=16), Linear(16, 64, default=16)),
    ],
    ids=str,
)
def test_a_scale_that_does_not_hold_all_earlier_values_is_refused(old: BaseScale, new: BaseScale) -> None:
    found = compare(searching(x=old), searching(x=new))
    assert len(found.refused) == 1
    assert found.refused[0].startswith("x: ")
    assert found.refused[0].endswith("; not a wider range")
    assert found.comparable == []


def test_what_was_fixed_may_be_searched_from_that_value_on() -> None:
    before = small_study(fixed={"dropout": 0.1})
    wider = Linear(0.0, 0.5, default=0.1)
    assert compare(before, small_study(tiers=(*TIERS, {"dropout": wider}))).refused == []
    other = compare(before, small_study(tiers=(*TIERS, {"dropout": Linear(0.0, 0.5, default=0.2)})))
    assert other.refused == [
        "dropout: new (0 … 0.5, linear, default 0.2); 0.1 in all earlier trials, which its default must be"
    ]


@pytest.mark.parametrize("study", [*map(select_study, catalog_names()), small_study(fixed={"dropout": 0})])
def test_the_same_definition_differs_in_nothing_and_after_json_neither(study: Study) -> None:
    found = compare(study, from_body(json.loads(json.dumps(to_body(study)))))
    assert (found.changes, found.rewrites) == ([], False)


def test_only_changed_scales_are_a_reason_to_touch_earlier_trials() -> None:
    for fields in ({"budget": 9}, {"pruner": "none"}, {"tiers": (TIERS[1], TIERS[0], TIERS[2])}):
        assert not compare(small_study(), small_study(**fields)).rewrites
    for fields, _ in COMPARABLE[2:6]:
        assert compare(small_study(), small_study(**fields)).rewrites


def test_a_budget_is_compared_where_the_model_is_not() -> None:
    """`caviar extend` runs on any machine: that of the model is asked for its defaults only if that decides."""
    before = small_study(model="nowhere:Net", fixed={"dropout": 0.1})
    after = small_study(model="nowhere:Net", fixed={"dropout": 0.1}, budget=9)
    assert compare(before, after).comparable == ["budget: 8 before, 9 now"]


def test_another_model_is_refused_where_the_old_one_is_gone() -> None:
    before = small_study(model="nowhere:Net", fixed={"dropout": 0.1})
    after = small_study(tiers=(*TIERS, {"activation": Choice("relu", "tanh", default="relu")}))
    assert "model: nowhere:Net before, mlp now" in compare(before, after).refused


_ends = st.floats(1e-6, 1e3).map(lambda x: float(f"{x:.6g}"))
_growth = st.floats(1, 1e4)
_rates = st.integers(0, 999_999).map(lambda n: n / 1_000_000)
_names = st.lists(st.sampled_from([*"abcdef", 1, 2, 0.5]), min_size=2, max_size=6, unique=True)
_lists = st.lists(st.integers(-4, 12), min_size=2, max_size=6, unique=True)


@st.composite
def logs(draw: Callable[..., Any]) -> tuple[BaseScale, BaseScale]:
    low, high = sorted(draw(st.tuples(_ends, _ends)))
    assume(low < high)
    wider_low, wider_high = low / draw(_growth), high * draw(_growth)
    zero = draw(st.booleans())
    new_zero = zero or draw(st.booleans())
    default = draw(st.sampled_from([0.0 if zero else low, low, high]))
    return (
        Log(low, high, default=default, or_zero=zero),
        Log(wider_low, wider_high, default=default, or_zero=new_zero),
    )


@st.composite
def rates(draw: Callable[..., Any]) -> tuple[BaseScale, BaseScale]:
    a, b, c, d = sorted(draw(st.lists(_rates, min_size=4, max_size=4)))
    assume(b < c)
    return LogOneMinus(b, c, default=b), LogOneMinus(a, d, default=c)


@st.composite
def integers(draw: Callable[..., Any]) -> tuple[BaseScale, BaseScale]:
    a, b, c, d = sorted(draw(st.lists(st.integers(-1000, 1000), min_size=4, max_size=4)))
    assume(b < c)
    return Linear(b, c, default=b), Linear(a, d, default=c)


@st.composite
def reals(draw: Callable[..., Any]) -> tuple[BaseScale, BaseScale]:
    values = st.floats(-1e3, 1e3).filter(lambda value: value == 0 or abs(value) >= 1e-100)
    a, b, c, d = sorted(draw(st.lists(values, min_size=4, max_size=4)))
    assume(b < c)
    return Linear(b, c, default=b), Linear(a, d, default=c)


@st.composite
def powers(draw: Callable[..., Any]) -> tuple[BaseScale, BaseScale]:
    a, b, c, d = sorted(draw(st.lists(st.integers(0, 12), min_size=4, max_size=4)))
    assume(b < c)
    return PowersOfTwo(2**b, 2**c, default=2**b), PowersOfTwo(2**a, 2**d, default=2**c)


@st.composite
def grids(draw: Callable[..., Any]) -> tuple[BaseScale, BaseScale]:
    few = draw(_lists)
    more = sorted({*few, *draw(_lists)})
    return Grid(*sorted(few), default=few[0]), Grid(*more, default=more[0])


@st.composite
def choices(draw: Callable[..., Any]) -> tuple[BaseScale, BaseScale]:
    few = draw(_names)
    more = draw(st.permutations(list(dict.fromkeys([*few, *draw(_names)]))))
    return Choice(*few, default=few[0]), Choice(*more, default=more[0])


WIDER = [logs(), rates(), integers(), reals(), powers(), grids(), choices()]


@pytest.mark.parametrize("pairs", WIDER, ids=["log", "rate", "integer", "real", "power", "grid", "choice"])
@given(data=st.data(), unit=units)
def test_a_wider_scale_keeps_every_value_exactly(
    pairs: st.SearchStrategy[tuple[BaseScale, BaseScale]], data: st.DataObject, unit: float
) -> None:
    old, new = data.draw(pairs)
    before, after = searching(x=old), searching(x=new)
    assert compare(before, after).refused == []
    value = old.value(unit)
    read = rewritten(before, after, {"x": value})["x"]
    assert read == before.values(numbers(kept(before, {"x": value})))["x"]
    assert (read, type(read)) == (value, type(value))


@given(data=st.data(), unit=units)
def test_whatever_is_called_comparable_keeps_every_value(data: st.DataObject, unit: float) -> None:
    """Any two scales, from few ends, so that many pairs hold one another and many just do not."""
    some = st.one_of(
        st.builds(
            lambda low, high, zero: Log(low, high, default=high, or_zero=zero),
            st.sampled_from([1e-3, 1e-2]), st.sampled_from([0.1, 1]), st.booleans(),
        ),
        st.builds(
            lambda low, high: LogOneMinus(low, high, default=low),
            st.sampled_from([0, 0.5, 0.9]), st.sampled_from([0.95, 0.999]),
        ),
        st.builds(
            lambda low, high: Linear(low, high, default=high),
            st.sampled_from([1, 1.0, 2, 2.0]), st.sampled_from([4, 4.0, 8, 8.0]),
        ),
        st.builds(
            lambda low, high: PowersOfTwo(low, high, default=high), st.sampled_from([1, 2]), st.sampled_from([4, 8])
        ),
        st.lists(st.sampled_from([1, 2, 3, 4, 8, 1.0, 2.0]), min_size=2, max_size=4, unique=True).map(
            lambda values: Grid(*sorted(values), default=values[0])
        ),
        st.lists(st.sampled_from([1, 2, 1.0, "a", "b"]), min_size=2, max_size=4, unique=True).map(
            lambda values: Choice(*values, default=values[0])
        ),
    )  # fmt: skip
    old, new = data.draw(some), data.draw(some)
    before, after = searching(x=old), searching(x=new)
    assume(not compare(before, after).refused)
    value = old.value(unit)
    read = rewritten(before, after, {"x": value})["x"]
    assert (read, type(read)) == (value, type(value))


def one(old: BaseScale, new: BaseScale, value: Value) -> tuple[Value, float]:
    """A value of one hyperparameter after the change, and the number that Optuna's tables have for it then."""
    before, after = searching(x=old), searching(x=new)
    parameters, _ = rewrite(before, after, kept(before, {"x": value}))
    (stored,) = parameters.values()
    return rewritten(before, after, {"x": value})["x"], stored[0]


def test_a_decay_of_0_stays_0_where_the_floor_moves() -> None:
    old, new = Log(1e-3, 1, default=0, or_zero=True), Log(1e-5, 1, default=0, or_zero=True)
    assert one(old, new, 0.0) == (0.0, pytest.approx(1e-6))  # its number, 1e-4, would be a decay of 1e-4 now
    assert one(old, new, 1e-3) == (1e-3, 1e-3)


@pytest.mark.parametrize("low", [1e-3, 1e-4])
def test_what_was_the_lowest_value_does_not_become_0(low: float) -> None:
    old, new = Log(1e-3, 1, default=0.1), Log(low, 1, default=0.1, or_zero=True)
    assert one(old, new, 1e-3) == (1e-3, 1e-3)
    before, after = searching(decay=old), searching(decay=new)
    parameters, beside = rewrite(before, after, kept(before, {"decay": 1e-3}))
    assert list(parameters) == ["decay_or_floor"]
    assert beside == {"decay": 1e-3}


def test_a_choice_that_is_inserted_moves_the_others() -> None:
    old, new = Choice("relu", "tanh", default="relu"), Choice("relu", "gelu", "tanh", default="relu")
    assert one(old, new, "tanh") == ("tanh", 2)
    assert one(old, new, "relu") == ("relu", 0)


def test_a_grid_is_kept_as_integers_or_as_places() -> None:
    equal, unequal = Grid(2, 3, 4, default=2), Grid(2, 3, 4, 6, default=2)
    assert one(equal, unequal, 4) == (4, 2)
    again = Grid(2, 3, 4, 5, 6, default=2)
    assert one(unequal, again, 6) == (6, 6)
    assert one(Grid(2, 6, default=2), Grid(2, 4, 6, default=2), 6) == (6, 6)


def test_numbers_of_what_did_not_change_are_left_as_they_are() -> None:
    """Even those that are no more exact than what a program of somebody else's wrote."""
    before = small_study()
    after = small_study(tiers=(*TIERS, {"activation": Choice("relu", "tanh", default="relu")}))
    stored = kept(before, {n: s.default for n, s in before.scales().items()})
    odd = {"learning_rate": 0.1 + 1e-17, "one_minus_momentum": 0.01234567890123456789, "decay_or_floor": 2.3e-4}
    stored |= {name: (number, stored[name][1]) for name, number in odd.items()}
    parameters, _ = rewrite(before, after, stored)
    assert {name: parameters[name] for name in stored} == stored
    assert parameters["activation"][0] == 0


def test_a_new_hyperparameter_has_its_default_in_every_earlier_trial() -> None:
    before = searching(learning_rate=Log(1e-4, 1, default=0.1))
    scales = {s.stored_name("x"): s for s in ALL_SCALES}
    for scale in scales.values():
        after = searching(learning_rate=Log(1e-4, 1, default=0.1), x=scale)
        read = rewritten(before, after, {"learning_rate": 0.3})
        assert read == {"learning_rate": 0.3, "x": scale.default}


def test_what_a_value_is_stored_as_stands_beside_it() -> None:
    before = searching(learning_rate=Log(1e-4, 1, default=0.1))
    after = small_study()
    _, beside = rewrite(before, after, kept(before, {"learning_rate": 0.3}))
    assert beside == {"momentum": 0.9, "batch_size": 256, "decay": 0.0}


def test_a_trial_of_another_program_is_left_as_it_is() -> None:
    before, after = small_study(), small_study(tiers=({"learning_rate": Log(1e-6, 1, default=0.1)}, *TIERS[1:]))
    partial = {"learning_rate": (0.1, "{}"), "mine": (3.0, "{}")}
    assert rewrite(before, after, partial) == (partial, {})
    more = {**kept(before, {n: s.default for n, s in before.scales().items()}), "mine": (3.0, "{}")}
    parameters, _ = rewrite(before, after, more)
    assert set(parameters) == {*after.distributions(), "mine"}
    assert parameters["mine"] == (3.0, "{}")
