"""The contents of a report as frozen records: the same for the page, the terminal and `--json`.

The names of their fields are the keys of the JSON document. Times are in seconds since the study's first trial began.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from caviar.epoch import in_order
from caviar.storage.family import Beside, Parent
from caviar.storage.records import DefinitionRecord
from caviar.storage.states import TrialState
from caviar.studies.metric import pair_of_losses
from caviar.studies.results.importance import Importances
from caviar.studies.results.interactions import Interaction
from caviar.studies.results.next_steps import Step
from caviar.studies.results.summaries import SearchedHyperparameter, StudyState, TrialSummary
from caviar.studies.results.winner import Winner
from caviar.studies.search.effects import Effect, Surface
from caviar.studies.space.base import Value
from caviar.studies.way import Way


@dataclass(frozen=True)
class ReportedStudy:
    """A study's definition and state.

    Attributes:
        prior: the number of trials of an earlier study that it learned from.
        fixed: values of hyperparameters that are not searched.
        sizes: examples of the training, validation and test parts by name; empty where they are not known.
    """

    name: str
    subject: str  # what is trained, such as `mlp on digits`
    model: str | None  # None where a loop of its own trains, as is `data`
    data: str | None
    metric: str
    direction: str
    constraints: Mapping[str, float]
    epochs: int | None  # None where an objective does not say how many it reports
    budget: int
    seed: int
    strategy: str
    pruner: str
    state: StudyState
    prior: int
    way: Way = Way.MODEL
    fixed: Mapping[str, Value] = field(default_factory=dict)
    sizes: Mapping[str, int] = field(default_factory=dict)

    @property
    def maximize(self) -> bool:
        """Whether a higher value is better."""
        return self.direction == "maximize"


@dataclass(frozen=True)
class ReportedHyperparameter(SearchedHyperparameter):
    """A hyperparameter that was searched."""

    @property
    def room(self) -> tuple[bool, bool]:
        """Whether there are values below and above its range, to be tried with `caviar retune --widen`."""
        wider = self.scale.widened()
        if wider is None:
            return False, False
        return wider.value(0.0) != self.scale.value(0.0), wider.value(1.0) != self.scale.value(1.0)

    def json_fields(self) -> dict[str, Any]:
        """Return the scale in words, its ends, and its fields beside them."""
        ends = {"first": self.scale.value(0.0), "last": self.scale.value(1.0), "discrete": self.scale.bins > 0}
        return {**ends, "room": self.room, **super().json_fields()}


@dataclass(frozen=True)
class ReportedTrial(TrialSummary):
    """A trial with its curves.

    Attributes:
        curve: number and value of each epoch; None where it has none that is a finite number.
        metrics: everything that was measured, by name, for the epochs of `curve` likewise.
        zoom: the lowest and highest value of each hyperparameter that the search was zoomed into; None without a zoom.
        units: the place of each of its hyperparameters on the hyperparameter's scale, 0 to 1.
    """

    began: float | None
    ended: float | None
    curve: tuple[tuple[int, float | None], ...]
    metrics: Mapping[str, tuple[float | None, ...]]
    zoom: Mapping[str, tuple[Value, Value]] | None
    units: Mapping[str, float]

    def last(self, metric: str) -> float | None:
        """Return its last value of a metric; None if it has none that is a finite number."""
        return next((value for value in reversed(self.metrics.get(metric, ())) if value is not None), None)

    @property
    def is_sound(self) -> bool:
        """Whether it came to a value, and violated no constraint on the way."""
        return self.value is not None and not self.violated


@dataclass(frozen=True)
class DeviceTime:
    """The seconds for which all devices of a kind were busy, together; `kind` is `cpu` or `cuda`."""

    kind: str
    seconds: float

    @property
    def name(self) -> str:
        """What one device of the kind is called."""
        return {"cpu": "CPU core", "cuda": "GPU"}.get(self.kind, self.kind)


@dataclass(frozen=True)
class Cost:
    """The cost of a study so far: trials, epochs, and seconds of training and of waiting.

    Attributes:
        done: trials that have ended; the next six are some of them.
        ended_elsewhere: of these, by another Optuna program.
        others: trials that other Optuna programs made in the study, not counted in its budget.
        training_seconds: of all epochs.
        wall_seconds: from the begin of the first trial to the end of the last one.
        devices: for how long each kind of device was busy with trials, every attempt counted.
        began, ended: when the first trial began, and when the last one has ended; None before that.
    """

    done: int
    complete: int
    pruned: int
    failed: int
    diverged: int
    abandoned: int
    ended_elsewhere: int
    others: int
    epochs: int
    epochs_planned: int | None
    training_seconds: float
    wall_seconds: float
    workers: int
    hosts: int
    devices: tuple[DeviceTime, ...] = ()
    began: datetime | None = None
    ended: datetime | None = None


@dataclass(frozen=True)
class ReportedEvent:
    """An event of a study: when, what, of which trial, and the worker that did it or lost its lease."""

    at: float
    kind: str
    trial: int | None
    worker: str | None
    detail: Mapping[str, Any]


@dataclass(frozen=True)
class Answer:
    """An answer to a question that every report answers, and the command that follows from it, if one does.

    Attributes:
        why: the reason for the command in a few words, where it is a step of its own in what to do next.
    """

    question: str
    answer: str
    command: str | None = None
    why: str = ""


@dataclass(frozen=True)
class ReportedPair(Interaction):
    """Two hyperparameters whose effects depend on each other by more than noise, and what is expected over both."""

    surface: Surface


@dataclass(frozen=True)
class Report:
    """All that a report says of a study.

    Attributes:
        runner_up: the number of the best trial of another configuration; None where there is none.
        trials: one for each slot, by number.
        provenance: the versions of the definition, the oldest first.
        machines: the hosts of its workers, with the devices that they trained on.
        devices: the device of each worker, by its `host:pid`.
        began: when the first trial began, as ISO 8601.
        now: when the report was made, in seconds since then.
        parent: the study that it was retuned from.
        beside: the studies whose names begin with its own and a dash, and how each stands.
        has_weights: whether the winner's weights are kept, which `best --save` writes.
        steps: what to do next, the most useful step first.
        effects: what is expected along each hyperparameter around the winner, by name; empty with few trials.
        pairs: the hyperparameters whose effects depend on each other by more than noise, at most two pairs.
    """

    study: ReportedStudy
    hyperparameters: tuple[ReportedHyperparameter, ...]
    winner: Winner | None
    runner_up: int | None
    cost: Cost
    trials: tuple[ReportedTrial, ...]
    importance: Importances | None
    events: tuple[ReportedEvent, ...]
    provenance: tuple[DefinitionRecord, ...]
    machines: tuple[str, ...]
    began: str
    now: float
    devices: Mapping[str, str] = field(default_factory=dict)
    parent: Parent | None = None
    beside: Mapping[str, Beside] = field(default_factory=dict)
    has_weights: bool = False
    answers: tuple[Answer, ...] = ()
    steps: tuple[Step, ...] = ()
    effects: Mapping[str, Effect] = field(default_factory=dict)
    pairs: tuple[ReportedPair, ...] = ()

    def json_fields(self) -> dict[str, Any]:
        """Return the fields of its JSON document, with what the trials of each version were computed with."""
        versions = [
            {"version": v.version, "since": v.since, "changes": v.changes, **vars(v.provenance)}
            for v in self.provenance
        ]
        return {**vars(self), "provenance": versions}

    @property
    def title(self) -> str:
        """What the first trial is called: others may still pass it before the study is done."""
        return "winner" if self.study.state == StudyState.DONE else "best so far"

    @property
    def losses(self) -> tuple[str, str] | None:
        """The names of the training loss and of the validation loss; None where not both are measured."""
        return pair_of_losses(self.metrics)

    @property
    def metrics(self) -> list[str]:
        """The names of all metrics that any trial measured."""
        return in_order(name for t in self.trials for name in t.metrics)

    def best_first(self) -> list[ReportedTrial]:
        """Return the complete, sound trials, the best one first; of equal values the first trial."""
        sign = -1 if self.study.maximize else 1
        complete = [t for t in self.trials if t.state == TrialState.COMPLETE and t.is_sound]
        return sorted(complete, key=lambda t: (sign * (t.value or 0.0), t.trial))
