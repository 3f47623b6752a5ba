"""The live display of a study: a panel that renews itself on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time

from rich.console import Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from storage.records import Progress
from studies.cli.output import number, out, settings_line, tell
from studies.definition import Study
from studies.facts import state_of

_LINE_SECONDS = 5.0  # between two plain lines
_ROWS = 12  # of running trials


class Rate:
    """Trials per minute since the first look, and the time that is left at that rate."""

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
        return f"{60 * done / seconds:.0f} trials/min" + (f", {_duration(left)} left" if left else "")


class Display:
    """Shows a study's progress as it is told of it, from `with` to its end."""

    def __init__(self, study: Study) -> None:
        self._study = study
        self._rate = Rate()
        self._live = Live(console=out(), auto_refresh=False) if out().is_terminal else None
        self._said: tuple[float, object] = (0.0, None)

    def __enter__(self) -> Display:
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *exception: object) -> None:
        if self._live:
            self._live.stop()

    def change(self, study: Study) -> None:
        """Show the study by another definition from now on."""
        self._study = study

    def show(self, now: Progress) -> None:
        """Show the study as it is now."""
        if self._live:
            self._live.update(panel(self._study, now, self._rate.told(now)), refresh=True)
            return
        rate = self._rate.told(now)
        state = state_of(now)
        news = (state, now.best and now.best.slot.number, _phase(now))
        clock = time.monotonic()
        if clock - self._said[0] >= _LINE_SECONDS or news != self._said[1]:
            self._said = clock, news
            best = f"best {number(now.best.value)} (trial {now.best.slot.number})" if now.best else "no result yet"
            where = state if state in ("paused", "stopped") else _phase(now)
            tell("  ".join(part for part in (f"{now.done}/{now.budget} trials", where, best, rate) if part))


def panel(study: Study, now: Progress, rate: str = "") -> RenderableType:
    """Return a study at one moment: how far, what is best, what runs."""
    what = f"  {study.model} on {study.data}, {study.strategy}  "
    title = Text.assemble((study.name, "bold"), what, (_state(now), "cyan"))
    head = Table.grid(padding=(0, 2))
    head.add_row(
        ProgressBar(total=now.budget, completed=now.done, width=30),
        f"{now.done}/{now.budget}",
        _phase(now),
        rate,
    )
    counts = f"{now.complete} complete, {now.pruned} pruned, {now.failed} failed, {now.diverged} diverged"
    counts += f", {now.abandoned} abandoned" if now.abandoned else ""
    lines: list[RenderableType] = [title, head, Text(f"{counts};  {saved(study, now)}", style="dim")]
    if now.best:
        values = settings_line(study.values(now.best.parameters))
        value = (number(now.best.value), "bold green")
        lines.append(Text.assemble("best ", value, f" (trial {now.best.slot.number})  ", values))
    if now.running:
        running = Table.grid(padding=(0, 2))
        for r in now.running[:_ROWS]:
            running.add_row(
                f"trial {r.number}", f"tier {r.tier} {r.phase}",
                ProgressBar(total=study.epochs, completed=r.epoch, width=12),
                f"epoch {r.epoch}/{study.epochs}", number(r.value), Text(f"{r.host}:{r.pid}", style="dim"),
            )  # fmt: skip
        lines.append(running)
        if len(now.running) > _ROWS:
            lines.append(Text(f"and {len(now.running) - _ROWS} more trials", style="dim"))
    return Group(*lines)


def saved(study: Study, now: Progress) -> str:
    """Say how many epochs were trained of those planned for the finished and running trials."""
    planned = (now.done + now.leased) * study.epochs
    return f"{now.epochs_trained} of {planned} epochs trained"


def _state(now: Progress) -> str:
    state = state_of(now)
    return "waiting for a worker" if state == "waiting" else state


def _phase(now: Progress) -> str:
    unfinished = next((p for p in now.phases if p.done < p.slots), None)
    return f"tier {unfinished.tier} {unfinished.phase}" if unfinished else ""


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
