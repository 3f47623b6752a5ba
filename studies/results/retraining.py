"""Train the winner and the runner-up again with fresh seeds, on this machine, as one program where that is possible.

Their trials stay as they are. What is finished is kept at once; a training that was left begins anew the next time,
with the same seed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch
from sqlalchemy import Engine

from caviar.models.cohort import Cohort
from caviar.models.cohort_kinds import groups, why_alone
from caviar.models.cohort_pace import measure
from caviar.models.data import load
from caviar.models.training import Interrupted, Training
from caviar.storage.outage import Outage
from caviar.storage.records import StudyRecord
from caviar.storage.status import read_trial
from caviar.storage.timing import PATIENCE
from caviar.studies.errors import WorkersFailed
from caviar.studies.lifecycle.manager import definition_of
from caviar.studies.results.confirmation import read_trainings, write_trainings
from caviar.studies.space.base import Value
from caviar.studies.workers.trial.build import THREADS, assemble
from caviar.studies.workers.trial.failures import TrainingRaised, describe, training_code

Planned = tuple[int, int]  # a trial, and which of its fresh trainings


class TrainingAgain:
    """Fresh trainings of some trials of a study.

    Args:
        trials: their numbers.
        count: of trainings of each, those counted that are kept already.
        data_dir: folder of data sets.
        leave: asked between batches whether to stop.

    Attributes:
        missing: trainings that are still to be done.
        device: `cpu` or `cuda`, where they are.
        outage: by which all that is to be written waits for the database.

    Raises:
        DataUnavailable: the data are not here.
    """

    def __init__(
        self,
        engine: Engine,
        record: StudyRecord,
        trials: Sequence[int],
        count: int,
        data_dir: Path,
        leave: Callable[[], bool],
    ) -> None:
        self._engine, self._record, self._study = engine, record, definition_of(record)
        self._leave, self.outage = leave, Outage(PATIENCE, leave)
        known = read_trainings(engine, record.study_id)
        self.missing = [(t, n) for n in range(count) for t in trials if n not in known.get(t, {})]
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self._values: dict[int, Mapping[str, Value]] = {
            t: self._study.values(read_trial(engine, record.study_id, t).parameters) for t in trials
        }
        torch.set_num_threads(THREADS)
        self._data = load(self._study.data, data_dir, torch.device(self.device))
        self._done = 0.0

    def run(self, told: Callable[[float], None]) -> bool:
        """Do all that are missing; return False where that was left.

        Args:
            told: how many of them are done, after each epoch.

        Raises:
            WorkersFailed: the training code raised; what was finished before is kept.
            DatabaseAway: it was away for too long; what was finished before is kept.
        """
        try:
            for together in self._programs():
                self._train(together, told)
        except Interrupted:
            return False
        return True

    def _programs(self) -> list[list[Planned]]:
        """Divide what is missing into what is trained as one program."""
        of_each = [[one for one in self.missing if one[0] == trial] for trial in self._values]
        of_each = [ones for ones in of_each if ones]
        try:
            with training_code():
                firsts = [self._make(ones[0]) for ones in of_each]
                alike = [self.missing] if len(groups(firsts)) == 1 else of_each
                return [part for group in alike for part in self._in_sizes_that_pay(group)]
        except TrainingRaised:  # whatever it is, one by one tells of which
            return [[one] for one in self.missing]

    def _in_sizes_that_pay(self, group: Sequence[Planned]) -> list[list[Planned]]:
        size = 1
        if len(group) > 1 and why_alone(self._make(group[0])) is None:
            size, _ = measure(lambda number: self._make(group[number]), len(group))
        return [list(group[at : at + size]) for at in range(0, len(group), size)]

    def _make(self, planned: Planned) -> Training:
        trial, number = planned
        return assemble(self._study, trial, self._values[trial], self._data, again=number)

    def _train(self, together: Sequence[Planned], told: Callable[[float], None]) -> None:
        """Train some to their ends, and keep what they came to."""
        try:
            with training_code():
                values = self._last_values([self._make(planned) for planned in together], told)
        except TrainingRaised as raised:
            if len(together) == 1:
                raise WorkersFailed(
                    f"trial {together[0][0]} could not be trained again: {describe(raised.error)['error']}"
                ) from raised.error
            torch.cuda.empty_cache()  # of the larger cohort
            for part in (together[: len(together) // 2], together[len(together) // 2 :]):
                self._train(part, told)
            return
        found = dict(zip(together, values, strict=True))
        detail = {"epochs": self._study.epochs, "device": self.device}
        self.outage.insist(lambda: write_trainings(self._engine, self._record.study_id, found, **detail))
        self._done += len(together)

    def _last_values(self, trainings: Sequence[Training], told: Callable[[float], None]) -> list[float]:
        """Return the metric of each training after its last epoch; that of guessing where its loss was not finite."""
        cohort = Cohort(trainings) if len(trainings) > 1 else None
        sound = [True] * len(trainings)
        for epoch in range(1, self._study.epochs + 1):
            results = cohort.epoch(self._leave) if cohort else [next(trainings[0].epochs(epoch, self._leave))]
            for at, result in enumerate(results):
                sound[at] &= math.isfinite(result.training_loss) and math.isfinite(result.validation_loss)
            told(self._done + len(trainings) * epoch / self._study.epochs)
        classes = self._data.classes
        guess = 1 / classes if self._study.maximize else math.log(classes)
        last = [result.value(self._study.metric) for result in results]
        return [value if fine else guess for value, fine in zip(last, sound, strict=True)]
