"""Find the winner of a study, and measure its model on the test set, once.

Only trials of the study's own slots can win: others that Optuna's clients added have no curve, checkpoint or test.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from optuna.trial import FrozenTrial
from sqlalchemy import Engine, text

from caviar.epoch import ACCURACY, VALIDATION_LOSS, Epoch
from caviar.storage.checkpoints import CheckpointStore
from caviar.storage.curves import read_curve
from caviar.storage.definitions import load_study
from caviar.storage.events import record_event
from caviar.storage.history import read_frozen_trials
from caviar.storage.records import StudyRecord
from caviar.storage.states import EventKind
from caviar.storage.status import read_trial
from caviar.storage.test_results import read_test, tested_slot, write_test
from caviar.storage.waiting import patiently
from caviar.studies.definition import Study, Way
from caviar.studies.errors import NothingToDo, WorkersFailed
from caviar.studies.lifecycle.manager import definition_of
from caviar.studies.results.confirmation import Confirmation, read_confirmation, runner_up
from caviar.studies.search.expectation import Expected, winner_of
from caviar.studies.space.base import Value


@dataclass(frozen=True)
class Interval:
    """An expected value, and the ends of its 90 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Metrics:
    """The metrics of a model on one set of examples: accuracy, 0 to 1, and mean cross-entropy in nats."""

    accuracy: float
    loss: float


@dataclass(frozen=True)
class Winner:
    """The trial that won a study so far.

    Attributes:
        value, validation: the study's metric, and both metrics, after the last epoch.
        expected: the metric that other trainings of its configuration would have on average; None with few trials.
        hyperparameters: all that it was trained with, the fixed ones too.
        test: None before the study is done.
        confirmation: the comparison with the runner-up; None before both were trained again.
        optuna_number: its number in Optuna's tools.
    """

    study: str
    trial: int
    tier: int
    phase: str
    value: float | None
    expected: Interval | None
    hyperparameters: Mapping[str, Value]
    validation: Metrics
    test: Metrics | None
    confirmation: Confirmation | None
    epochs: int
    curve: tuple[Epoch, ...]
    optuna_number: int | None = None


@dataclass(frozen=True)
class Standings:
    """The trials of a study's own slots, by number, and the winner so far; None before one is complete and sound."""

    study: Study
    trials: Sequence[FrozenTrial]
    winner: Expected | None

    @property
    def runner_up(self) -> int | None:
        """The number of the best trial of another configuration; None where there is none."""
        return None if self.winner is None else runner_up(self.study, self.trials, self.winner.trial)


def standings(engine: Engine, record: StudyRecord) -> Standings:
    """Read the trials of a study's own slots, and find the winner so far.

    The trial that was measured on the test set when the study was done stays its winner: the test set is used once.
    """
    study = definition_of(record)
    trials = read_frozen_trials(engine, record.optuna_study_id)
    return Standings(study, trials, winner_of(study, trials, tested_slot(engine, record.study_id)))


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
    test = read_test(engine, record.study_id, number)
    value, low, high = expected.value, expected.low, expected.high
    return Winner(
        study.name, number, trial.slot.tier, trial.slot.phase, trial.value,
        expected=None if value is None or low is None or high is None else Interval(value, low, high),
        hyperparameters={**study.fixed, **study.values(trial.parameters)},
        validation=Metrics(*(curve[-1].metrics.get(name, math.nan) for name in (ACCURACY, VALIDATION_LOSS))),
        test=Metrics(**test) if test else None,
        confirmation=read_confirmation(engine, record.study_id, study, number, known.runner_up),
        epochs=trial.epoch, curve=tuple(curve), optuna_number=trial.optuna_number,
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
            f"{record.name}; go on with: caviar run {record.name}"
        )
    return winner.trial, other


def is_concluded(engine: Engine, record: StudyRecord) -> bool:
    """Return True if the winner was measured on the test set, or there is none."""
    winner = standings(engine, record).winner
    if definition_of(record).way is not Way.MODEL:
        return True
    return winner is None or read_test(engine, record.study_id, winner.trial) is not None


def conclude(engine: Engine, record: StudyRecord, data_dir: Path, leave: Callable[[], bool] | None = None) -> bool:
    """Measure the winner on the test set, once; does nothing where that was done, or where there is no winner.

    The model that is tested is the one that won: its weights were kept when its last epoch ended. If they are lost, as
    may be those of a study that was done before and then extended, it is trained once more. Where several machines
    come to the end at once, one measures, and the others wait for it.

    Args:
        record: the study; its definition is read anew, which may have been changed meanwhile.
        leave: returns whether to leave it undone; called between batches where the winner must be trained again.

    Returns:
        False where it was left undone.

    Raises:
        CheckpointUnreachable: the winner's weights are in a place that this machine does not reach.
        DataUnavailable: the data are not here.
        WorkersFailed: the model raised, or left Python; nothing is written.
    """
    with patiently(), engine.begin() as connection:
        for limit in ("statement_timeout", "idle_in_transaction_session_timeout"):  # others wait meanwhile
            connection.execute(text(f"SET LOCAL {limit} = 0"))
        key = {"study": record.study_id}
        connection.execute(text("SELECT pg_advisory_xact_lock(hashtext('caviar.test'), :study)"), key)
        return _measure(engine, load_study(engine, record.name), data_dir, leave)


def _measure(engine: Engine, record: StudyRecord, data_dir: Path, leave: Callable[[], bool] | None) -> bool:
    study = definition_of(record)
    winner = standings(engine, record).winner
    store = CheckpointStore(engine, record)
    if winner is None or read_test(engine, record.study_id, winner.trial) is not None:
        store.keep_only(winner.trial if winner else None)
        return True
    if study.way is not Way.MODEL:
        store.keep_only(winner.trial)
        return True
    best = read_trial(engine, record.study_id, winner.trial)
    import torch

    from caviar.models.data import load_all
    from caviar.models.training import Interrupted, Training, evaluate, never
    from caviar.studies.workers.trial.build import THREADS, Bench
    from caviar.studies.workers.trial.failures import TrainingRaised, describe, training_code
    from caviar.studies.workers.trial.resumption import load_checkpoint, resume

    torch.set_num_threads(THREADS)  # if it must be trained again, then as it was
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    values = study.values(best.parameters)
    data, test = load_all(study.built_in.data, data_dir, device)
    number, leave = best.slot.number, leave or never
    if test is None:
        store.keep_only(number)
        return True
    checkpoint = load_checkpoint(store, number)
    try:
        with training_code():
            training, refused = resume(study, number, values, Bench(device, data), checkpoint)
            assert isinstance(training, Training)
        if refused:
            record_event(engine, record.study_id, EventKind.CHECKPOINT_REFUSED, trial=number, reason=refused)
        with training_code():
            for _ in training.epochs(study.epochs, leave):  # none are left, unless its weights are lost
                pass
            loss, accuracy = evaluate(training.model, test, leave)
    except Interrupted:
        return False
    except TrainingRaised as raised:
        raise WorkersFailed(
            f"trial {number} of '{record.name}' won, but could not be measured on the test set: "
            f"{describe(raised.error)['error']}; once its model is mended, run: caviar run {record.name}"
        ) from raised.error
    write_test(engine, record.study_id, number, {"loss": loss, "accuracy": accuracy})
    store.keep_only(number)
    return True
