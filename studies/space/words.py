"""Values of hyperparameters as a person writes them in a command: `learning_rate=0.01`."""

from __future__ import annotations

import math
from collections.abc import Sequence

from caviar.studies.errors import OptionError
from caviar.studies.space.base import Value


def parse_settings(words: Sequence[str]) -> dict[str, Value]:
    """Parse words such as `learning_rate=0.01`. What looks like a number is one.

    Raises:
        OptionError: a word is not of the form name=value, or gives a name a second value.
    """
    parsed: dict[str, Value] = {}
    for word in words:
        name, equals, text = word.partition("=")
        if not equals or not name or not text:
            raise OptionError(f"'{word}' is no setting; give name=value, such as learning_rate=0.01")
        if name in parsed:
            raise OptionError(f"'{name}' is given twice; give one value")
        parsed[name] = _value(text)
    return parsed


def _value(text: str) -> Value:
    try:
        number = float(text)
    except ValueError:
        return text
    if not math.isfinite(number):
        return text
    return int(number) if number.is_integer() and "." not in text else number
