"""Say in Caviar's words what pydantic finds wrong in a definition: the field, what it takes, and what was given."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from caviar.limits import NAME
from caviar.suggestions import did_you_mean
from caviar.text import quoted

if TYPE_CHECKING:
    from pydantic import ValidationError
    from pydantic_core import ErrorDetails

_SCALE = "give a scale, such as Log(1e-4, 1, default=0.1)"
# What a field takes, by the kind of pydantic's error; {names} are those of the error's context.
_TAKES: Mapping[str, str] = {
    "missing": "it is missing",
    "extra_forbidden": "there is no such field",
    "unexpected_keyword_argument": "there is no such field",
    "string_type": "give a text",
    "string_pattern_mismatch": (  # of `limits.STUDY_NAME`, the only pattern of a field
        f"give letters, digits and . _ -, at most {NAME}, the first a letter or a digit"
    ),
    "int_type": "give an integer",
    "int_parsing": "give an integer",
    "int_from_float": "give an integer",
    "float_type": "give a number",
    "float_parsing": "give a number",
    "finite_number": "give a finite number",
    "bool_type": "give True or False",
    "bool_parsing": "give True or False",
    "greater_than_equal": "give {ge:,} or more",
    "less_than_equal": "give {le:,} or less",
    "literal_error": "give {expected}",
    "tuple_type": "give a list, in square brackets",
    "mapping_type": "give a mapping of names to values",
    "dict_type": "give a mapping of names to values",
    "too_short": "give {min_length:,} or more",
    "too_long": "give {max_length:,} at most",
    "model_type": "give a {class_name}",
    "value_error": "{error}",  # of a check of our own
    "model_attributes_type": _SCALE,
    "union_tag_not_found": _SCALE,
    "union_tag_invalid": _SCALE,
}
# Errors whose words say what was given, or whose input is not of the field.
_NOTHING_GIVEN = ("missing", "unexpected_keyword_argument", "value_error")
_UNKNOWN = ("extra_forbidden", "unexpected_keyword_argument")
_MEMBERS = ("int", "float", "str")  # of the unions of which a hyperparameter's value is one


def first_problem(error: ValidationError, fields: Iterable[str] = ()) -> str:
    """Return the first problem that pydantic reports, in one line: the field, what it takes, and what was given.

    Args:
        fields: the names that there are, to suggest one of them for a field that is misspelt.
    """
    problems = error.errors(include_url=False)
    place, takes = _takes(problems[0], problems)
    if problems[0]["type"] in _UNKNOWN and (near := did_you_mean(str(place[-1]), fields)):
        takes = f"{takes}; {near.strip()}"
    given = f"; given {quoted(problems[0]['input'])}" if problems[0]["type"] not in _NOTHING_GIVEN else ""
    return f"{'.'.join(map(str, place)) or 'value'}: {takes}{given}"


def _takes(problem: ErrorDetails, problems: list[ErrorDetails]) -> tuple[tuple[int | str, ...], str]:
    """Return where a problem is, and what may stand there; of a value that may be of several types, all of them."""
    place, words = problem["loc"], _TAKES.get(problem["type"])
    if place and place[-1] == "[key]":
        place, words = place[:-2], words if problem["type"] == "value_error" else "give texts as names"
    if len(place) > 1 and place[-1] in _MEMBERS:
        members = {each["loc"][-1] for each in problems if each["loc"][:-1] == place[:-1]}
        return place[:-1], "give a finite number" + (" or a text" if "str" in members else "")
    if words is None:
        return place, problem["msg"][0].lower() + problem["msg"][1:]
    if problem["type"] == "string_type" and callable(problem["input"]):
        words = f"give its path as a text, package.module:{getattr(problem['input'], '__name__', 'function')}"
    context: Mapping[str, Any] = problem.get("ctx", {})
    return place, words.format(**context)
