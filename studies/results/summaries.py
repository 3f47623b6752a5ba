"""Summaries of a study: its state, its progress, its trials and its plan, as frozen records.

The names of their fields are the keys of the `--json` documents. Nothing here reads a database or imports Optuna.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from caviar.storage.family import Parent
from caviar.storage.records import OtherTrials, PhaseCount, RunningTrial, Slot, StudyRecord, TrialRecord
from caviar.storage.states import Control, Phase, TrialState
from caviar.storage.status import Progress, SlotCounts
from caviar.studies.definition import Study
from caviar.studies.lifecycle.provenance import code_line
from caviar.studies.metric import NO_RESULT
from caviar.studies.search.plan import plan
from caviar.studies.space.base import BaseScale, Value

if TYPE_CHECKING:  # which loads numpy
    from caviar.studies.search.prospect import Prospect


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
    """The complete trial with the best value so far; `value` is its last one of the study's metric."""

    value: float | None
    trial: int
    hyperparameters: Mapping[str, Value]


@dataclass(frozen=True)
class TrialValue:
    """A trial, and its last value of the study's metric."""

    trial: int
    value: float | None


@dataclass(frozen=True)
class EpochCount:
    """Epochs that all trials of a study trained so far, and those of the whole budget, were no trial pruned; None where
    an objective does not say how many it reports."""

    trained: int
    planned: int | None


@dataclass(frozen=True)
class StudyStatus(SlotCounts):
    """The progress of a study at one moment: its slots by state, and its trials.

    Attributes:
        diverged: trials whose loss was not finite; each is counted by its end, too.
        tiers: the progress of each phase of each tier, in the order in which they begin.
        workers: how many processes train the trials of `running`.
        code: the user's own code that the trials are trained with, in words: how many files, and at which commit;
            empty if it is Caviar's alone.
        unkept: why the states of its trials are not kept, so that an interrupted one begins again; None where they are.
        violations: the number of trials that violate a constraint, by its name.
        winner: the trial that won; None before the study is done, and measured where it has a test set.
        parent: the study that it was retuned from.
        prospect: what the trials that are left are expected to bring, or 40 more of a study that has ended; None with
            fewer than 20 trials, and in a list of studies.
    """

    name: str
    state: StudyState
    strategy: str
    seed: int
    metric: str
    direction: str
    best: BestTrial | None
    tiers: tuple[PhaseCount, ...]
    epochs: EpochCount
    workers: int
    running: tuple[RunningTrial, ...]
    others: OtherTrials
    code: str
    unkept: str | None
    violations: Mapping[str, int]
    winner: TrialValue | None = None
    parent: Parent | None = None
    prospect: Prospect | None = None

    @property
    def winner_ahead_of_best(self) -> int | None:
        """The trial that won, where another one has a better value; `caviar best` says why."""
        if self.winner is None or self.best is None or self.winner.value == self.best.value:
            return None
        return self.winner.trial

    @property
    def is_panda(self) -> bool:
        """Whether it is no search: one model that is babysat, whose slots are days."""
        return any(phase.phase == Phase.DAY for phase in self.tiers)

    def json_fields(self) -> dict[str, Any]:
        """Return the fields of its JSON document, the study's own before the counts."""
        first = {"name": self.name, "state": self.state, "strategy": self.strategy, "seed": self.seed}
        return {**first, **vars(self)}


@dataclass(frozen=True)
class TrialSummary:
    """A trial of a study, or a slot whose trial has not begun.

    Attributes:
        trial: its number, which is its slot's.
        tier: the newest tier that was searched, from 1.
        state: `open`, `running`, `interrupted` until a worker takes it up again, `complete`, `pruned`, `fail`,
            `abandoned`, or `ended elsewhere`: by another Optuna program, which may have given it a value of its own.
        metric, value: the name of the study's metric, and the trial's last value of it; None before there is one.
        violated: the constraints that it violates: `diverged`, `out_of_memory`, or the names of metrics that are above
            their bounds; else None.
        epochs: how many it trained, in `seconds`.
        attempts: how often a worker took it up.
        worker: the process that began it, as host:pid.
        hyperparameters: empty before it begins.
        optuna_number: its number in Optuna's tools, which count the trials of all programs in the order in which they
            began; None before it begins.
    """

    trial: int
    tier: int
    phase: Phase
    state: TrialState
    metric: str
    value: float | None
    violated: str | None
    epochs: int
    seconds: float
    attempts: int
    worker: str | None
    why_it_stopped: str | None
    hyperparameters: Mapping[str, Value]
    optuna_number: int | None

    @property
    def ending(self) -> str:
        """Its state in words, or the constraint that it violates."""
        if self.violated is None or self.violated in NO_RESULT:
            return str(self.violated or self.state).replace("_", " ")
        return f"above the bound of {self.violated}"


@dataclass(frozen=True)
class SearchedHyperparameter:
    """A hyperparameter that a study searches, the tier that it belongs to, and its scale."""

    name: str
    tier: int
    scale: BaseScale

    def json_fields(self) -> dict[str, Any]:
        """Return the scale in words, and its fields beside them."""
        named = {"name": self.name, "tier": self.tier, "scale": str(self.scale)}
        return named | self.scale.model_dump(mode="json")


@dataclass(frozen=True)
class StudyPlan:
    """A study before anything runs: its definition, its hyperparameters by priority, and its slots by number."""

    name: str
    strategy: str
    subject: str  # what is trained, such as `mlp on digits`
    model: str | None  # None where a loop of its own trains, as is `data`
    data: str | None
    metric: str
    direction: str
    fixed: Mapping[str, Value]
    budget: int
    epochs: int | None  # None where an objective does not say how many it reports
    hyperparameters: tuple[SearchedHyperparameter, ...]  # none where an objective says their ranges
    slots: tuple[Slot, ...]
    by_trials: bool = False  # whether trials name their hyperparameters themselves
    on_interruption: str = ""  # what becomes of a trial that is interrupted

    def json_fields(self) -> dict[str, Any]:
        """Return the fields of its JSON document, in which a slot's number is `slot`."""
        slots = [{"slot": s.number, "tier": s.tier, "phase": s.phase, "free": s.free} for s in self.slots]
        return {**vars(self), "slots": slots}


def state_of(progress: Progress) -> StudyState:
    """Return the state of a study."""
    if progress.open + progress.leased == 0:
        return StudyState.DONE
    if progress.control != Control.RUN:
        return StudyState.PAUSED if progress.control == Control.PAUSE else StudyState.STOPPED
    return StudyState.RUNNING if progress.leased else StudyState.WAITING


def values_of(study: Study, trial: TrialRecord) -> dict[str, Value]:
    """Return the hyperparameters of a trial by name, those that it has."""
    return dict(trial.named) if study.by_trials else study.values(trial.parameters)


def study_status(
    record: StudyRecord,
    study: Study,
    progress: Progress,
    winner: TrialValue | None = None,
    parent: Parent | None = None,
    prospect: Prospect | None = None,
) -> StudyStatus:
    """Summarise the progress of a study."""
    best = progress.best
    return StudyStatus(
        **{count.name: getattr(progress, count.name) for count in fields(SlotCounts)},
        name=record.name, state=state_of(progress), strategy=study.strategy, seed=study.seed,
        metric=study.metric, direction=study.direction,
        best=None if best is None else BestTrial(best.value, best.slot.number, values_of(study, best)),
        tiers=progress.phases, epochs=EpochCount(progress.epochs_trained, study.planned_epochs(progress.budget)),
        workers=progress.workers, running=progress.running, others=progress.others,
        code=code_line(record.provenance), unkept=progress.unkept,
        violations=progress.violations, winner=winner, parent=parent, prospect=prospect,
    )  # fmt: skip


def trial_summaries(study: Study, trials: Sequence[TrialRecord]) -> list[TrialSummary]:
    """Summarise the trial of each slot, in the order given."""
    return [
        TrialSummary(
            t.slot.number, t.slot.tier, t.slot.phase, t.state, study.metric, t.value, t.violated, t.epoch,
            round(t.seconds, 3), t.attempts, t.attributes.get("worker"), t.attributes.get("why it stopped"),
            values_of(study, t), t.optuna_number,
        )
        for t in trials
    ]  # fmt: skip


def study_plan(study: Study) -> StudyPlan:
    """Return what a study would do."""
    return StudyPlan(
        study.name, study.strategy, study.subject, study.model, study.data, study.metric, study.direction,
        dict(study.fixed),
        study.budget, study.epochs, tuple(SearchedHyperparameter(*each) for each in study.hyperparameters()),
        tuple(plan(study)), study.by_trials, study.on_interruption,
    )  # fmt: skip
