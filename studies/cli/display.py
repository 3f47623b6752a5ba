"""Show a study's progress as it goes on: a view that renews itself on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time

from rich.live import Live

from caviar.storage.snapshot import Snapshot
from caviar.storage.status import Progress
from caviar.studies.cli.output import out, print_line, set_drawing, unicode
from caviar.studies.cli.view import Screen, phase_now, view
from caviar.studies.definition import Study
from caviar.studies.results.formatting import duration, number
from caviar.studies.results.summaries import StudyState, state_of

_LINE_SECONDS = 5.0  # between two plain lines


class Rate:
    """Measures the pace of a study since the first snapshot: trials per minute, or per hour if it is slow."""

    def __init__(self) -> None:
        self._first: tuple[float, int] | None = None

    def in_words(self, now: Progress) -> str:
        """Return the pace and the remaining time; empty before a trial and a second have passed."""
        clock = time.monotonic()
        if self._first is None:
            self._first = clock, now.done
        seconds, done = clock - self._first[0], now.done - self._first[1]
        if seconds < 1 or done < 1:
            return ""
        left = (now.budget - now.done) * seconds / done
        minute = 60 * done / seconds
        pace = f"{minute:.0f} trials/min" if minute >= 1 else f"{60 * minute:.2g} trials/h"
        return pace + (f", {duration(left)} left" if left else "")


class Display:
    """Shows snapshots of a study, from `with` to its end."""

    def __init__(self) -> None:
        self._rate = Rate()
        can_redraw = out().is_terminal and not out().is_dumb_terminal
        self._live = Live(console=out(), auto_refresh=False) if can_redraw else None
        self._last_line: tuple[float, object] = (0.0, None)

    def __enter__(self) -> Display:
        if self._live:
            self._live.start()
            set_drawing(True)
        return self

    def __exit__(self, *exception: object) -> None:
        if self._live:
            set_drawing(False)
            self._live.stop()

    @property
    def is_live(self) -> bool:
        """Whether the view is drawn, which contains the study's last events; else plain lines are printed."""
        return self._live is not None

    def show(self, study: Study, snapshot: Snapshot) -> None:
        """Show a snapshot by the study's definition of that moment; as a line only if it is news, or time for one."""
        now = snapshot.progress
        rate = self._rate.in_words(now)
        if self._live:
            self._live.update(view(study, snapshot, rate, screen()), refresh=True)
            return
        state = state_of(now)
        news = (state, now.best and now.best.slot.number, phase_now(now))
        clock = time.monotonic()
        if clock - self._last_line[0] >= _LINE_SECONDS or news != self._last_line[1]:
            self._last_line = clock, news
            best = f"best {number(now.best.value)} (trial {now.best.slot.number})" if now.best else "no result yet"
            where = state if state in (StudyState.PAUSED, StudyState.STOPPED) else phase_now(now)
            print_line("  ".join(part for part in (f"{now.done}/{now.budget} trials", where, best, rate) if part))


def screen() -> Screen:
    """Return the abilities of the terminal or file that results go to."""
    return Screen(out().width, out().height, unicode())
