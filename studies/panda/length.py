"""How long a day is: so many epochs, or so much time."""

from __future__ import annotations

import re

from caviar.studies.errors import OptionError

_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0}


def read_length(given: str) -> tuple[int | None, float | None]:
    """Return a day's epochs, or its seconds; the other is None.

    Raises:
        OptionError: it is of another form, or no time at all.
    """
    epochs = re.fullmatch(r"(\d{1,6}) ?(epochs?)?", given.strip())
    if epochs and int(epochs[1]) > 0:
        return int(epochs[1]), None
    time = re.fullmatch(r"(\d{1,6}(?:\.\d+)?) ?([smh])", given.strip())
    if time and float(time[1]) > 0:
        return None, float(time[1]) * _UNITS[time[2]]
    raise OptionError(f"--day {given}: give epochs, such as 5epochs, or a time, such as 8h, 30m or 90s")


def length_told(epochs: int | None, seconds: float | None) -> str:
    """Return how long a day is, as a person would say it."""
    if epochs is not None:
        return f"{epochs} epoch{'s' if epochs > 1 else ''}"
    unit = max((u for u, size in _UNITS.items() if (seconds or 0) >= size), key=_UNITS.__getitem__, default="s")
    return f"{(seconds or 0) / _UNITS[unit]:g} {unit}"
