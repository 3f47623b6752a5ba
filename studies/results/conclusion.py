"""Measure the winner of a study on the test set, once, when the study is done."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID, uuid4

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from caviar.storage.checkpoints import CheckpointStore, files_here
from caviar.storage.definitions import load_study
from caviar.storage.errors import StorageError
from caviar.storage.events import record_event
from caviar.storage.outage import Outage
from caviar.storage.records import StudyRecord, TrialRecord
from caviar.storage.states import EventKind
from caviar.storage.status import read_trial
from caviar.storage.test_results import claim_test, read_test, release_test, tested_slot, write_test
from caviar.studies.errors import TrialMisused, WorkersFailed
from caviar.studies.lifecycle.manager import definition_of
from caviar.studies.results.winner import standings
from caviar.studies.way import Way
from caviar.studies.workers.local.events import Listener, WinnerTrainedAgain, ignore

_WAIT_SECONDS = 5.0  # at most, between two looks of a machine that waits for the one which measures
_LOOK_SECONDS = 5.0  # between two looks whether another machine was quicker


def is_concluded(engine: Engine, record: StudyRecord) -> bool:
    """Return True if the winner was measured on the test set, or there is no winner or nothing that could test it."""
    winner = standings(engine, record).winner
    if not definition_of(record).has_test:
        return True
    return winner is None or read_test(engine, record.study_id, winner.trial) is not None


class _Lost(NamedTuple):
    """The state of a trial whose weights were lost, and that was trained once more."""

    epoch: int
    state: dict[str, Any]


def conclude(
    engine: Engine,
    record: StudyRecord,
    data_dir: Path,
    leave: Callable[[], bool] = lambda: False,
    outage: Outage | None = None,
    on_event: Listener = ignore,
) -> bool:
    """Measure the winner on the test set, once; does nothing where that was done, or where there is no winner.

    The model that is tested is the one that won: its weights were kept when its last epoch ended. If they are lost, as
    may be those of a study that was done before and then extended, it is trained once more, and its weights are kept.
    Meanwhile no transaction is open. Where several machines come to the end at once, one of them measures, and the
    others wait for it; they take over if it is no longer heard of, and the first result counts.

    Args:
        record: the study; its definition is read anew, which may have been changed meanwhile.
        leave: returns whether to leave it undone; called between batches.
        outage: the patience with which the database is read and written; without it, its errors are raised.
        on_event: called with `WinnerTrainedAgain` before that begins.

    Returns:
        False where it was left undone.

    Raises:
        CheckpointUnreachable: the winner's weights are in a place that this machine does not reach.
        DataUnavailable: the data are not here.
        WorkersFailed: the model raised, or left Python; nothing is written.
        DatabaseAway: the patience is over.
    """
    outage = outage or Outage(patience=0)
    record, best = outage.insist(lambda: _untested(engine, record.name))
    if best is None:
        return True
    from caviar.models.training import Interrupted  # which loads PyTorch

    who, number = uuid4(), best.slot.number
    if not _claim(engine, record, who, leave, outage):
        return outage.insist(lambda: tested_slot(engine, record.study_id)) is not None
    stop = _asked_or_late(engine, record, who, leave)
    try:
        metrics, lost = _measure(engine, record, best, data_dir, stop, outage, on_event)
        if lost is not None:
            _keep(engine, record, number, lost, outage)
        outage.insist(lambda: write_test(engine, record.study_id, number, metrics))  # none, where there is no test part
    except Interrupted:
        return outage.insist(lambda: tested_slot(engine, record.study_id)) is not None
    finally:
        with suppress(SQLAlchemyError):  # else it expires
            release_test(engine, record.study_id, who)
    outage.insist(lambda: CheckpointStore(engine, record).keep_only(number))
    return True


def _claim(engine: Engine, record: StudyRecord, who: UUID, leave: Callable[[], bool], outage: Outage) -> bool:
    """Wait until this process may measure the winner; return False if another one has, or this one is to leave."""
    study_id = record.study_id
    while not leave():
        if outage.insist(lambda: claim_test(engine, study_id, who)):
            return outage.insist(lambda: tested_slot(engine, study_id)) is None
        # Many may wait, and each reads the results once the winner is measured: not all at the same moment.
        until = time.monotonic() + random.uniform(0.1, 1) * _WAIT_SECONDS
        while time.monotonic() < until and not leave():
            time.sleep(0.1)
        if outage.insist(lambda: tested_slot(engine, study_id)) is not None:
            return False
    return False


def _untested(engine: Engine, name: str) -> tuple[StudyRecord, TrialRecord | None]:
    """Return the winner that is still to be tested; where there is none, remove the checkpoints of all others."""
    record = load_study(engine, name)
    winner, can_test = standings(engine, record).winner, definition_of(record).has_test
    if winner is not None and can_test and read_test(engine, record.study_id, winner.trial) is None:
        return record, read_trial(engine, record.study_id, winner.trial)
    CheckpointStore(engine, record).keep_only(winner.trial if winner else None)
    return record, None


def _asked_or_late(engine: Engine, record: StudyRecord, who: UUID, leave: Callable[[], bool]) -> Callable[[], bool]:
    """Return a function that tells whether this process is asked to leave, or another machine was quicker; it renews
    the claim."""
    looked = time.monotonic()

    def asked() -> bool:
        nonlocal looked
        if leave():
            return True
        if time.monotonic() - looked < _LOOK_SECONDS:
            return False
        looked = time.monotonic()
        with suppress(SQLAlchemyError):  # an outage: the result is written when it is over
            claim_test(engine, record.study_id, who)
            return tested_slot(engine, record.study_id) is not None
        return False

    return asked


def _measure(
    engine: Engine, record: StudyRecord, best: TrialRecord, data_dir: Path, stop: Callable[[], bool], outage: Outage,
    on_event: Listener,
) -> tuple[dict[str, float], _Lost | None]:  # fmt: skip
    """Return a trial's metrics on the test set, and its state if it had to be trained once more.

    Without a test set there are no metrics, and nothing is trained.
    """
    import torch

    from caviar.models.data import load_all
    from caviar.models.errors import BadCheckpoint
    from caviar.models.training import Training, evaluate
    from caviar.studies.workers.trial.build import THREADS, Bench, measure_network, measure_trial
    from caviar.studies.workers.trial.failures import TrainingRaised, describe, training_code
    from caviar.studies.workers.trial.resumption import load_checkpoint, resume, state_after
    from caviar.studies.workers.trial.training import ended

    torch.set_num_threads(THREADS)  # if it must be trained again, then as it was
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    study, number = definition_of(record), best.slot.number
    bench, test = Bench(device), None
    if study.way is Way.MODEL:
        data, test = load_all(study.built_in.data, data_dir, device)
        if test is None:
            return {}, None
        bench = Bench(device, data)
    values = study.values(best.parameters)
    checkpoint = outage.insist(lambda: load_checkpoint(CheckpointStore(engine, record), number))
    try:
        with training_code():
            saved = state_after(checkpoint, best.epoch)
            if saved is not None:
                if test is None:  # a training of the user's own, whose test= function measures
                    return measure_trial(study, number, values, bench, saved), None
                with suppress(BadCheckpoint):  # which is written to the history below
                    return measure_network(study, number, values, data, test, saved, stop), None
            training, refused = resume(study, number, values, bench, checkpoint)
        if refused:
            detail = {"trial": number, "reason": refused}
            outage.insist(lambda: record_event(engine, record.study_id, EventKind.CHECKPOINT_REFUSED, **detail))
        is_lost = training.epoch < best.epoch
        if is_lost:
            on_event(WinnerTrainedAgain(number, best.epoch - training.epoch))
        with training_code(), ended(training):
            if training.state() is None:
                raise TrialMisused("it saves nothing that the test could measure: give trial.keep() its network")
            for _ in training.epochs(best.epoch, lambda alive=True: stop()):  # noqa: ARG005
                pass
            state = training.state()
            if isinstance(training, Training) and test is not None:
                metrics = evaluate(training.model, test, training.measures, stop)
            else:
                metrics = measure_trial(study, number, values, bench, state or {})
    except TrainingRaised as raised:
        raise WorkersFailed(
            f"trial {number} of '{record.name}' won, but could not be measured on the test set: "
            f"{describe(raised.error)['error']}; once that is mended, run: caviar join {record.name}"
        ) from raised.error
    return metrics, _Lost(training.epoch, state) if is_lost and state is not None else None


def _keep(engine: Engine, record: StudyRecord, number: int, lost: _Lost, outage: Outage) -> None:
    """Keep the weights of a trial that was trained once more, where there is a place for them."""
    from caviar.models.checkpoint import to_bytes

    state = to_bytes(lost.state)
    try:
        store = CheckpointStore(engine, record, files_here(engine))
        outage.insist(lambda: store.keep(number, lost.epoch, state))
    except StorageError as error:
        detail = {"slot": number, "reason": str(error)}
        outage.insist(lambda: record_event(engine, record.study_id, EventKind.CHECKPOINT_NOT_WRITTEN, **detail))
