"""Durations are read as they are written, and nothing else is one."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caviar.durations import in_words, to_seconds
from caviar.limits import DURATION
from caviar.studies.definition import from_body, to_body
from caviar.studies.errors import DefinitionError
from tests.helpers.studies import small_study

_UNITS = {"s": 1, "min": 60, "h": 3600, "d": 86400, "": 1}
_units = st.sampled_from(sorted(_UNITS))


@given(st.floats(1, DURATION))
def test_a_number_is_seconds(seconds: float) -> None:
    assert to_seconds(seconds) == seconds


@given(st.integers(1, 365), _units, st.sampled_from(["", " "]))
def test_a_text_is_a_number_of_a_unit(number: int, unit: str, space: str) -> None:
    assert to_seconds(f"{number}{space}{unit}") == number * _UNITS[unit]


@given(st.floats(1, DURATION))
def test_what_is_said_is_read_as_the_same(seconds: float) -> None:
    assert to_seconds(in_words(seconds)) == pytest.approx(seconds, rel=0.01)


def seconds_or_words(value: object) -> float | str:
    try:
        return to_seconds(value)
    except ValueError as error:
        return str(error)


@given(st.text() | st.integers() | st.floats() | st.none() | st.booleans() | st.binary())
def test_all_else_is_refused_in_one_line(value: Any) -> None:
    seconds = seconds_or_words(value)
    if isinstance(seconds, str):
        assert "such as 90s, 30min, 2h or 1d" in seconds
        assert "\n" not in seconds
    else:
        assert 1 <= seconds <= DURATION
        assert isinstance(value, int | float) or re.fullmatch(r"\s*[0-9.]+ ?(s|min|h|d)?\s*", value)


@pytest.mark.parametrize(
    "value", [0, -1, 0.5, float("nan"), float("inf"), True, "", "h", "2 hours", "1e3", "-1s", "366d"]
)
def test_what_is_none(value: Any) -> None:
    with pytest.raises(ValueError, match="give a duration"):
        to_seconds(value)


def test_how_they_are_said() -> None:
    assert [in_words(s) for s in (1, 90, 120, 5400, 7200, 86400, 90000, 172800)] == [
        "1 s", "90 s", "2 min", "90 min", "2 h", "1 d", "25 h", "2 d",
    ]  # fmt: skip


def test_the_fields_of_a_study() -> None:
    study = small_study(epoch_timeout="30min", trial_timeout=7200)
    assert (study.epoch_timeout, study.trial_timeout) == (1800.0, 7200.0)
    assert (small_study().epoch_timeout, small_study().trial_timeout) == (None, None)
    with pytest.raises(DefinitionError, match=r"trial_timeout: give a duration, 1s to 365d, .*; given '2 hours'$"):
        from_body({**to_body(small_study()), "trial_timeout": "2 hours"})
