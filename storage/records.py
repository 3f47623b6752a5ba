"""Frozen records that cross from storage to studies. No row of a database leaves this package."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID


@dataclass(frozen=True)
class StudyRecord:
    """A study as it was registered. `control` is what workers are asked to do: `run` or `pause`."""

    study_id: int
    optuna_study_id: int
    name: str
    control: str
    body: Mapping[str, Any]
    packages: Mapping[str, str]
    created_at: datetime


@dataclass(frozen=True)
class SlotRecord:
    """One unit of budget, as the plan makes it."""

    number: int
    tier: int
    phase: str
    free: tuple[str, ...]


@dataclass(frozen=True)
class WorkerRecord:
    """A process that trains. `machine` names the boot and process namespace in which `pid` means this process."""

    worker_id: UUID
    host: str
    machine: str
    pid: int
    device: str
    packages: Mapping[str, str]


@dataclass(frozen=True)
class Lease:
    """The right to work on one slot until it expires; `token` proves it with every write.

    `trial_id` is Optuna's, and None until the trial's values are chosen. `taken_from` is the worker whose lease
    expired on this slot.
    """

    study_id: int
    slot: SlotRecord
    token: UUID
    attempts: int
    trial_id: int | None
    epoch: int
    taken_from: UUID | None = None


@dataclass(frozen=True)
class Standing:
    """What is left to do in a study, when there was no slot to lease."""

    control: str
    open: int
    leased: int


@dataclass(frozen=True)
class EpochRecord:
    """One epoch of one trial: mean losses per example, accuracy 0 to 1 of the validation set, seconds."""

    epoch: int
    training_loss: float
    validation_loss: float
    accuracy: float
    learning_rate: float
    seconds: float


@dataclass(frozen=True)
class TrialRecord:
    """A slot with its trial in Optuna, whose fields are None or empty until the trial begins.

    `parameters` are as stored in Optuna. `state` is Optuna's, in lower case, or `open`. `violated` is
    the constraint that the trial violates: `diverged`, `out_of_memory`, or None.
    """

    slot: SlotRecord
    state: str
    value: float | None
    parameters: Mapping[str, float]
    epoch: int
    attempts: int
    violated: str | None
    attributes: Mapping[str, Any]
    seconds: float
    host: str | None


@dataclass(frozen=True)
class PhaseCount:
    """How far one phase of one tier is; `best` is the best value of its complete, feasible trials."""

    tier: int
    phase: str
    slots: int
    done: int
    best: float | None


@dataclass(frozen=True)
class RunningTrial:
    """A slot that is leased now: its trial's last epoch and last reported value, and who works on it."""

    number: int
    tier: int
    phase: str
    epoch: int
    value: float | None
    host: str
    pid: int


@dataclass(frozen=True)
class Progress:
    """A study at one moment. Expired leases count as open."""

    control: str
    budget: int
    open: int
    leased: int
    complete: int
    pruned: int
    failed: int
    diverged: int
    epochs_trained: int
    workers: int
    phases: tuple[PhaseCount, ...]
    running: tuple[RunningTrial, ...]
    best: TrialRecord | None

    @property
    def done(self) -> int:
        return self.complete + self.pruned + self.failed


@dataclass(frozen=True)
class EventRecord:
    """Who did what, when and why."""

    at: datetime
    kind: str
    slot: int | None
    detail: Mapping[str, Any] = field(default_factory=dict)
