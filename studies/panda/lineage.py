"""The tree of a panda's days: its current branch, the branches that were left, and whose states are kept."""

from __future__ import annotations

from caviar.storage.pandas import DayRecord, Life


def path(life: Life, number: int) -> list[DayRecord]:
    """Return the days from the birth to a day, each of which builds on the one before."""
    days = [life.days[number]]
    while (parent := days[-1].parent) is not None:
        days.append(life.days[parent])
    return days[::-1]


def branches(life: Life) -> list[list[DayRecord]]:
    """Return the branches: the current one from the birth on, then each that was left, from where it forks off."""
    current = path(life, life.panda.head)
    placed, divided = {day.number for day in current}, [current]
    parents = {day.parent for day in life.days}
    for tip in sorted((day for day in life.days if day.number not in parents), key=lambda day: -day.number):
        own = [day for day in path(life, tip.number) if day.number not in placed]
        if own:
            placed.update(day.number for day in own)
            divided.append(own)
    return divided


def kept_days(life: Life, *, maximize: bool) -> set[int]:
    """Return the days whose states are kept: the current branch, the best of every other, and candidates that may still
    be chosen."""
    current, *others = branches(life)
    numbers = {day.number for day in current}
    for branch in others:
        valued = [day for day in branch if day.value is not None and day.saved and not day.violated]
        if branch[0].is_look and branch[0].parent != life.panda.head:
            continue  # the panda went on without this candidate
        if valued:
            best = max(valued, key=lambda day: (day.value or 0.0) * (1 if maximize else -1))
            numbers.add(best.number)
        numbers.update(day.number for day in branch if day.is_look)
    return numbers


def nearest_saved(life: Life, day: DayRecord) -> DayRecord | None:
    """Return the last day before `day` on its branch whose state is kept; None where there is none."""
    return next((earlier for earlier in path(life, day.number)[-2::-1] if earlier.saved), None)
