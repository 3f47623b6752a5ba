"""Several ways for a panda to go on, for a short look: where panda and caviar meet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from caviar.storage.pandas import Life, NewDay
from caviar.studies.definition import Study
from caviar.studies.panda.birth import check_settings, sound_head
from caviar.studies.panda.settings import NUDGEABLE, Now, at_the_end_of, changed, read_settings, with_waiting
from caviar.studies.space.base import Value


def read_looks(given: Sequence[str]) -> list[dict[str, Value]]:
    """Return what each look changes, of words such as learning_rate=0.01,0.03; the first one changes nothing.

    Raises:
        OptionError: a word is of another form, or what it names cannot be changed.
    """
    looks: list[dict[str, Value]] = [{}]
    for word in given:
        name, _, values = word.partition("=")
        looks += [read_settings([f"{name}={value}"], NUDGEABLE) for value in values.split(",")]
    return looks


def plan_looks(
    life: Life, *, study: Study, name: str, looks: Sequence[Mapping[str, Value]], epochs: int
) -> list[NewDay]:
    """Plan a day for each look, all from the end of the last day, with what waits of nudges.

    Raises:
        UnknownDay: nothing can build on that.
        OptionError, DefinitionError: one cannot be trained.
    """
    head = sound_head(life, name)
    ended = with_waiting(life, at_the_end_of(life, head.number), head.epoch)
    planned = []
    for look in looks:
        now: Now = changed(ended, look, head.epoch)
        check_settings(study, now.settings, look)
        planned.append(NewDay(head.number, head.epoch, dict(now.settings), now.decay_from, epochs, is_look=True))
    return planned


def best_first(facts: Mapping[str, Any], numbers: Sequence[int]) -> list[dict[str, Any]]:
    """Return the looks of those numbers, by the value that they ended with; those that diverged last."""
    sign = -1 if facts["direction"] == "maximize" else 1
    looks = [facts["days"][number] for number in numbers]

    def key(look: Mapping[str, Any]) -> tuple[bool, float]:
        value = look["curve"][-1] if look["curve"] else None
        bad = look["verdict"]["word"] in ("diverged", "unfinished", "abandoned") or value is None
        return bad, sign * (value or 0.0)

    return sorted(looks, key=key)


def told_apart(days: Sequence[Mapping[str, Any]]) -> str | None:
    """Say it where the best look is not better than the one that changed nothing by more than the noise.

    Args:
        days: looks, the best one first; that one has the lowest number.
    """
    best, plain = days[0], min(days, key=lambda day: int(day["day"]))
    noise = best["verdict"]["noise"]
    if best is plain or not plain["curve"] or None in (best["curve"][-1], plain["curve"][-1]):
        return None
    if abs(best["curve"][-1] - plain["curve"][-1]) > noise:
        return None
    return f"day {best['day']} is not better than as it was by more than the noise ({noise:.4f})"
