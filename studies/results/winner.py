"""The end of a study: which trial won, which came next, and the one measurement of its model on the test set."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, text

from caviar.storage.checkpoints import CheckpointStore
from caviar.storage.control import note
from caviar.storage.definitions import load_study
from caviar.storage.history import read_frozen_trials
from caviar.storage.records import StudyRecord
from caviar.storage.status import read_curve, read_test, read_trial, tested_slot, write_test
from caviar.storage.waiting import patiently
from caviar.studies.errors import NothingToDo
from caviar.studies.lifecycle.manager import definition_of
from caviar.studies.results.confirmation import confirmation_facts, runner_up
from caviar.studies.results.summaries import best_facts
from caviar.studies.search.expectation import Expected, winner_of


def find_winner(engine: Engine, record: StudyRecord) -> Expected | None:
    """Return the trial that won a study so far, and what is expected of it; None where none is complete and sound.

    What was measured on the test set when the study was done stays its winner: the test set is used once.
    """
    trials = read_frozen_trials(engine, record.optuna_study_id)
    return winner_of(definition_of(record), trials, tested_slot(engine, record.study_id))


def winner_facts(engine: Engine, record: StudyRecord) -> dict[str, Any] | None:
    """Return what there is to say about the winner, as plain JSON values; None where there is none yet."""
    study, trials = definition_of(record), read_frozen_trials(engine, record.optuna_study_id)
    found = winner_of(study, trials, tested_slot(engine, record.study_id))
    if found is None:
        return None
    number = found.trial
    return best_facts(
        study,
        read_trial(engine, record.study_id, number),
        found,
        read_curve(engine, record.study_id, number),
        read_test(engine, record.study_id, number),
        confirmation_facts(engine, record.study_id, study, trials, number),
    )


def finalists(engine: Engine, record: StudyRecord) -> tuple[int, int]:
    """Return the numbers of the winner and of the runner-up, the best trial of another configuration.

    Raises:
        NothingToDo: there are no two.
    """
    study, trials = definition_of(record), read_frozen_trials(engine, record.optuna_study_id)
    winner = winner_of(study, trials, tested_slot(engine, record.study_id))
    other = runner_up(study, trials, winner.trial) if winner else None
    if winner is None or other is None:
        raise NothingToDo(
            f"'{record.name}' has no two complete trials of different values to compare; see: caviar trials "
            f"{record.name}; go on with: caviar run {record.name}"
        )
    return winner.trial, other


def conclude(engine: Engine, record: StudyRecord, data_dir: Path, leave: Callable[[], bool] | None = None) -> bool:
    """Measure the winner on the test set, once; does nothing where that was done, or where there is no winner.

    The model that is tested is the one that won: its weights were kept when its last epoch ended. If they are lost, as
    may be those of a study that was done before and then extended, it is trained once more. Where several machines
    come to the end at once, one measures, and the others wait for it.

    Args:
        record: the study; its definition is read anew, which may have been changed meanwhile.
        leave: asked again and again whether to leave it undone, where the winner must be trained again.

    Returns:
        False where it was left undone.

    Raises:
        CheckpointUnreachable: the winner's weights are in a place that this machine does not reach.
        DataUnavailable: the data are not here.
    """
    with patiently(), engine.begin() as connection:
        for limit in ("statement_timeout", "idle_in_transaction_session_timeout"):  # others wait meanwhile
            connection.execute(text(f"SET LOCAL {limit} = 0"))
        key = {"study": record.study_id}
        connection.execute(text("SELECT pg_advisory_xact_lock(hashtext('caviar.test'), :study)"), key)
        return _measure(engine, load_study(engine, record.name), data_dir, leave)


def _measure(engine: Engine, record: StudyRecord, data_dir: Path, leave: Callable[[], bool] | None) -> bool:
    study = definition_of(record)
    winner = find_winner(engine, record)
    store = CheckpointStore(engine, record)
    if winner is None or read_test(engine, record.study_id, winner.trial) is not None:
        store.keep_only(winner.trial if winner else None)
        return True
    best = read_trial(engine, record.study_id, winner.trial)
    import torch

    from caviar.models.data import load, load_test
    from caviar.models.training import Interrupted, evaluate, never
    from caviar.studies.workers.trial.build import THREADS
    from caviar.studies.workers.trial.resumption import load_checkpoint, resume

    torch.set_num_threads(THREADS)  # if it must be trained again, then as it was
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    values = study.values(best.parameters)
    data = load(study.data, data_dir, device)
    training, refused = resume(study, best.slot.number, values, data, load_checkpoint(store, best.slot.number))
    if refused:
        note(engine, record.study_id, "checkpoint refused", trial=best.slot.number, reason=refused)
    try:
        for _ in training.epochs(study.epochs, leave or never):  # none are left, unless its weights are lost
            pass
    except Interrupted:
        return False
    loss, accuracy = evaluate(training.model, load_test(study.data, data_dir, device))
    write_test(engine, record.study_id, best.slot.number, loss, accuracy)
    store.keep_only(best.slot.number)
    return True
