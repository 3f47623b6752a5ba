"""The live display of a study: a view that renews itself on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time

from rich.live import Live

from caviar.storage.snapshot import Snapshot
from caviar.storage.status import Progress
from caviar.studies.cli.output import out, tell, unicode
from caviar.studies.cli.view import Screen, phase_now, view
from caviar.studies.definition import Study
from caviar.studies.results.formatting import number
from caviar.studies.results.summaries import state_of

_LINE_SECONDS = 5.0  # between two plain lines


class Rate:
    """Trials per minute, or per hour where that is less than one, since the first look; and the time that is left."""

    def __init__(self) -> None:
        self._first: tuple[float, int] | None = None

    def told(self, now: Progress) -> str:
        """Return both in words; nothing as long as there is nothing to count by."""
        clock = time.monotonic()
        if self._first is None:
            self._first = clock, now.done
        seconds, done = clock - self._first[0], now.done - self._first[1]
        if seconds < 1 or done < 1:
            return ""
        left = (now.budget - now.done) * seconds / done
        minute = 60 * done / seconds
        pace = f"{minute:.0f} trials/min" if minute >= 1 else f"{60 * minute:.2g} trials/h"
        return pace + (f", {_duration(left)} left" if left else "")


class Display:
    """Shows a study's progress as it is told of it, from `with` to its end."""

    def __init__(self, study: Study) -> None:
        self._study = study
        self._rate = Rate()
        moves = out().is_terminal and not out().is_dumb_terminal  # which has no way back to an earlier line
        self._live = Live(console=out(), auto_refresh=False) if moves else None
        self._said: tuple[float, object] = (0.0, None)

    def __enter__(self) -> Display:
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *exception: object) -> None:
        if self._live:
            self._live.stop()

    @property
    def live(self) -> bool:
        """Whether the study's messages are seen in the view."""
        return self._live is not None

    def change(self, study: Study) -> None:
        """Show the study by another definition from now on."""
        self._study = study

    def show(self, look: Snapshot) -> None:
        """Show the study as it is now."""
        now, rate = look.progress, self._rate.told(look.progress)
        if self._live:
            self._live.update(view(self._study, look, rate, screen()), refresh=True)
            return
        state = state_of(now)
        news = (state, now.best and now.best.slot.number, phase_now(now))
        clock = time.monotonic()
        if clock - self._said[0] >= _LINE_SECONDS or news != self._said[1]:
            self._said = clock, news
            best = f"best {number(now.best.value)} (trial {now.best.slot.number})" if now.best else "no result yet"
            where = state if state in ("paused", "stopped") else phase_now(now)
            tell("  ".join(part for part in (f"{now.done}/{now.budget} trials", where, best, rate) if part))


def screen() -> Screen:
    """Return what results are printed on."""
    return Screen(out().width, out().height, unicode())


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
