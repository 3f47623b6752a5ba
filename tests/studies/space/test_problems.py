"""What is wrong with a definition is said in Caviar's words, whichever field it is and whatever was given."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from caviar.studies.definition import Study, from_body, to_body
from caviar.studies.errors import DefinitionError
from caviar.studies.space.scales import Grid, Linear, Log, PowersOfTwo
from tests.helpers.studies import small_study

_BAD = (None, True, 3, -1, 10**30, 2.5, float("nan"), "2", "", [], [3], {}, {"a": [1]}, {3: 4}, object(), (Study,))
_PHRASES = ("input should", "inputs are", "valid ", "after validation", "unable to", "field required", "discriminator")


def pydantics_words(make: Callable[[], object]) -> list[str]:
    """Return the phrases of pydantic's in which a definition is refused; none if it is not refused."""
    try:
        make()
    except DefinitionError as error:
        return [phrase for phrase in _PHRASES if phrase in str(error).lower()]
    return []


@pytest.mark.parametrize("name", Study.model_fields)
def test_a_field_of_a_study(name: str) -> None:
    for bad in _BAD:
        assert pydantics_words(partial(from_body, {**to_body(small_study()), name: bad})) == []


@pytest.mark.parametrize("scale", [Log, Linear, PowersOfTwo])
@pytest.mark.parametrize("place", range(3))
def test_a_field_of_a_scale(scale: Any, place: int) -> None:
    for bad in _BAD:
        values = [1, 8, 2]
        values[place] = bad  # type: ignore[call-overload]
        assert pydantics_words(partial(scale, values[0], values[1], default=values[2])) == []


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"epochs": "2"}, "epochs: give an integer; given '2'"),
        ({"tiers": ()}, "tiers: give 1 or more; given ()"),
        ({"tiers": ({"a": (1, 2)},)}, "tiers.0.a: give a scale, such as Log(1e-4, 1, default=0.1); given (1, 2)"),
        ({"tiers": ({3: Grid(1, 2, default=1)},)}, "tiers.0: give texts as names; given 3"),
        ({"fixed": {"a": [1]}}, "fixed.a: give a finite number or a text; given [1]"),
        ({"direction": "up"}, "direction: give 'maximize' or 'minimize'; given 'up'"),
    ],
)
def test_the_words(fields: dict[str, Any], told: str) -> None:
    with pytest.raises(DefinitionError) as refused:
        from_body({**to_body(small_study()), **fields})
    assert str(refused.value) == f"study 'small': {told}"


def test_a_kind_of_error_that_has_no_words_here_keeps_those_of_pydantic() -> None:
    from caviar.studies.space.problems import first_problem

    class Other(BaseModel):
        data: bytes

    with pytest.raises(ValidationError) as refused:
        Other(data=3)  # type: ignore[arg-type]
    assert first_problem(refused.value) == "data: input should be a valid bytes; given 3"
