"""Read what a command reports: a line of JSON, or a line of its output that a regular expression matches."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from caviar.epoch import check_metrics
from caviar.limits import EPOCHS
from caviar.studies.errors import CommandFailed
from caviar.studies.workers.user.lines import LONGEST
from caviar.studies.workers.user.matching import SECONDS, TooSlow, search
from caviar.text import shown

_EPOCH = "epoch"  # the field, or the group, that says which epoch was trained; all others are metrics


class Report(NamedTuple):
    """Metrics of an epoch: all of them, or some."""

    epoch: int | None  # as the command counts, whose first one is 0 or 1; None if it does not say
    metrics: Mapping[str, float]
    wants_answer: bool = False  # whether the command waits until the epoch is written


def from_json(line: str) -> Report:
    """Read a line that a command wrote to `$CAVIAR_REPORT`, such as `{"epoch": 3, "val_rmse": 5.1}`.

    Raises:
        CommandFailed: it is no such line.
    """
    if len(line) >= LONGEST:
        raise CommandFailed(f"a report is longer than {LONGEST:,} bytes")
    try:
        fields = json.loads(line, object_pairs_hook=_without_repetition)
    except (ValueError, RecursionError) as error:
        raise CommandFailed(f"a report is no line of JSON ({error}): {shown(line)}") from None
    if not isinstance(fields, dict):
        raise CommandFailed(f"a report is no JSON object: {shown(line)}")
    answer, epoch = fields.pop("answer", None), fields.pop(_EPOCH, None)
    if epoch is not None and not (type(epoch) is int or (isinstance(epoch, float) and epoch.is_integer())):
        raise CommandFailed(f"the epoch of a report is no whole number: {shown(line)}")
    return _report(None if epoch is None else int(epoch), fields, line, answer is True)


def _without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"'{shown(twice)}' stands twice")
    return fields


def from_output(expression: re.Pattern[str], line: str) -> Report | None:
    """Read a line of a command's output; None if the expression does not match.

    Raises:
        CommandFailed: a group that is to be a number matched something else, or the expression takes too long.
    """
    try:
        match = search(expression, line)
    except TooSlow:
        raise CommandFailed(
            f"the expression of report= takes more than {SECONDS:g} s for a line of the output; give one without a "
            f"repetition in a repetition, such as (a+)+, and with fewer .*; the line: {shown(line)}",
            cause="too slow",
        ) from None
    if match is None:
        return None
    groups = {name: text for name, text in match.groupdict().items() if text is not None}
    epoch = groups.pop(_EPOCH, None)
    if epoch is not None and not re.fullmatch(r"\d{1,18}", epoch):
        raise CommandFailed(f"the group 'epoch' matched '{shown(epoch)}', no whole number, in: {shown(line)}")
    return _report(None if epoch is None else int(epoch), groups, line)


def _report(epoch: int | None, metrics: Mapping[str, object], line: str, wants_answer: bool = False) -> Report:
    if epoch is not None and not 0 <= epoch <= EPOCHS:
        raise CommandFailed(f"epoch {epoch:,} is out of the range of 0 to {EPOCHS:,}")
    if any(isinstance(value, bool | list | dict) or value is None for value in metrics.values()):
        raise CommandFailed(f"a report has a metric that is no number: {shown(line)}")
    try:
        return Report(epoch, check_metrics(metrics), wants_answer)
    except ValueError as error:
        raise CommandFailed(f"{error}; the line: {shown(line)}") from None


class RanAhead(Exception):
    """A command that goes on from its folder left out an epoch: the folder is newer than what was reported."""


class EpochReports:
    """Puts reports together to epochs, which follow one another.

    An epoch is over with the report that has the study's metric, with the first one of the next epoch, or at the end.

    Args:
        metric: the study's.
        known: the last epoch that is known from before; those up to it are left out.
        first: the command's own number of its first epoch, 0 or 1; None if that is not known yet.
        goes_on: whether the command may begin behind the epochs that are known, since it has its folder from then.
    """

    def __init__(self, metric: str, known: int = 0, first: int | None = None, *, goes_on: bool = False) -> None:
        self.first = first
        self.began_at: int | None = None  # the epoch of the first report, counted from 1; None before it
        self.is_counted = False  # whether reports have no epochs, and are counted
        self._metric, self._known, self._goes_on = metric, known, goes_on
        self._number = 0  # of the epoch that was reported last
        self._metrics: dict[str, float] | None = None  # of that one; None once it is over

    def add(self, report: Report) -> Iterator[tuple[int, Mapping[str, float]]]:
        """Take the next report; yield the numbers and the metrics of epochs that are over.

        Raises:
            CommandFailed: its epoch does not follow, or it has a metric once more.
            RanAhead: the first epoch of a command that goes on leaves one out.
        """
        number = self._number_of(report)
        if self.began_at is None:
            self.began_at = number
        if number != self._number:
            yield from self.finish()
            self._number, self._metrics = number, {}
        elif self._metrics is None:
            raise CommandFailed(
                f"epoch {self._shown(number)} was reported once more, with {_names(report.metrics)}; it is over with "
                f"its {self._metric}, so report that one last, or all in one line"
            )
        assert self._metrics is not None
        if twice := report.metrics.keys() & self._metrics.keys():
            raise CommandFailed(f"epoch {self._shown(number)} has two values of {_names(twice)}")
        self._metrics.update(report.metrics)
        if self._metric in report.metrics:
            yield from self.finish()

    def finish(self) -> Iterator[tuple[int, Mapping[str, float]]]:
        """End the epoch in progress, if there is one."""
        metrics, self._metrics = self._metrics, None
        if metrics is not None and self._number > self._known:
            yield self._number, metrics

    def _number_of(self, report: Report) -> int:
        if report.epoch is None:
            self.is_counted = True
            return self._number + (self._metrics is None)
        if self.first is None:
            self.first = min(report.epoch, 1)
        number = report.epoch + 1 - self.first
        if self._number == 0:
            if self._goes_on and number > self._known + 1:
                raise RanAhead
            most = self._known + 1 if self._goes_on else 1
            follows, what = 1 <= number <= most, f"the first report is of epoch {report.epoch}"
        else:
            follows = self._number <= number <= self._number + 1
            what = f"epoch {self._shown(self._number)} was followed by epoch {report.epoch}"
        if not follows:
            raise CommandFailed(f"{what}; report each epoch, or leave the epoch out, and reports are counted")
        return number

    def _shown(self, number: int) -> int:
        """Return an epoch's number as the command counts."""
        return number - 1 + (1 if self.first is None else self.first)


def _names(metrics: Mapping[str, float] | set[str]) -> str:
    return ", ".join(shown(name) for name in sorted(metrics))
