"""Frozen records that only library calls return; those of results stand in results/."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from caviar.storage.records import DefinitionRecord, EventRecord, WorkerStatus
from caviar.storage.timing import SILENT
from caviar.studies.results.summaries import TrialSummary


@dataclass(frozen=True)
class LearningCurve:
    """The learning curve of a trial that has ended.

    Attributes:
        trial: the trial.
        metric: `accuracy` or `loss`, of the validation set.
        values: the metric after each epoch.
    """

    trial: TrialSummary
    metric: str
    values: tuple[float, ...]

    def json_fields(self) -> dict[str, Any]:
        """Return the fields of its JSON document."""
        return {"trial": self.trial.trial, "metric": self.metric, "curve": self.values}


@dataclass(frozen=True)
class History:
    """The versions of a study's definition and its events, the oldest first."""

    versions: tuple[DefinitionRecord, ...]
    events: tuple[EventRecord, ...]

    def json_fields(self) -> dict[str, Any]:
        """Return the fields of its JSON document."""
        return {
            "versions": [
                {"version": v.version, "at": v.created_at, "changes": v.changes, "definition": v.body,
                 **vars(v.provenance)}
                for v in self.versions
            ],
            "events": [{"at": e.at, "kind": e.kind, "trial": e.slot, "detail": e.detail} for e in self.events],
        }  # fmt: skip


class WorkerState(StrEnum):
    """The state of a worker process.

    idle ⇄ training ──► ended
      └──────┴────────► lost
    """

    IDLE = "idle"  # heard of lately, without a trial
    TRAINING = "training"  # holds at least one lease
    ENDED = "ended"  # said goodbye
    LOST = "lost"  # silent for too long, and without a lease


@dataclass(frozen=True)
class WorkerTrial:
    """A trial that a worker trains, and its last finished epoch."""

    trial: int
    epoch: int


@dataclass(frozen=True)
class WorkerSummary:
    """A worker process on any machine.

    Attributes:
        study: the name of the study that it works on.
        host: the machine's name.
        pid: the process id there.
        device: `cpu`, or such as `cuda:0`.
        state: see `WorkerState`.
        trials: the trials that it trains.
        started: when it began.
        silent_seconds: seconds since its last sign of life, on the database's clock.
    """

    study: str
    host: str
    pid: int
    device: str
    state: WorkerState
    trials: tuple[WorkerTrial, ...]
    started: datetime
    silent_seconds: float

    @property
    def is_present(self) -> bool:
        """Whether it is there to train: neither ended nor lost."""
        return self.state in (WorkerState.IDLE, WorkerState.TRAINING)


def worker_summary(worker: WorkerStatus) -> WorkerSummary:
    """Summarise a worker."""
    trials = tuple(WorkerTrial(number, epoch) for number, epoch in worker.trials.items())
    return WorkerSummary(
        worker.study, worker.host, worker.pid, worker.device, _state(worker), trials, worker.started_at,
        round(worker.silent, 1),
    )  # fmt: skip


def _state(worker: WorkerStatus) -> WorkerState:
    if worker.ended:
        return WorkerState.ENDED
    if worker.trials:
        return WorkerState.TRAINING
    return WorkerState.IDLE if worker.silent < SILENT else WorkerState.LOST
