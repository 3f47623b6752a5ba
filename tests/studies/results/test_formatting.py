"""Values of any scale as people read them."""

from __future__ import annotations

import math

import pytest

from caviar.studies.results.formatting import alike, begin_sentence, number, rounded, told_apart


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "-"), (7, "7"), ("relu", "relu"), (0.0, "0"), (0.97222, "0.9722"), (1e-7, "1e-07"), (1234.56, "1235"),
        (12345.6, "12346"), (9999.96, "10000"), (-64000.0, "-64000"), (1234567.8, "1234568"), (1e9, "1e+09"),
        (math.inf, "inf"), (math.nan, "nan"),
    ],
)  # fmt: skip
def test_a_number_has_four_digits_or_all_before_its_point(value: object, shown: str) -> None:
    assert number(value) == shown


def test_a_sentence_begins_with_a_large_letter_and_keeps_the_names_in_it() -> None:
    assert begin_sentence("retuned from MyNet, by RMSE") == "Retuned from MyNet, by RMSE"
    assert begin_sentence("") == ""


def test_numbers_that_differ_look_different() -> None:
    assert told_apart(0.9722, 0.9806) == ["0.9722", "0.9806"]
    assert told_apart(1234.51, 1234.54) == ["1234.51", "1234.54"]
    assert told_apart(1.0, 1.0) == ["1", "1"]
    assert told_apart(1e-7, 1.00001e-7) == ["1e-07", "1.00001e-07"]


def test_an_interval_has_as_many_decimals_throughout() -> None:
    assert alike(0.1, 0.05, 0.15) == ["0.100", "0.050", "0.150"]
    assert alike(-4.0, 1234.5) == ["-4", "1234"]
    assert alike(0.05, -0.15, sign="+") == ["+0.050", "-0.150"]
    assert alike(1e-7, -2e-8) == ["1e-07", "-2e-08"]
    assert alike(0.0, 0.0) == ["0", "0"]


def test_a_rounded_number_keeps_what_a_picture_shows_at_any_scale() -> None:
    assert [rounded(v) for v in (None, math.nan, math.inf, 1 / 3, 1.23456789e-7, 123456.789)] == [
        None, None, None, 0.3333333, 1.234568e-7, 123456.8,
    ]  # fmt: skip
