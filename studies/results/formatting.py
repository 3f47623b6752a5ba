"""Values as text for people, and records as documents for `--json`: the same in every command."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from datetime import datetime
from enum import Enum
from typing import Any

from caviar.text import CONTROL


def number(value: object) -> str:
    """Return a value as a person would write it: four significant digits of a float, and a dash for None."""
    if value is None:
        return "-"
    return _digits(value, 4) if isinstance(value, float) else str(value)


def alike(*values: float, sign: str = "") -> list[str]:
    """Return a difference and the ends of its interval with as many decimals each, three digits of the largest.

    Args:
        sign: `+` to have one before positive numbers, too.

    Example:
        >>> alike(0.1, 0.05, 0.15), alike(-4.0, 1234.5)
        (['0.100', '0.050', '0.150'], ['-4', '1234'])
    """
    largest = max(map(abs, values))
    if not 1e-5 <= largest < 1e7:
        return [f"{value:{sign}z.3g}" for value in values]
    decimals = max(2 - math.floor(math.log10(largest)), 0)
    return [f"{value:{sign}z.{decimals}f}" for value in values]


def told_apart(*values: float) -> list[str]:
    """Return numbers as `number` does, with as many digits as it takes to tell apart those that differ.

    Example:
        >>> told_apart(1234.51, 1234.54), told_apart(0.9722, 0.9806)
        (['1234.51', '1234.54'], ['0.9722', '0.9806'])
    """
    for count in range(4, 17):
        shown = [_digits(value, count) for value in values]
        if len(set(shown)) == len(set(values)):
            break
    return shown


def rounded(value: float | None) -> float | None:
    """Return a number without digits that no picture shows; None where JSON has none for it."""
    return None if value is None or finite(value) is None else float(f"{value:.7g}")


def _digits(value: float, count: int) -> str:
    """Return a number with so many significant digits, and with all that stand before its point up to ten million."""
    text = f"{value:.{count}g}"
    return f"{value:.0f}" if 10**count <= abs(float(text)) < 1e7 else text


def begin_sentence(text: str) -> str:
    """Return a text with its first letter in upper case; all others stay, since names of a person's are among them."""
    return text[:1].upper() + text[1:]


def duration(seconds: float) -> str:
    """Return a length of time as a person says it, in one unit or two.

    Example:
        >>> duration(0.42), duration(3717), duration(7200), duration(200000)
        ('0.42 s', '1 h 2 min', '2 h', '2 d 8 h')
    """
    if seconds < 90:
        return f"{seconds:.0f} s" if seconds >= 10 or seconds == 0 else f"{seconds:.2g} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    if minutes < 48 * 60:
        return _two(*divmod(minutes, 60), "h", "min")
    return _two(*divmod(round(minutes / 60), 24), "d", "h")


def _two(large: int, small: int, unit: str, below: str) -> str:
    return f"{large} {unit} {small} {below}" if small else f"{large} {unit}"


def of_planned(count: int, planned: int | None) -> str:
    """Return a count with what is planned, if anybody knows that.

    Example:
        >>> of_planned(3, 8), of_planned(3, None)
        ('3 of 8', '3')
    """
    return str(count) if planned is None else f"{count} of {planned}"


def finite(value: float | None) -> float | None:
    """Return the number, or None where JSON has none for it: the loss of a trial that diverged."""
    return value if value is not None and math.isfinite(value) else None


def to_json(value: object) -> Any:
    """Return a record as plain JSON values: its fields by their names, sequences as lists, times as ISO 8601.

    A record whose document has other keys than its fields says so with a method `json_fields`. A number that JSON
    doesn't have, such as the infinite loss of a trial that diverged, becomes None.

    Raises:
        TypeError: a value is of a type that JSON doesn't have.
    """
    if isinstance(value, Enum):
        return value.value
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return finite(value)
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Mapping):
        return {str(key): to_json(each) for key, each in value.items()}
    if isinstance(value, Sequence | set | frozenset):
        return [to_json(each) for each in value]
    if hasattr(value, "json_fields"):
        return to_json(value.json_fields())
    if is_dataclass(value):
        return {field.name: to_json(getattr(value, field.name)) for field in fields(value)}
    raise TypeError(f"{type(value).__name__} has no place in a JSON document")


def json_text(value: object) -> str:
    """Return a JSON document of a record, in which control characters are escaped, though JSON wants few of them to be.

    Raises:
        TypeError: a value is of a type that JSON doesn't have.
    """
    text = json.dumps(to_json(value), indent=2, ensure_ascii=False, allow_nan=False)
    return CONTROL.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def without_password(text: str) -> str:
    """Return a text with the user and the password of each address in it replaced by ***."""
    return re.sub(r"://[^\s'\"]*@", "://***@", text)
