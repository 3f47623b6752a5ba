"""Durations: how long something may take, as a person writes it and as a message shows it."""

from __future__ import annotations

import math
import re

from caviar.limits import DURATION
from caviar.text import quoted

_UNITS = {"s": 1.0, "min": 60.0, "h": 3_600.0, "d": 86_400.0}
_WRITTEN = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,6})?) ?(s|min|h|d)?")
LEAST = 1.0  # seconds; a shorter time could not be kept: who watches looks twice a second


def to_seconds(given: object) -> float:
    """Return how many seconds a duration has, from 1 s to a year.

    Args:
        given: a number of seconds, or a text such as `90s`, `30min`, `2h`, `1.5d`.

    Raises:
        ValueError: it is no duration.

    Example:
        >>> to_seconds("30min")
        1800.0
    """
    seconds = math.nan
    if isinstance(given, str) and (written := _WRITTEN.fullmatch(given.strip())):
        seconds = float(written[1]) * _UNITS[written[2] or "s"]
    elif isinstance(given, int | float) and not isinstance(given, bool) and abs(given) <= DURATION:
        seconds = float(given)
    if LEAST <= seconds <= DURATION:
        return seconds
    raise ValueError(f"give a duration, 1s to 365d, such as 90s, 30min, 2h or 1d; given {quoted(given)}")


def in_words(seconds: float) -> str:
    """Return a duration as a person would say it, such as `90 s`, `2 h`, `1.5 h`: in the largest unit of which it has
    two, or one exactly.

    Example:
        >>> in_words(5400), in_words(86400)
        ('90 min', '1 d')
    """
    fitting = [unit for unit, length in _UNITS.items() if seconds >= 2 * length or seconds == length]
    unit = fitting[-1] if fitting else "s"
    return f"{seconds / _UNITS[unit]:.3g} {unit}"
