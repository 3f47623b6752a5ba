"""Frozen records that cross from storage to studies. No database row leaves this package."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from caviar.epoch import Epoch
from caviar.storage.states import Control, Phase, TrialState, WorkerState


@dataclass(frozen=True)
class Provenance:
    """What the values of trials depend on besides their hyperparameters.

    Attributes:
        packages: versions by name.
        code: the digest of Caviar's own training code; where `files` is None, of an older Caviar, of the model's too.
        data: the digest of the data set's files.
        files: a digest of each file of the user's project that the training is made of, by its path there.
        commit: of the repository that these files are in; it ends in `-dirty` if one of them is not committed.
        remote: the address of that repository, without credentials.
    """

    packages: Mapping[str, str] = field(default_factory=dict)
    code: str | None = None
    data: str | None = None
    files: Mapping[str, str] | None = None
    commit: str | None = None
    remote: str | None = None


def provenance_of_row(row: Any) -> Provenance:
    """Return the provenance of a row of the table `definition`."""
    files = None if row.files is None else {str(path): str(digest) for path, digest in dict(row.files).items()}
    return Provenance(row.packages, row.code, row.data, files, row.commit, row.remote)


@dataclass(frozen=True)
class StudyRecord:
    """A study with its current definition; `control` is what its workers shall do."""

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
        """Return a name for the study's files; its time of creation tells it from other studies of that name."""
        return label_of(self.name, self.created_at)


def label_of(name: str, created_at: datetime) -> str:
    """Return the name for the files of a study."""
    return f"{name}-{created_at.astimezone(UTC):%Y%m%d%H%M%S%f}"


@dataclass(frozen=True)
class Slot:
    """One unit of a study's budget, as planned."""

    number: int  # from 0
    tier: int  # the highest that is searched; 1 is the first
    phase: Phase
    free: tuple[str, ...]  # the hyperparameters that may differ from the best configuration so far


def slot_of(row: Any) -> Slot:
    """Return the slot of a row with the columns `number`, `tier`, `phase` and `free`."""
    return Slot(row.number, row.tier, Phase(row.phase), tuple(row.free))


@dataclass(frozen=True)
class WorkerRecord:
    """A process that trains. `machine` names the boot and process namespace in which `pid` is valid."""

    worker_id: UUID
    host: str
    machine: str
    pid: int
    device: str
    packages: Mapping[str, str]
    job: str | None = None  # of a scheduler that it belongs to


@dataclass(frozen=True)
class WorkerDeath:
    """The end of a worker process that gave nothing back."""

    why: str = ""  # in one line
    traceback: str = ""  # of all its threads, if it hung or crashed
    output: str = ""  # the last lines that its training printed
    is_loss: bool = True  # whether its trials may be to blame: not if it was ended because somebody asked for that
    is_own: bool = False  # whether its training did it: it hung, crashed or left the process; else nobody knows
    overdue: int | None = None  # the slot whose trial took too long, for which the process was ended; it is over


@dataclass(frozen=True)
class DefinitionRecord:
    """One version of a study's definition, and how it differs from the previous one, a sentence each."""

    version: int
    body: Mapping[str, Any]
    provenance: Provenance
    changes: tuple[str, ...]
    created_at: datetime

    @property
    def since(self) -> str:
        """The time from which it holds, as ISO 8601."""
        return self.created_at.isoformat(timespec="seconds")


LeaseKey = tuple[int, UUID]
"""What tells a lease from all others of its study: the number of its slot and its token, which slots that were leased
together share."""


@dataclass(frozen=True)
class Lease:
    """The right to train one slot until it expires. Every write checks `token`."""

    study_id: int
    slot: Slot
    token: UUID
    attempts: int  # leases of the slot, this one included
    trial_id: int | None  # Optuna's; None until the trial's values are chosen
    epoch: int  # the last that was written

    @property
    def key(self) -> LeaseKey:
        return self.slot.number, self.token


@dataclass(frozen=True)
class Asked:
    """What is asked of a lease's worker: the study's control, whether at once, whether to end the trial, and whether to
    leave after the epoch, since somebody frees its machine."""

    control: Control = Control.RUN
    at_once: bool = False
    kill: bool = False
    leave: bool = False


@dataclass(frozen=True)
class Standing:
    """What is left to do in a study, for a worker that found no slot to lease; `version` is the definition's, and
    `leave` says whether the worker is to leave."""

    control: Control
    version: int
    open: int
    leased: int
    leave: bool = False


@dataclass(frozen=True)
class Report:
    """An epoch of a leased slot's trial, and the objective's value after it, for Optuna; None if it has none."""

    lease: Lease
    epoch: Epoch
    value: float | None


@dataclass(frozen=True)
class TrialRecord:
    """A slot with its trial; the trial's fields are None or empty until it begins."""

    slot: Slot
    state: TrialState
    value: float | None
    parameters: Mapping[str, float]  # as Optuna stores them, by stored name
    epoch: int  # the last that was written
    attempts: int  # leases of the slot
    violated: str | None  # the constraints that it violates: `diverged`, `out_of_memory`, or metrics above their bounds
    attributes: Mapping[str, Any]  # Optuna's user attributes
    seconds: float  # of all its epochs
    host: str | None  # of its last worker
    named: Mapping[str, int | float | str] = field(default_factory=dict)  # the values that an objective was suggested
    optuna_number: int | None = None  # Optuna counts the trials of all programs, in the order in which they began


@dataclass(frozen=True)
class OtherTrials:
    """The number of trials without a slot, which other Optuna programs made or somebody enqueued, and how many of them
    wait for a slot, since they were enqueued."""

    made: int = 0
    waiting: int = 0


@dataclass(frozen=True)
class PhaseCount:
    """The slots of one phase of one tier, how many are spent, and the best value of a complete, feasible trial."""

    tier: int
    phase: Phase
    slots: int
    done: int
    best: float | None


@dataclass(frozen=True)
class RunningTrial:
    """A trial that a worker trains now: its last epoch, the value after that, and the worker as host:pid.

    `is_killed` says whether somebody asked to end it; `machine` names the boot and process namespace in which the pid
    is valid: containers may share the name of a host.
    """

    trial: int
    tier: int
    phase: Phase
    epoch: int
    value: float | None
    worker: str
    is_killed: bool = False
    machine: str = ""


@dataclass(frozen=True)
class WorkerTrial:
    """A trial that a worker trains, and its last finished epoch."""

    trial: int
    epoch: int


@dataclass(frozen=True)
class WorkerSummary:
    """A worker process on any machine.

    Attributes:
        device: `cpu`, or such as `cuda:0`.
        silent_seconds: seconds since its last sign of life, on the database's clock.
        job: the job of a scheduler that it belongs to, with `_` and the number of its task; None without one.
        is_leaving: whether somebody has asked it to leave after its epoch.
    """

    study: str
    host: str
    pid: int
    device: str
    state: WorkerState
    trials: tuple[WorkerTrial, ...]
    started: datetime
    silent_seconds: float
    job: str | None = None
    is_leaving: bool = False

    @property
    def is_present(self) -> bool:
        """Whether it is there to train: neither ended nor lost."""
        return self.state in (WorkerState.IDLE, WorkerState.TRAINING)


@dataclass(frozen=True)
class FreedMachine:
    """The workers of a host, or of a scheduler's job, that leave after their epoch.

    Attributes:
        workers: how many they are.
        knew: how many of them had been asked before.
        hosts: where they are.
        studies: on which they work.
    """

    workers: int
    knew: int
    hosts: tuple[str, ...]
    studies: tuple[str, ...]


@dataclass(frozen=True)
class EventRecord:
    """Something that happened in a study."""

    at: datetime
    kind: str  # an `EventKind`, or a kind that an older Caviar recorded
    slot: int | None
    detail: Mapping[str, Any] = field(default_factory=dict)
    worker: str | None = None  # the process that did it, or that lost its lease, as host:pid
