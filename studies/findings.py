"""The findings of checks, such as those of `caviar doctor`: one line each, with what to do about it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum


class Level(StrEnum):
    """The severity of a finding."""

    OK = "ok"
    WARNING = "warning"
    ERROR = "error"  # something cannot work


@dataclass(frozen=True)
class Finding:
    """One line of a report.

    Attributes:
        what: the name of the check.
        message: the result in words.
        step: what to do about it; empty if nothing is to be done.
        mend: does that and returns in words what it did; None where it would not be safe.
    """

    level: Level
    what: str
    message: str
    step: str = ""
    mend: Callable[[], str] | None = field(default=None, compare=False)

    def json_fields(self) -> dict[str, str]:
        """Return the fields of its JSON document."""
        return {"level": self.level, "what": self.what, "told": self.message, "step": self.step}


def format_size(size: float) -> str:
    """Return a number of bytes as a person would write it."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.4g} TB"
