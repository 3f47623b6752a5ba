"""The length of a panda's days: a number of epochs, or a time."""

from __future__ import annotations

import re
from dataclasses import dataclass

from caviar.studies.errors import OptionError

_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0}


@dataclass(frozen=True)
class DayLength:
    """The length of a day in epochs or in seconds of training; the other one is None."""

    epochs: int | None
    seconds: float | None

    def __str__(self) -> str:
        """Return the length as a person would write it, such as `5 epochs` or `8 h`."""
        if self.epochs is not None:
            return f"{self.epochs} epoch{'s' if self.epochs > 1 else ''}"
        seconds = self.seconds or 0
        unit = max((u for u, size in _UNITS.items() if seconds >= size), key=_UNITS.__getitem__, default="s")
        return f"{seconds / _UNITS[unit]:g} {unit}"


def parse_length(text: str) -> DayLength:
    """Parse a length such as `5epochs`, `8h`, `30m` or `90s`.

    Raises:
        OptionError: it has another form, or is zero.
    """
    epochs = re.fullmatch(r"(\d{1,6}) ?(epochs?)?", text.strip())
    if epochs and int(epochs[1]) > 0:
        return DayLength(int(epochs[1]), None)
    time = re.fullmatch(r"(\d{1,6}(?:\.\d+)?) ?([smh])", text.strip())
    if time and float(time[1]) > 0:
        return DayLength(None, float(time[1]) * _UNITS[time[2]])
    raise OptionError(f"--day {text}: give epochs, such as 5epochs, or a time, such as 8h, 30m or 90s")
