"""Rows of plain values for an export: every trial with all that it was trained with, or every epoch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Engine

from caviar.epoch import Epoch, in_order, metric_names
from caviar.storage.curves import TrialTimes, read_curves, read_times
from caviar.storage.records import StudyRecord, TrialRecord
from caviar.storage.states import TrialState
from caviar.storage.status import read_trials
from caviar.storage.test_results import read_tests
from caviar.studies.definition import Study
from caviar.studies.lifecycle.manager import definition_of
from caviar.studies.metric import OF_A_TEST
from caviar.studies.results.summaries import TrialSummary, trial_summaries
from caviar.studies.way import Way

# A trial's columns, before its hyperparameters: accuracies from 0 to 1, times in UTC, seconds of training.
TRIAL: Mapping[str, type] = {
    "trial": int, "tier": int, "phase": str, "state": str, "metric": str, "value": float, "violated": str,
    "epochs": int, "why_it_stopped": str, "worker": str, "host": str, "began": datetime, "ended": datetime,
    "seconds": float, "attempts": int,
}  # fmt: skip

_GOES_ON = (TrialState.OPEN, TrialState.RUNNING, TrialState.INTERRUPTED)
_OF_EACH_EPOCH = ("trial", "epoch", "seconds")  # columns; a metric of such a name gets a prefix


@dataclass(frozen=True)
class ExportedTrial(TrialSummary):
    """A trial with all columns of TRIAL; its hyperparameters include the fixed ones, once it has begun.

    `curve` is empty if the epochs were not read.
    """

    host: str | None
    began: datetime | None
    ended: datetime | None
    test: Mapping[str, float] = field(default_factory=dict)
    curve: tuple[Epoch, ...] = ()

    @property
    def results(self) -> dict[str, float]:
        """Its results by the names of their columns, those that it has."""
        value = {} if self.value is None else {"value": self.value}
        return {**value, **{f"test_{name}": value for name, value in self.test.items()}}

    def timed_epochs(self) -> Iterator[tuple[Epoch, float]]:
        """Yield each epoch with the time of its end in seconds since 1970, as the epochs' durations add up."""
        at = self.began.timestamp() if self.began else 0.0
        for epoch in self.curve:
            at += epoch.seconds
            yield epoch, at


@dataclass(frozen=True)
class Table:
    """Rows for a file: the name and type of each column, and for each row a value or None by column."""

    columns: list[tuple[str, type]]
    rows: Iterator[list[Any]]


def read_exported(engine: Engine, record: StudyRecord, *, epochs: bool) -> list[ExportedTrial]:
    """Return all trials of a study by number, in three statements, or four with `epochs`, their curves.

    Changes between the statements are left out: each trial is as it was in the first.
    """
    study = definition_of(record)
    trials = read_trials(engine, record.study_id)
    times, tests = read_times(engine, record.study_id), read_tests(engine, record.study_id)
    curves = read_curves(engine, record.study_id) if epochs else {}
    return [
        _exported(study, trial, summary, times.get(summary.trial), tests.get(summary.trial), curves)
        for trial, summary in zip(trials, trial_summaries(study, trials), strict=True)
    ]


def trial_table(study: Study, trials: Sequence[ExportedTrial]) -> Table:
    """Return a row for each trial, with what was measured on the test set where that was done."""
    tested = in_order([*(OF_A_TEST if study.way is Way.MODEL else ()), *(name for t in trials for name in t.test)])
    columns = {**TRIAL, **{f"test_{name}": float for name in tested}}
    rows = (([*(getattr(t, name) for name in TRIAL), *map(t.test.get, tested)], t) for t in trials)
    return _table(study, trials, columns, rows)


def epoch_table(study: Study, trials: Sequence[ExportedTrial]) -> Table:
    """Return a row for each epoch: its metrics, the seconds that it took, and the hyperparameters of its trial."""
    names = metric_names(epoch for t in trials for epoch in t.curve)
    columns: dict[str, type] = {"trial": int, "epoch": int}
    columns |= {f"metric_{name}" if name in _OF_EACH_EPOCH else name: float for name in names}
    columns["seconds"] = float
    rows = (([t.trial, epoch.epoch, *map(epoch.value, names), epoch.seconds], t) for t in trials for epoch in t.curve)
    return _table(study, trials, columns, rows)


def _exported(
    study: Study, trial: TrialRecord, summary: TrialSummary, when: TrialTimes | None, test: Mapping[str, float] | None,
    curves: Mapping[int, Sequence[Epoch]],
) -> ExportedTrial:  # fmt: skip
    ended = when.ended if when and trial.state not in _GOES_ON else None
    values = summary.hyperparameters
    fields = {**vars(summary), "hyperparameters": {**values, **study.fixed} if values else {}}
    return ExportedTrial(
        **fields, host=trial.host, test=test or {},
        began=when.began.astimezone(UTC) if when else None, ended=ended.astimezone(UTC) if ended else None,
        curve=tuple(epoch for epoch in curves.get(summary.trial, ()) if epoch.epoch <= trial.epoch),
    )  # fmt: skip


def _table(
    study: Study, trials: Sequence[ExportedTrial], first: Mapping[str, type],
    rows: Iterator[tuple[list[Any], ExportedTrial]],
) -> Table:  # fmt: skip
    """Return the table of the first columns, followed by the hyperparameters of each row's trial.

    A hyperparameter whose name another column has gets a prefix.
    """
    columns = list(first.items())
    named = (name for t in trials for name in t.hyperparameters) if study.by_trials else study.scales()
    names = list(dict.fromkeys([*named, *study.fixed]))
    for name in names:
        kinds = {type(t.hyperparameters[name]) for t in trials if name in t.hyperparameters}
        kind = kinds.pop() if len(kinds) == 1 else float if kinds <= {int, float} else str
        columns.append((f"hyperparameter_{name}" if name in first else name, kind))
    return Table(columns, ([*row, *(t.hyperparameters.get(name) for name in names)] for row, t in rows))
