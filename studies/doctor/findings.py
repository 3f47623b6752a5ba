"""What a check of `caviar doctor` tells."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Finding:
    """One line of the report.

    Attributes:
        level: `ok`, `warning`, or `error`: something cannot work.
        what: the check that found it.
        step: what to do about it.
        mend: does that, where it is safe, and says what it did.
    """

    level: str
    what: str
    told: str
    step: str = ""
    mend: Callable[[], str] | None = field(default=None, compare=False)


def size_told(size: float) -> str:
    """Return a number of bytes as a person would write it."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.4g} TB"
