"""Frozen records that cross from storage to studies. No row of a database leaves this package."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from caviar.epoch import Epoch
from caviar.storage.states import Control, Phase, TrialState


@dataclass(frozen=True)
class Provenance:
    """What the values of trials depend on besides their definition: versions by package, digests of code and data."""

    packages: Mapping[str, str] = field(default_factory=dict)
    code: str | None = None
    data: str | None = None


@dataclass(frozen=True)
class StudyRecord:
    """A study with its current definition. `control` is what workers are asked to do: `run`, `pause` or `stop`."""

    study_id: int
    optuna_study_id: int
    name: str
    control: Control
    version: int
    body: Mapping[str, Any]
    provenance: Provenance
    created_at: datetime

    @property
    def label(self) -> str:
        """A name for its files: when it was made tells it from one of the same name that was deleted, or is in another
        database."""
        return f"{self.name}-{self.created_at.astimezone(UTC):%Y%m%d%H%M%S%f}"


@dataclass(frozen=True)
class Slot:
    """One unit of a study's budget, as the plan makes it.

    Attributes:
        number: from 0.
        tier: the highest tier that is open; 1 is the first.
        phase: `default`, `prior` (the winner of an earlier study), `coarse`, `fine`, `all` (every hyperparameter, by a
            model), or the name of another strategy.
        free: the hyperparameters that may leave the best configuration so far.
    """

    number: int
    tier: int
    phase: Phase
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
class DefinitionRecord:
    """One version of a study's definition, and what changed against the version before."""

    version: int
    body: Mapping[str, Any]
    provenance: Provenance
    changes: tuple[str, ...]
    created_at: datetime


@dataclass(frozen=True)
class Lease:
    """The right to work on one slot until it expires; `token` proves it with every write.

    `trial_id` is Optuna's, and None until the trial's values are chosen; `epoch` is the last that was written.
    """

    study_id: int
    slot: Slot
    token: UUID
    attempts: int
    trial_id: int | None
    epoch: int


@dataclass(frozen=True)
class Asked:
    """What somebody asks of the worker that holds a lease: the study's `control`, in the middle of an epoch or not;
    and to end the trial."""

    control: Control = Control.RUN
    at_once: bool = False
    kill: bool = False


@dataclass(frozen=True)
class Standing:
    """What is left to do in a study, when there was no slot to lease; `version` is its definition's."""

    control: Control
    version: int
    open: int
    leased: int


@dataclass(frozen=True)
class Report:
    """An epoch of the trial of a lease, and the value that Optuna is to see of it."""

    lease: Lease
    epoch: Epoch
    value: float


@dataclass(frozen=True)
class TrialRecord:
    """A slot with its trial in Optuna, whose fields are None or empty until the trial begins.

    `parameters` are as stored in Optuna. `state` is Optuna's, in lower case, `open` or `abandoned`. `violated` is
    the constraint that the trial violates: `diverged`, `out_of_memory`, or None.
    """

    slot: Slot
    state: TrialState
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
    phase: Phase
    slots: int
    done: int
    best: float | None


@dataclass(frozen=True)
class RunningTrial:
    """A slot that is leased now: its trial's last epoch and last reported value, and who works on it."""

    number: int
    tier: int
    phase: Phase
    epoch: int
    value: float | None
    host: str
    pid: int


@dataclass(frozen=True)
class Progress:
    """A study at one moment. Expired leases count as open; `version` is its definition's."""

    control: Control
    version: int
    budget: int
    open: int
    leased: int
    complete: int
    pruned: int
    failed: int
    abandoned: int
    diverged: int
    epochs_trained: int
    workers: int
    phases: tuple[PhaseCount, ...]
    running: tuple[RunningTrial, ...]
    best: TrialRecord | None

    @property
    def done(self) -> int:
        """Slots that are spent; one that was abandoned is, too."""
        return self.complete + self.pruned + self.failed + self.abandoned


@dataclass(frozen=True)
class WorkerStatus:
    """A process that trains or trained, and what it does: the last epoch of each trial that it is at.

    `silent` is the number of seconds since it was last heard of, on the database's clock.
    """

    study: str
    host: str
    machine: str
    pid: int
    device: str
    started_at: datetime
    silent: float
    ended: bool
    trials: Mapping[int, int]


@dataclass(frozen=True)
class EventRecord:
    """Who did what, when and why.

    Attributes:
        worker: the process that did it, or that lost its lease, as host:pid.
    """

    at: datetime
    kind: str
    slot: int | None
    detail: Mapping[str, Any] = field(default_factory=dict)
    worker: str | None = None
