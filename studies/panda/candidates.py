"""Compare candidates for a panda's next day: several changes of its settings, each trained for a few epochs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from caviar.studies.panda.advice import Outcome
from caviar.studies.panda.records import Journal, JournalDay
from caviar.studies.space.base import Value
from caviar.studies.space.words import parse_settings

_UNUSABLE = (Outcome.DIVERGED, Outcome.UNFINISHED, Outcome.ABANDONED)


def parse_candidates(words: Sequence[str]) -> list[dict[str, Value]]:
    """Parse words such as `learning_rate=0.01,0.03`; each value is a candidate of its own.

    Raises:
        OptionError: a word is not of that form.
    """
    candidates = []
    for word in words:
        name, _, values = word.partition("=")
        candidates += [parse_settings([f"{name}={value}"]) for value in values.split(",")]
    return candidates


def best_first(journal: Journal, numbers: Iterable[int]) -> list[JournalDay]:
    """Return the candidates of those numbers by the value that they ended with; those that diverged come last."""
    sign = -1 if journal.direction == "maximize" else 1

    def key(day: JournalDay) -> tuple[bool, float]:
        value = day.last("curve")
        return day.verdict.word in _UNUSABLE or value is None, sign * (value or 0.0)

    return sorted((journal.days[number] for number in numbers), key=key)


def within_noise(days: Sequence[JournalDay]) -> str | None:
    """Return a warning if the best candidate is not better, beyond the noise, than the one that changed nothing.

    The candidates come best first; the one that changed nothing has the lowest number.
    """
    best, unchanged = days[0], min(days, key=lambda day: day.day)
    first, second, noise = best.last("curve"), unchanged.last("curve"), best.verdict.noise
    if best is unchanged or first is None or second is None or abs(first - second) > noise:
        return None
    return f"day {best.day} is not better than the unchanged settings by more than the noise ({noise:.4f})"
