"""Summaries of a study: its state, its progress, its trials and its plan, as frozen records.

The names of their fields are the keys of the `--json` documents. Nothing here reads a database or imports Optuna.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from caviar.storage.records import PhaseCount, StudyRecord, TrialRecord
from caviar.storage.status import Progress
from caviar.studies.definition import Study
from caviar.studies.search.plan import plan
from caviar.studies.space.base import BaseScale, Value


class StudyState(StrEnum):
    """The state of a study, as its slots and its control make it.

    waiting ⇄ running ──► done ──(a larger budget)──► waiting
       │         │
       └── paused, stopped ──(caviar resume)──► waiting
    """

    WAITING = "waiting"  # slots are open, and no worker holds one
    RUNNING = "running"  # at least one worker trains
    PAUSED = "paused"  # its workers wait
    STOPPED = "stopped"  # its workers have left
    DONE = "done"  # every slot is spent


@dataclass(frozen=True)
class BestTrial:
    """The complete trial with the best value so far; `value` is the study's metric after its last epoch."""

    value: float | None
    trial: int
    hyperparameters: Mapping[str, Value]


@dataclass(frozen=True)
class EpochCount:
    """Epochs that all trials of a study trained so far, and those of the whole budget, were no trial pruned."""

    trained: int
    planned: int


@dataclass(frozen=True)
class RunningTrial:
    """A trial that a worker trains now: its last epoch, the value after that, and the worker as host:pid."""

    trial: int
    tier: int
    phase: str
    epoch: int
    value: float | None
    worker: str


@dataclass(frozen=True)
class StudyStatus:
    """The progress of a study at one moment.

    Attributes:
        name: the study's name.
        state: what it is at; see `StudyState`.
        strategy: the search strategy.
        seed: the seed of the search and of every training.
        budget: the number of its slots, each for one trial.
        open: slots that wait for a worker; those whose lease expired too.
        leased: slots that a worker holds.
        complete, pruned, failed, abandoned: slots that are spent, by how they ended.
        diverged: trials of them whose loss was not finite.
        best: the best complete trial; None before there is one.
        tiers: the progress of each phase of each tier, in the order in which they begin.
        epochs: how many were trained, of how many.
        workers: processes that hold a slot.
        running: the trials that they train, by number.
    """

    name: str
    state: StudyState
    strategy: str
    seed: int
    budget: int
    open: int
    leased: int
    complete: int
    pruned: int
    failed: int
    abandoned: int
    diverged: int
    best: BestTrial | None
    tiers: tuple[PhaseCount, ...]
    epochs: EpochCount
    workers: int
    running: tuple[RunningTrial, ...]

    @property
    def done(self) -> int:
        """The number of slots that are spent."""
        return self.complete + self.pruned + self.failed + self.abandoned


@dataclass(frozen=True)
class TrialSummary:
    """A trial of a study, or a slot whose trial has not begun.

    Attributes:
        trial: its number, which is its slot's.
        tier: the newest tier that was searched, from 1.
        phase: the phase of the plan that it belongs to.
        state: `open`, `running`, `complete`, `pruned`, `fail` or `abandoned`.
        value: the study's metric after the last epoch; None before there is one.
        violated: the constraint that it violates, `diverged` or `out_of_memory`; else None.
        epochs: how many it trained.
        seconds: the time that they took.
        attempts: how often a worker took it up.
        worker: the process that began it, as host:pid.
        why_it_stopped: the reason in words, once it has ended.
        hyperparameters: what it was trained with; empty before it begins.
    """

    trial: int
    tier: int
    phase: str
    state: str
    value: float | None
    violated: str | None
    epochs: int
    seconds: float
    attempts: int
    worker: str | None
    why_it_stopped: str | None
    hyperparameters: Mapping[str, Value]


@dataclass(frozen=True)
class PlannedHyperparameter:
    """A hyperparameter that a study searches, the tier that it belongs to, and its scale."""

    name: str
    tier: int
    scale: BaseScale

    def json_fields(self) -> dict[str, Any]:
        """Return the scale in words, and its fields beside them."""
        named = {"name": self.name, "tier": self.tier, "scale": str(self.scale)}
        return named | self.scale.model_dump(mode="json")


@dataclass(frozen=True)
class PlannedSlot:
    """A slot of a study's budget: its number, tier and phase, and the hyperparameters that are searched in it."""

    slot: int
    tier: int
    phase: str
    free: tuple[str, ...]


@dataclass(frozen=True)
class StudyPlan:
    """A study before anything runs: its definition, and its table of slots.

    Attributes:
        hyperparameters: by priority, those of the first tier first.
        slots: by number.
    """

    name: str
    strategy: str
    model: str
    data: str
    metric: str
    direction: str
    fixed: Mapping[str, Value]
    budget: int
    epochs: int
    hyperparameters: tuple[PlannedHyperparameter, ...]
    slots: tuple[PlannedSlot, ...]


def state_of(progress: Progress) -> StudyState:
    """Return the state of a study."""
    if progress.open + progress.leased == 0:
        return StudyState.DONE
    if progress.control != "run":
        return StudyState.PAUSED if progress.control == "pause" else StudyState.STOPPED
    return StudyState.RUNNING if progress.leased else StudyState.WAITING


def study_status(record: StudyRecord, study: Study, progress: Progress) -> StudyStatus:
    """Summarise the progress of a study."""
    best = progress.best
    return StudyStatus(
        name=record.name,
        state=state_of(progress),
        strategy=study.strategy,
        seed=study.seed,
        budget=progress.budget,
        open=progress.open,
        leased=progress.leased,
        complete=progress.complete,
        pruned=progress.pruned,
        failed=progress.failed,
        abandoned=progress.abandoned,
        diverged=progress.diverged,
        best=None if best is None else BestTrial(best.value, best.slot.number, study.values(best.parameters)),
        tiers=progress.phases,
        epochs=EpochCount(progress.epochs_trained, progress.budget * study.epochs),
        workers=progress.workers,
        running=tuple(
            RunningTrial(r.number, r.tier, r.phase, r.epoch, r.value, f"{r.host}:{r.pid}") for r in progress.running
        ),
    )


def trial_summaries(study: Study, trials: Sequence[TrialRecord]) -> list[TrialSummary]:
    """Summarise the trial of each slot, in the order given."""
    return [
        TrialSummary(
            trial=t.slot.number,
            tier=t.slot.tier,
            phase=t.slot.phase,
            state=t.state,
            value=t.value,
            violated=t.violated,
            epochs=t.epoch,
            seconds=round(t.seconds, 3),
            attempts=t.attempts,
            worker=t.attributes.get("worker"),
            why_it_stopped=t.attributes.get("why it stopped"),
            hyperparameters=study.values(t.parameters),
        )
        for t in trials
    ]


def study_plan(study: Study) -> StudyPlan:
    """Return what a study would do."""
    return StudyPlan(
        name=study.name,
        strategy=study.strategy,
        model=study.model,
        data=study.data,
        metric=study.metric,
        direction=study.direction,
        fixed=dict(study.fixed),
        budget=study.budget,
        epochs=study.epochs,
        hyperparameters=tuple(PlannedHyperparameter(*of_one) for of_one in study.hyperparameters()),
        slots=tuple(PlannedSlot(s.number, s.tier, s.phase, s.free) for s in plan(study)),
    )
