"""Each scale against the documented formula, and its bounds."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter
from scipy.stats import kstest

from caviar.studies.errors import DefinitionError
from caviar.studies.space.base import BaseScale
from caviar.studies.space.scales import Choice, Grid, Linear, Log, LogOneMinus, PowersOfTwo, Scale
from tests.helpers.studies import ALL_SCALES

UNITS = np.random.default_rng(0).random(20_000)
units = st.floats(0, 1)


def samples(scale: BaseScale) -> np.ndarray:
    return np.array([scale.value(u) for u in UNITS])


def test_learning_rate_follows_ten_to_the_power_of_minus_four_times_u() -> None:
    reference = 10 ** (-4 * np.random.default_rng(1).random(20_000))
    assert kstest(samples(Log(1e-4, 1, default=0.1)), reference).pvalue > 0.01


def test_momentum_follows_one_minus_ten_to_the_power_of_u() -> None:
    reference = 1 - 10 ** np.random.default_rng(1).uniform(-3, -1, 20_000)
    assert kstest(samples(LogOneMinus(0.9, 0.999, default=0.9)), reference).pvalue > 0.01


def test_the_test_can_tell_a_wrong_scale() -> None:
    linear = np.random.default_rng(1).uniform(0.9, 0.999, 20_000)
    assert kstest(samples(LogOneMinus(0.9, 0.999, default=0.9)), linear).pvalue < 1e-6


@pytest.mark.parametrize(
    ("scale", "bins"),
    [
        (Linear(50, 100, default=64), list(range(50, 101))),
        (PowersOfTwo(16, 512, default=64), [16, 32, 64, 128, 256, 512]),
        (Grid(2, 3, 4, default=2), [2, 3, 4]),
    ],
    ids=str,
)
def test_discrete_values_are_equally_likely(scale: BaseScale, bins: list[int]) -> None:
    values, counts = np.unique(samples(scale), return_counts=True)
    assert values.tolist() == bins
    expected = len(UNITS) / len(bins)
    assert np.all(np.abs(counts - expected) < 5 * math.sqrt(expected))


def test_decay_is_zero_in_its_lowest_decade_and_log_above() -> None:
    values = samples(Log(1e-3, 1, default=0, or_zero=True))
    zero = values == 0
    assert abs(zero.mean() - 0.25) < 0.02
    reference = 10 ** np.random.default_rng(1).uniform(-3, 0, 20_000)
    assert kstest(values[~zero], reference).pvalue > 0.01


@pytest.mark.parametrize("scale", ALL_SCALES, ids=str)
def test_both_ends_are_reached(scale: BaseScale) -> None:
    if isinstance(scale, Grid | Choice):
        ends = scale.values[0], scale.values[-1]
    else:
        ends = (0.0 if getattr(scale, "or_zero", False) else scale.low), scale.high  # type: ignore[attr-defined]
    assert (scale.value(0.0), scale.value(1.0)) == ends


@pytest.mark.parametrize("scale", ALL_SCALES, ids=str)
@given(unit=units)
def test_values_stay_inside_and_survive_being_stored(scale: BaseScale, unit: float) -> None:
    value = scale.value(unit)
    distribution = scale.distribution()
    stored = scale.to_stored(value)
    internal = distribution.to_internal_repr(stored)
    assert distribution._contains(internal)
    again = scale.from_stored(distribution.to_external_repr(internal))
    assert again == scale.from_internal(internal)
    if isinstance(value, float):
        assert again == pytest.approx(value, rel=1e-12)
    else:
        assert again == value
    assert 0 <= scale.unit(again) <= 1


@pytest.mark.parametrize("scale", ALL_SCALES, ids=str)
@given(unit=units)
def test_place_and_value_are_inverse(scale: BaseScale, unit: float) -> None:
    value = scale.value(unit)
    assert scale.value(scale.unit(value)) == pytest.approx(value) if value != 0 else scale.value(0) == 0


@given(low=st.floats(1e-9, 1e3), factor=st.floats(1.01, 1e6), unit=units)
def test_any_log_range_holds_its_values(low: float, factor: float, unit: float) -> None:
    scale = Log(low, low * factor, default=low)
    assert low <= scale.value(unit) <= low * factor


@pytest.mark.parametrize("scale", ALL_SCALES, ids=str)
def test_optunas_axis_is_as_wide_as_the_scale(scale: BaseScale) -> None:
    distribution = scale.distribution()
    seen = {scale.to_stored(v) for v in scale.grid(3)}
    assert all(distribution._contains(distribution.to_internal_repr(v)) for v in seen)


def test_momentum_is_stored_on_a_log_axis_of_its_complement() -> None:
    scale = LogOneMinus(0.9, 0.999, default=0.9)
    assert scale.stored_name("momentum") == "one_minus_momentum"
    assert (scale.distribution().low, scale.distribution().high, scale.distribution().log) == (0.001, 0.1, True)  # type: ignore[attr-defined]
    assert scale.to_stored(0.99) == 0.01
    assert scale.from_stored(0.01) == 0.99


@pytest.mark.parametrize("scale", ALL_SCALES, ids=str)
def test_a_scale_survives_json(scale: BaseScale) -> None:
    adapter: TypeAdapter[BaseScale] = TypeAdapter(Scale)
    assert adapter.validate_json(adapter.dump_json(scale)) == scale


@pytest.mark.parametrize("scale", ALL_SCALES, ids=str)
def test_a_scale_contains_itself_and_no_other_kind_and_its_wider_form_contains_it(scale: Scale) -> None:
    assert scale.contains(scale)
    assert not any(other.contains(scale) for other in ALL_SCALES if type(other) is not type(scale))
    if (wider := scale.widened()) is not None:
        assert wider.contains(scale)
        assert not scale.contains(wider)
        assert wider.stored_name("x") == scale.stored_name("x")


@pytest.mark.parametrize("scale", ALL_SCALES, ids=str)
def test_the_ends_of_a_range_are_at_its_ends_and_the_middle_is_not(scale: Scale) -> None:
    ends = [scale.end_near(scale.value(unit), 0.05) for unit in (0.0, 0.5, 1.0)]
    zero = isinstance(scale, Log) and scale.or_zero  # which stands below the range
    assert ends == ([None] * 3 if scale.unordered else [None if zero else "lower", None, "upper"])


def test_an_axis_has_the_order_of_the_scale() -> None:
    assert Log(1e-3, 1, default=0, or_zero=True).on_axis(0.0) == 1e-4
    momentum = LogOneMinus(0.9, 0.999, default=0.9)
    assert momentum.axis("momentum").title == "momentum (log scale of 1 − momentum)"
    assert momentum.on_axis(0.99) == pytest.approx(0.01)
    assert Choice("relu", "gelu", default="relu").axis("activation").title == "activation"
    assert [scale.axis("x").kind for scale in ALL_SCALES].count("log") == 3


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Log(0, 1, default=0.1), "a log scale must start above 0; given 0 to 1"),
        (lambda: Log(-1, 1, default=0.1), "a log scale must start above 0; given -1 to 1"),
        (lambda: Log(1, 0.1, default=1), "the range 1 to 0.1 is empty: low must be below high"),
        (lambda: Log(0.1, 1, default=2), "the default 2 is outside its range 0.1 to 1"),
        (lambda: Log(0.1, 1, default=0), "the default 0 is outside its range 0.1 to 1"),
        (lambda: Log("a", 1, default=1), "Log: low: give a number"),  # type: ignore[arg-type]
        (lambda: Log(0.1, float("inf"), default=1), "Log: high: give a finite number"),
        (lambda: LogOneMinus(0.9, 1, default=0.9), "a scale of 1 - β must lie in 0 to below 1; given 0.9 to 1"),
        (lambda: LogOneMinus(0.9, 0.99, default=0.5), "the default 0.5 is outside its range 0.9 to 0.99"),
        (lambda: Linear(3, 3, default=3), "the range 3 to 3 is empty"),
        (lambda: Linear(1, 2, default=1.5), "both ends are integers, so the default must be one; given 1.5"),
        (lambda: PowersOfTwo(48, 64, default=64), "48 is not a power of two; the nearest are 32 and 64"),
        (lambda: Grid(2, default=2), "a list needs two values or more, all different; given [2]"),
        (lambda: Grid(3, 2, default=2), "a grid holds numbers in rising order; given [3, 2]"),
        (lambda: Choice("relu", "relu", default="relu"), "a list needs two values or more, all different"),
        (lambda: Choice("relu", "gelu", default="tanh"), "the default 'tanh' is not in the list ['relu', 'gelu']"),
    ],
)
def test_a_bad_scale_says_what_is_wrong(make: Callable[[], BaseScale], message: str) -> None:
    with pytest.raises(DefinitionError, match="^" + message.translate({ord(c): "\\" + c for c in "[]()."})):
        make()


@pytest.mark.parametrize(
    ("scale", "value", "around"),
    [
        (PowersOfTwo(16, 256, default=64), 65, (64, 128)),
        (PowersOfTwo(16, 256, default=64), 64, None),
        (PowersOfTwo(16, 256, default=64), 15, None),
        (PowersOfTwo(16, 256, default=64), 257, None),
        (Grid(2, 3, 8, default=3), 5, (3, 8)),
        (Grid(0.1, 0.5, default=0.1), 0.2, (0.1, 0.5)),
        (Linear(1, 10**9, default=1), 77.5, (77, 78)),
        (Linear(0.0, 1.0, default=0.5), 0.3, None),
        (Linear(1, 10, default=1), math.nan, None),
        (Linear(1, 10, default=1), "five", None),
        (Choice("a", "b", default="a"), "c", None),
    ],
)
def test_a_number_between_two_values_is_told_with_both(scale: BaseScale, value: Any, around: Any) -> None:
    assert scale.around(value) == around
