"""Train the winner and the runner-up again with fresh seeds, on this machine, as one program where that is possible.

Their trials stay as they are. Each finished training is written to the database at once; an interrupted one begins
anew the next time, with the same seed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from sqlalchemy import Engine

from caviar.models.cohort import Cohort
from caviar.models.cohort_kinds import groups, why_alone
from caviar.models.cohort_pace import measure
from caviar.models.data import load
from caviar.models.training import Interrupted, Training
from caviar.storage.history import is_sound, read_frozen_trials
from caviar.storage.outage import Outage
from caviar.storage.records import StudyRecord
from caviar.storage.status import read_trial
from caviar.storage.trainings import read_trainings, write_trainings
from caviar.studies.errors import NothingToDo, WorkersFailed
from caviar.studies.lifecycle.manager import definition_of
from caviar.studies.metric import worst_of
from caviar.studies.way import Way
from caviar.studies.workers.trial.build import THREADS, Bench, make_training
from caviar.studies.workers.trial.failures import TrainingRaised, describe, training_code
from caviar.studies.workers.trial.training import TrialTraining, ended
from caviar.studies.workers.user.objective import ObjectiveTraining

Planned = tuple[int, int]  # a trial, and the number of its fresh training


class FreshTrainings:
    """Fresh trainings of some trials of a study.

    Args:
        trials: the numbers of the trials.
        count: trainings of each trial, those included that are in the database already.
        leave: called between batches; returns whether to stop.
        outage: the patience with which results are written to the database.

    Attributes:
        missing: the trainings that are still to be done.
        device: `cpu` or `cuda`.

    Raises:
        DataUnavailable: the data are not here.
    """

    def __init__(
        self, engine: Engine, record: StudyRecord, trials: Sequence[int], count: int, data_dir: Path,
        leave: Callable[[], bool], outage: Outage,
    ) -> None:  # fmt: skip
        self._engine, self._record, self._study = engine, record, definition_of(record)
        self._leave, self._outage = leave, outage
        finished = read_trainings(engine, record.study_id)
        self.missing = [(t, n) for n in range(count) for t in trials if n not in finished.get(t, {})]
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self._values = self._values_of(trials)
        torch.set_num_threads(THREADS)
        self._bench = Bench(torch.device(self.device))
        if self._study.way is Way.MODEL:
            self._bench = Bench(self._bench.device, load(self._study.built_in.data, data_dir, self._bench.device))
        self._done = 0.0

    def _values_of(self, trials: Sequence[int]) -> dict[int, Mapping[str, Any]]:
        """Return the hyperparameters of trials, as their training takes them."""
        if self._study.by_trials:
            named = {t.number: t.params for t in read_frozen_trials(self._engine, self._record.optuna_study_id)}
            return {number: named[number] for number in trials}
        records = (read_trial(self._engine, self._record.study_id, number) for number in trials)
        return {trial.slot.number: self._study.values(trial.parameters) for trial in records}

    def run(self, progressed: Callable[[float], None]) -> bool:
        """Do all trainings that are missing; return False if `leave` ended that.

        Args:
            progressed: called after each epoch with the number of trainings done, in fractions.

        Raises:
            WorkersFailed: the training code raised; the trainings finished before are in the database.
            DatabaseAway: it was away for too long; likewise.
        """
        try:
            for cohort in self._cohorts():
                self._train(cohort, progressed)
        except Interrupted:
            return False
        return True

    def _cohorts(self) -> list[list[Planned]]:
        """Divide the missing trainings into cohorts, each trained as one program."""
        if self._study.way is not Way.MODEL:
            return [[one] for one in self.missing]
        by_trial = [[one for one in self.missing if one[0] == trial] for trial in self._values]
        by_trial = [ones for ones in by_trial if ones]
        try:
            with training_code():
                is_one_kind = len(groups(self._built_in(ones[0] for ones in by_trial))) == 1
                alike = [self.missing] if is_one_kind else by_trial
                return [cohort for group in alike for cohort in self._sized(group)]
        except TrainingRaised:  # trained one by one, the error names its trial
            return [[one] for one in self.missing]

    def _sized(self, group: Sequence[Planned]) -> list[list[Planned]]:
        """Divide trainings of one kind into cohorts of the size that trains fastest."""
        size = 1
        if len(group) > 1 and why_alone(self._built_in(group[:1])[0]) is None:
            size, _ = measure(lambda number: self._built_in([group[number]])[0], len(group))
        return [list(group[at : at + size]) for at in range(0, len(group), size)]

    def _make(self, planned: Planned) -> TrialTraining:
        trial, number = planned
        return make_training(self._study, trial, self._values[trial], self._bench, again=number)

    def _built_in(self, planned: Iterable[Planned]) -> list[Training]:
        return [training for one in planned if isinstance(training := self._make(one), Training)]

    def _train(self, cohort: Sequence[Planned], progressed: Callable[[float], None]) -> None:
        """Train a cohort to its end and write its results; if its code raises, train each half of it."""
        try:
            with training_code():
                values = self._last_values([self._make(planned) for planned in cohort], progressed)
        except TrainingRaised as raised:
            if len(cohort) == 1:
                reason = describe(raised.error)["error"]
                raise WorkersFailed(f"trial {cohort[0][0]} could not be trained again: {reason}") from raised.error
            torch.cuda.empty_cache()  # of the larger cohort
            for half in (cohort[: len(cohort) // 2], cohort[len(cohort) // 2 :]):
                self._train(half, progressed)
            return
        results = dict(zip(cohort, values, strict=True))
        detail = {"epochs": self._study.epochs, "device": self.device}
        self._outage.insist(lambda: write_trainings(self._engine, self._record.study_id, results, **detail))
        self._done += len(cohort)

    def _last_values(self, trainings: Sequence[TrialTraining], progressed: Callable[[float], None]) -> list[float]:
        """Return the metric of each training after its last epoch; the worst that is known if it diverged."""
        if len(trainings) == 1:
            return [self._last_value(trainings[0], progressed)]
        cohort = Cohort([training for training in trainings if isinstance(training, Training)])
        metric, finite = self._study.metric, [True] * len(trainings)
        for epoch in range(1, self._study.last_epoch + 1):
            results = cohort.epoch(self._leave)
            finite = [before and result.is_finite(metric) for before, result in zip(finite, results, strict=True)]
            progressed(self._done + len(trainings) * epoch / self._study.last_epoch)
        return [result.metrics[metric] if ok else self._worst for result, ok in zip(results, finite, strict=True)]

    def _last_value(self, training: TrialTraining, progressed: Callable[[float], None]) -> float:
        """Train to the end, wherever that is, and return the last value of the metric."""
        metric, value = self._study.metric, None
        if isinstance(training, ObjectiveTraining):
            returned = training.run(self._leave)
            return returned if returned is not None and math.isfinite(returned) else self._worst
        with ended(training):
            for epoch in training.epochs(self._study.last_epoch, lambda alive=True: self._leave()):  # noqa: ARG005
                if not epoch.is_finite(metric):
                    return self._worst
                value = epoch.value(metric) if metric in epoch.metrics else value
                progressed(self._done + epoch.epoch / self._study.last_epoch)
        if value is None:
            raise NothingToDo(f"it reported no '{metric}'")
        return value

    @cached_property
    def _worst(self) -> float:
        """Return the value of a training that diverged: that of guessing, or else the worst of the study's trials."""
        guess = self._study.guess(self._bench.data.classes) if self._bench.data is not None else None
        if guess is not None:
            return guess
        trials = read_frozen_trials(self._engine, self._record.optuna_study_id)
        sound = [t.value for t in trials if t.value is not None and is_sound(t)]
        return worst_of(sound, maximize=self._study.maximize)
