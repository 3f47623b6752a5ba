"""Find the winner of a study. `conclusion` measures its model on the test set.

Only trials of the study's own slots can win: others that Optuna's clients added have no curve, checkpoint or test.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from optuna.trial import FrozenTrial
from sqlalchemy import Engine

from caviar.epoch import Epoch, last_values
from caviar.storage.curves import read_curve
from caviar.storage.history import is_sound, read_frozen_trials
from caviar.storage.records import StudyRecord
from caviar.storage.states import Phase
from caviar.storage.status import read_trial, slots_left
from caviar.storage.test_results import read_test, tested_slot
from caviar.studies.definition import Study
from caviar.studies.errors import NothingToDo
from caviar.studies.lifecycle.evidence import read_evidence
from caviar.studies.lifecycle.manager import definition_of
from caviar.studies.results.confirmation import Confirmation, read_confirmation, runner_up
from caviar.studies.results.formatting import told_apart
from caviar.studies.results.gain import Gain, gain_of
from caviar.studies.results.summaries import values_of
from caviar.studies.search.expectation import Expected, WinnerModel, winner_of
from caviar.studies.search.noise import Evidence, Noise, noise_of
from caviar.studies.search.prospect import MORE, Prospect, prospect_of
from caviar.studies.space.base import Value

_OF_A_PANDA = (Phase.DAY, Phase.LOOK)  # whose first day is no default


@dataclass(frozen=True)
class Interval:
    """An expected value, and the ends of its 90 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Ahead:
    """The trial with the best value, where another one won, and why that is so."""

    trial: int
    value: float
    why: str


@dataclass(frozen=True)
class Winner:
    """The trial that won a study so far.

    Attributes:
        metric, value: the name of the study's metric, and the trial's last value of it.
        metrics: the last value of everything that the training measured, by name.
        expected: the metric that other trainings of its configuration would have on average; None with few trials.
        hyperparameters: all that it was trained with, the fixed ones too.
        test: what was measured on the test set, by name; None before that.
        has_test: whether its study measures its winner on a test set, when it is done.
        confirmation: the comparison with the runner-up; None before both were trained again.
        optuna_number: its number in Optuna's tools.
        never_suggested: names in the tiers of its study that the objective suggested in no trial.
        ahead: the trial with the best value; None where that is the winner's.
        is_final: whether all trials of the study have ended, so that no other can win before its budget is raised.
        gain: by how much it is better than the default configuration; None where no complete trial had that.
        prospect: what the trials that are left are expected to bring, or 40 more of a study that has ended; None with
            fewer than 20 trials.
        noise: how much one training differs from another, by which all that is said of the study is judged; None where
            nothing shows it.
    """

    study: str
    trial: int
    tier: int
    phase: str
    metric: str
    value: float | None
    expected: Interval | None
    hyperparameters: Mapping[str, Value]
    metrics: Mapping[str, float]
    test: Mapping[str, float] | None
    has_test: bool
    confirmation: Confirmation | None
    epochs: int
    curve: tuple[Epoch, ...]
    optuna_number: int | None = None
    never_suggested: tuple[str, ...] = ()
    ahead: Ahead | None = None
    is_final: bool = True
    gain: Gain | None = None
    prospect: Prospect | None = None
    noise: Noise | None = None

    @property
    def is_settled(self) -> bool:
        """Whether no other trial of the study as it is can win: all have ended, and it was measured where it can be."""
        return self.is_final and (self.test is not None or not self.has_test)

    @property
    def why_not_best(self) -> str | None:
        """Why the trial with the best value did not win, as a sentence without a full stop; None where it won."""
        if self.ahead is None:
            return None
        return (
            f"trial {self.ahead.trial} came to {told_apart(self.ahead.value, self.value or 0.0)[0]}: {self.ahead.why}"
        )


@dataclass(frozen=True)
class Standings:
    """The trials of a study's own slots, by number, and the winner so far; None before one is complete and sound.

    Attributes:
        tested: the number of the trial that was measured on the test set; None before one was.
        evidence: what shows the noise of a training beside the trials.
    """

    study: Study
    trials: Sequence[FrozenTrial]
    tested: int | None = None
    evidence: Evidence = field(default_factory=Evidence)

    @cached_property
    def model(self) -> WinnerModel:
        """What the trials say of the winner, fitted once for all that is asked."""
        return WinnerModel(self.study, self.trials)

    @cached_property
    def winner(self) -> Expected | None:
        """The winner so far; None before a trial is complete and sound."""
        return winner_of(self.study, self.trials, self.tested, self.model)

    @property
    def runner_up(self) -> int | None:
        """The number of the best trial of another configuration; None where there is none."""
        return None if self.winner is None else runner_up(self.study, self.trials, self.winner.trial)

    @property
    def ahead(self) -> Ahead | None:
        """The trial with the best value, where another one won."""
        values = {t.number: t.value for t in self.trials if is_sound(t) and t.value is not None}
        if self.winner is None:
            return None
        best = (max if self.study.maximize else min)(values, key=lambda number: values[number])
        if values[best] == values[self.winner.trial]:
            return None
        of_all = winner_of(self.study, self.trials, known=self.model) if self.tested is not None else None
        if of_all is not None and of_all.trial != self.tested:
            return Ahead(best, values[best], "the winner was measured on the test set before, which is used once")
        return Ahead(best, values[best], "if both were trained again, the model expects the winner to be better")

    @cached_property
    def noise(self) -> Noise | None:
        """How much one training differs from another; None where nothing shows it."""
        if self.winner is None:
            return None
        return noise_of(self.study, self.trials, self.winner.trial, self.model, self.evidence)

    def prospect(self, left: int) -> Prospect | None:
        """Return what the trials that are left are expected to bring, or 40 more where none is."""
        return prospect_of(self.study, self.trials, left or MORE, self.tested, self.model, self.evidence)

    @property
    def never_suggested(self) -> tuple[str, ...]:
        """The names in the study's tiers that an objective suggested in no trial."""
        if not self.study.by_trials:
            return ()
        suggested = {name for trial in self.trials for name in trial.params}
        return tuple(name for tier in self.study.tiers for name in tier if name not in suggested)


def standings(engine: Engine, record: StudyRecord) -> Standings:
    """Read the trials of a study's own slots, and find the winner so far.

    The trial that was measured on the test set when the study was done stays its winner: the test set is used once.
    """
    study = definition_of(record)
    trials = read_frozen_trials(engine, record.optuna_study_id)
    tested = tested_slot(engine, record.study_id)
    return Standings(study, trials, tested, read_evidence(engine, record.study_id, study))


def read_winner(engine: Engine, record: StudyRecord, known: Standings | None = None) -> Winner | None:
    """Return the winner with its curve and tests; None before a trial is complete and sound.

    Args:
        known: the study's standings, where they have been read already.
    """
    known = known or standings(engine, record)
    if known.winner is None:
        return None
    study, number, expected = known.study, known.winner.trial, known.winner
    trial, curve = read_trial(engine, record.study_id, number), read_curve(engine, record.study_id, number)
    value, low, high = expected.value, expected.low, expected.high
    left = slots_left(engine, record.study_id)
    return Winner(
        study.name, number, trial.slot.tier, trial.slot.phase, study.metric, trial.value,
        expected=None if value is None or low is None or high is None else Interval(value, low, high),
        hyperparameters={**study.fixed, **values_of(study, trial)},
        metrics=last_values(curve), test=read_test(engine, record.study_id, number),
        has_test=study.has_test,
        confirmation=read_confirmation(engine, record.study_id, study, number, known.runner_up),
        epochs=trial.epoch, curve=tuple(curve), optuna_number=trial.optuna_number,
        never_suggested=known.never_suggested, ahead=known.ahead, is_final=left == 0,
        gain=None if trial.slot.phase in _OF_A_PANDA else gain_of(
            study, known.trials, number, known.evidence.trainings, known.model
        ),
        prospect=None if trial.slot.phase in _OF_A_PANDA else known.prospect(left), noise=known.noise,
    )  # fmt: skip


def finalists(engine: Engine, record: StudyRecord) -> tuple[int, int]:
    """Return the numbers of the winner and of the runner-up, the best trial of another configuration.

    Raises:
        NothingToDo: the study has no two such trials.
    """
    current = standings(engine, record)
    winner, other = current.winner, current.runner_up
    if winner is None or other is None:
        raise NothingToDo(
            f"'{record.name}' has no two complete trials of different values to compare; see: caviar trials "
            f"{record.name}; go on with: caviar join {record.name}"
        )
    return winner.trial, other
