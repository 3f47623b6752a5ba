"""Show a study's progress as it goes on: a view that renews itself on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections import deque

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
    """Measures the pace of a study since the first snapshot, and from the later half of that time what is left.

    The time left is that of the epochs that are left, since trials that are pruned end early: those of the running
    trials up to the last one, and for each trial to come as many as the others had.
    """

    def __init__(self) -> None:
        self._first: tuple[float, int] | None = None  # when, and the trials that were done
        self._later: deque[tuple[float, int]] = deque()  # when, and the epochs that were trained

    def in_words(self, study: Study, now: Progress) -> str:
        """Return the trials per minute, or per hour if it is slow, and the time left; empty before there is a pace."""
        clock = time.monotonic()
        if self._first is None:
            self._first = clock, now.done
        began, had_done = self._first
        self._later.append((clock, now.epochs_trained))
        while len(self._later) > 2 and self._later[1][0] <= (began + clock) / 2:
            self._later.popleft()
        seconds, done = clock - began, now.done - had_done
        if seconds < 1 or done < 1:
            return ""
        minute = 60 * done / seconds
        pace = f"{minute:.0f} trials/min" if minute >= 1 else f"{60 * minute:.2g} trials/h"
        left = self._by_epochs(study, now)
        left = (now.budget - now.done) * seconds / done if left is None else left
        return pace + (f", {duration(left)} left" if left else "")

    def _by_epochs(self, study: Study, now: Progress) -> float | None:
        """Return the seconds that are left; None where nobody knows how many epochs trials have."""
        (since, had), (until, have) = self._later[0], self._later[-1]
        if study.epochs is None or have <= had:
            return None
        trained = now.epochs_trained - sum(r.epoch for r in now.running)
        each = min(trained / now.done, study.epochs)  # where no trial is done, nothing is said
        epochs = sum(max(study.epochs - r.epoch, 0) for r in now.running) + now.open * each
        return epochs * (until - since) / (have - had)


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
        rate = self._rate.in_words(study, now)
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
