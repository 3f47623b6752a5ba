"""What is exported of a study: every trial with what it was trained with, and every epoch, as rows of plain values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Engine

from caviar.epoch import Epoch
from caviar.storage.curves import TrialTimes, read_curves, read_times
from caviar.storage.records import StudyRecord, TrialRecord
from caviar.storage.status import read_trials
from caviar.storage.test_results import read_tests
from caviar.studies.definition import Study
from caviar.studies.lifecycle.manager import definition_of
from caviar.studies.results.summaries import trial_summaries

# A trial's columns, before its hyperparameters: accuracies from 0 to 1, times in UTC, seconds of training.
TRIAL: Mapping[str, type] = {
    "trial": int, "tier": int, "phase": str, "state": str, "value": float, "violated": str, "epochs": int,
    "why_it_stopped": str, "worker": str, "host": str, "began": datetime, "ended": datetime, "seconds": float,
    "attempts": int, "test_accuracy": float, "test_loss": float,
}  # fmt: skip
# An epoch's: mean losses per example, accuracy of the validation set.
EPOCH: Mapping[str, type] = {
    "trial": int, "epoch": int, "training_loss": float, "validation_loss": float, "accuracy": float,
    "learning_rate": float, "seconds": float,
}  # fmt: skip


@dataclass(frozen=True)
class ExportedTrial:
    """A trial.

    Attributes:
        facts: by the names of TRIAL.
        hyperparameters: as they were trained, those that are fixed too; empty where it has not begun.
        curve: its epochs, where they were asked for.
    """

    facts: Mapping[str, Any]
    hyperparameters: Mapping[str, Any]
    curve: list[Epoch]


@dataclass(frozen=True)
class Table:
    """Rows for a file.

    Attributes:
        columns: name and type of each.
        rows: a value for each column, which is None where there is none.
    """

    columns: list[tuple[str, type]]
    rows: Iterator[list[Any]]


def read_exported(engine: Engine, record: StudyRecord, *, epochs: bool) -> list[ExportedTrial]:
    """Return all trials of a study by number, in four statements, however many there are.

    What changes between them is left out: a trial is as it was in the first.

    Args:
        epochs: read the curves, too.
    """
    study = definition_of(record)
    trials = read_trials(engine, record.study_id)
    times, tests = read_times(engine, record.study_id), read_tests(engine, record.study_id)
    curves = read_curves(engine, record.study_id) if epochs else {}
    return [
        _exported(study, trial, facts, times.get(trial.slot.number), tests, curves.get(trial.slot.number, []))
        for trial, facts in zip(trials, map(vars, trial_summaries(study, trials)), strict=True)
    ]


def trial_table(study: Study, trials: list[ExportedTrial]) -> Table:
    """Return a row for each trial."""
    named = _columns(study, trials, TRIAL)
    rows = ([*t.facts.values(), *(t.hyperparameters.get(name) for name, _, _ in named)] for t in trials)
    return Table([*TRIAL.items(), *((column, kind) for _, column, kind in named)], rows)


def epoch_table(study: Study, trials: list[ExportedTrial]) -> Table:
    """Return a row for each epoch, with the hyperparameters of its trial."""
    named = _columns(study, trials, EPOCH)
    rows = (
        [t.facts["trial"], *vars(epoch).values(), *(t.hyperparameters.get(name) for name, _, _ in named)]
        for t in trials
        for epoch in t.curve
    )
    return Table([*EPOCH.items(), *((column, kind) for _, column, kind in named)], rows)


def _exported(
    study: Study,
    trial: TrialRecord,
    facts: Mapping[str, Any],
    when: TrialTimes | None,
    tests: Mapping[int, tuple[float, float]],
    curve: list[Epoch],
) -> ExportedTrial:
    loss, accuracy = tests.get(trial.slot.number, (None, None))
    ended = when.ended if when and trial.state not in ("open", "running") else None
    known = {
        **facts, "host": trial.host, "began": when and when.began.astimezone(UTC),
        "ended": ended and ended.astimezone(UTC), "test_accuracy": accuracy, "test_loss": loss,
    }  # fmt: skip
    values = facts["hyperparameters"]
    return ExportedTrial(
        {name: known[name] for name in TRIAL},
        {**values, **study.fixed} if values else {},
        [epoch for epoch in curve if epoch.epoch <= trial.epoch],
    )


def _columns(study: Study, trials: list[ExportedTrial], others: Mapping[str, type]) -> list[tuple[str, str, type]]:
    """Return name, column and type of each hyperparameter; where another column has its name, it says what it is."""
    found = []
    for name in [*study.scales(), *study.fixed]:
        kinds = {type(t.hyperparameters[name]) for t in trials if name in t.hyperparameters}
        kind = kinds.pop() if len(kinds) == 1 else float if kinds <= {int, float} else str
        found.append((name, f"hyperparameter_{name}" if name in others else name, kind))
    return found
