"""Which days a panda's days build on: its current branch, those that were abandoned, and whose states are kept."""

from __future__ import annotations

from caviar.storage.pandas import DayRecord, Life


def path(life: Life, number: int) -> list[DayRecord]:
    """Return the days from the birth to a day, which each builds on."""
    found = [life.days[number]]
    while (parent := found[-1].parent) is not None:
        found.append(life.days[parent])
    return found[::-1]


def branches(life: Life) -> list[list[DayRecord]]:
    """Return the branches: the current one from the birth on, then each abandoned one from where it left another."""
    current = path(life, life.panda.head)
    seen, found = {day.number for day in current}, [current]
    parents = {day.parent for day in life.days}
    for tip in sorted((day for day in life.days if day.number not in parents), key=lambda day: -day.number):
        own = [day for day in path(life, tip.number) if day.number not in seen]
        if own:
            seen.update(day.number for day in own)
            found.append(own)
    return found


def kept_days(life: Life, *, maximize: bool) -> set[int]:
    """Return the days whose states are kept: the current branch, the best of every other, and looks not yet chosen."""
    current, *others = branches(life)
    kept = {day.number for day in current}
    for branch in others:
        valued = [day for day in branch if day.value is not None and day.saved and not day.violated]
        if branch[0].is_look and branch[0].parent != life.panda.head:
            continue  # the panda went on without it
        if valued:
            best = max(valued, key=lambda day: (day.value or 0.0) * (1 if maximize else -1))
            kept.add(best.number)
        kept.update(day.number for day in branch if day.is_look)
    return kept


def nearest_saved(life: Life, day: DayRecord) -> DayRecord | None:
    """Return the last day before a day, on its branch, that one can go back to; None where there is none."""
    return next((earlier for earlier in path(life, day.number)[-2::-1] if earlier.saved), None)
