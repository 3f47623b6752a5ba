"""The epochs of a command, out of the bytes that it writes."""

from __future__ import annotations

import re
import time
from collections import deque
from collections.abc import Iterable, Mapping

from caviar.epoch import Epoch
from caviar.storage.stopped import stopped_seconds
from caviar.studies.errors import CommandFailed
from caviar.studies.workers.user.lines import Lines
from caviar.studies.workers.user.process_group import Source
from caviar.studies.workers.user.reports import EpochReports, Report, from_json, from_output


class EpochStream:
    """What one process group reports, from its start to its end.

    Args:
        metric: the study's.
        expression: finds the metrics in a line of output; None for a command that reports them itself.
        waiting: epochs that were reported before, and not taken yet.
        known: the last epoch that is known from before.
        first: the command's own number of its first epoch, 0 or 1; None if that is not known yet.
        goes_on: whether the command has a folder from before, and may begin behind the last epoch.

    Attributes:
        waiting: epochs that can be taken.
        error: why the command fails once these are taken; None while all is well.
        unanswered: reports of these epochs whose sender waits until they are written.
        answers: those whose sender can go on at once.
        measured: the names of all metrics that were reported.
    """

    def __init__(
        self,
        metric: str,
        expression: re.Pattern[str] | None,
        waiting: Iterable[Epoch] = (),
        known: int = 0,
        first: int | None = None,
        *,
        goes_on: bool = False,
    ) -> None:
        self.waiting = deque(waiting)
        self.error: CommandFailed | None = None
        self.unanswered = self.answers = 0
        self.measured = set[str]()
        self._metric, self._expression = metric, expression
        self._lines = {source: Lines() for source in Source}
        self._reports = EpochReports(metric, self.waiting[-1].epoch if self.waiting else known, first, goes_on=goes_on)
        self._epoch_at = _running_time()

    @property
    def first(self) -> int | None:
        """The command's own number of its first epoch; None if it does not number them, or not yet."""
        return None if self._reports.is_counted else self._reports.first

    @property
    def began_at(self) -> int | None:
        """The epoch of the first report, counted from 1; None before it."""
        return self._reports.began_at

    def take(self, source: Source, data: bytes) -> None:
        """Take what the command has written next.

        Raises:
            RanAhead: its first report leaves out an epoch.
        """
        self._read(source, self._lines[source].add(data))

    def finish(self) -> bool:
        """Take note that the command has ended; return whether this makes an epoch, or an error, more."""
        before = len(self.waiting)
        for source in Source:
            self._read(source, self._lines[source].rest())
        self._add(self._reports.finish())
        return len(self.waiting) > before or self.error is not None

    def _read(self, source: Source, lines: Iterable[str]) -> None:
        try:
            for line in lines:
                report = None if self.error else self._report(source, line)
                if report is not None:
                    self.measured |= report.metrics.keys()
                    is_new = self._add(self._reports.add(report))
                    self.unanswered += report.wants_answer and is_new
                    self.answers += report.wants_answer and not is_new
        except CommandFailed as error:
            self.error = error

    def _report(self, source: Source, line: str) -> Report | None:
        if source is Source.REPORT:
            return from_json(line) if line.strip() else None
        return None if self._expression is None else from_output(self._expression, line)

    def _add(self, epochs: Iterable[tuple[int, Mapping[str, float]]]) -> bool:
        """Let epochs wait; return whether there were any."""
        before = len(self.waiting)
        for number, metrics in epochs:
            now = _running_time()
            self.waiting.append(Epoch(number, metrics, now - self._epoch_at))
            self._epoch_at = now
        return len(self.waiting) > before


def _running_time() -> float:
    """Return the seconds of a clock that stands still while this process is stopped, and its command with it."""
    return time.monotonic() - stopped_seconds()
