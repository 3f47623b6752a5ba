"""The winner is measured once: with no transaction meanwhile, by one of several machines, and its weights are kept."""

from __future__ import annotations

from pathlib import Path
from uuid import uuid4

import pytest
import torch
from sqlalchemy import Engine, text

import caviar.studies.workers.trial.resumption
from caviar.models.checkpoint import from_bytes, to_bytes
from caviar.models.data import load_all
from caviar.models.training import Training, evaluate
from caviar.storage.checkpoints import CheckpointStore, files_here
from caviar.storage.events import read_events
from caviar.storage.records import StudyRecord
from caviar.storage.states import EventKind
from caviar.storage.status import read_trial
from caviar.storage.test_results import claim_test, read_tests, write_test
from caviar.studies.errors import WorkersFailed
from caviar.studies.results import conclusion
from caviar.studies.results.conclusion import conclude
from caviar.studies.results.winner import standings
from caviar.studies.workers.local.events import RunEvent, WinnerTrainedAgain
from caviar.studies.workers.trial.build import Bench
from caviar.studies.workers.trial.resumption import load_checkpoint, resume
from tests.helpers.roles import execute
from tests.helpers.workers import register, worker

NOWHERE = Path("nowhere")
_ACTIVE = """
    SELECT count(*) FROM pg_stat_activity a WHERE a.datname = current_database() AND a.pid <> pg_backend_pid()
    AND (a.state = 'idle in transaction' OR EXISTS (SELECT FROM pg_locks l WHERE l.pid = a.pid))
"""


@pytest.fixture
def lost(engine: Engine) -> StudyRecord:
    """A study that is done, and whose winner's weights are not kept."""
    record, study = register(engine, epochs=3, budget=4, pruner="none")
    worker(engine, record, study).run()
    execute(engine, "DELETE FROM caviar.checkpoint")
    return record


def winner(engine: Engine, record: StudyRecord) -> int:
    found = standings(engine, record).winner
    assert found is not None
    return found.trial


def test_a_winner_is_trained_again_without_a_transaction_and_its_weights_are_kept(
    engine: Engine, lost: StudyRecord
) -> None:
    seen, events = [], list[RunEvent]()

    def leave() -> bool:
        with engine.connect() as connection:
            seen.append(connection.scalar(text(_ACTIVE)))
        return False

    assert conclude(engine, lost, NOWHERE, leave, on_event=events.append)
    assert len(seen) > 10
    assert set(seen) == {0}
    number = winner(engine, lost)
    assert events == [WinnerTrainedAgain(number, 3)]
    assert list(read_tests(engine, lost.study_id)) == [number]
    assert CheckpointStore(engine, lost).load(number) is not None
    assert conclude(engine, lost, NOWHERE, on_event=events.append)
    assert len(events) == 1  # it is measured


def test_who_is_asked_to_leave_leaves_it_undone(engine: Engine, lost: StudyRecord) -> None:
    assert not conclude(engine, lost, NOWHERE, lambda: True)
    assert read_tests(engine, lost.study_id) == {}


def test_a_machine_stops_when_another_one_was_quicker(
    engine: Engine, lost: StudyRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conclusion, "_LOOK_SECONDS", 0.0)
    number, epochs, real = winner(engine, lost), list[int](), Training.epochs

    def slower(training: Training, *words: object) -> object:
        for epoch in real(training, *words):  # type: ignore[arg-type]
            epochs.append(epoch.epoch)
            write_test(engine, lost.study_id, number, {"loss": 0.25, "accuracy": 0.75})
            yield epoch

    monkeypatch.setattr(Training, "epochs", slower)
    assert conclude(engine, lost, NOWHERE)
    assert epochs == [1]
    assert read_tests(engine, lost.study_id) == {number: {"loss": 0.25, "accuracy": 0.75}}


def test_of_many_machines_one_measures_and_the_others_wait_for_it(
    engine: Engine, lost: StudyRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conclusion, "_WAIT_SECONDS", 0.2)
    number, first, looks = winner(engine, lost), uuid4(), list[int]()
    assert claim_test(engine, lost.study_id, first)
    assert claim_test(engine, lost.study_id, first)  # a renewal
    assert not claim_test(engine, lost.study_id, uuid4())

    def leave() -> bool:
        looks.append(1)
        if len(looks) == 5:
            write_test(engine, lost.study_id, number, {"accuracy": 0.75})
        return False

    events = list[object]()
    assert conclude(engine, lost, NOWHERE, leave, on_event=events.append)
    assert len(looks) >= 5
    assert events == []  # it trained nothing
    assert read_tests(engine, lost.study_id) == {number: {"accuracy": 0.75}}


def test_who_waits_for_the_measurement_leaves_when_asked_to(engine: Engine, lost: StudyRecord) -> None:
    assert claim_test(engine, lost.study_id, uuid4())
    asked = iter([False, False, True])
    assert not conclude(engine, lost, NOWHERE, lambda: next(asked, True))
    assert read_tests(engine, lost.study_id) == {}


@pytest.mark.parametrize("until", ["now() - interval '1 s'", "'infinity'", "NULL"])
def test_a_claim_that_is_over_or_that_no_program_makes_is_taken(engine: Engine, lost: StudyRecord, until: str) -> None:
    assert claim_test(engine, lost.study_id, uuid4())
    with engine.begin() as connection:
        connection.execute(text(f"UPDATE caviar.study SET tester_until = {until}"))
    assert conclude(engine, lost, NOWHERE)
    assert len(read_tests(engine, lost.study_id)) == 1


def test_who_fails_to_measure_lets_the_next_one_try_at_once(
    engine: Engine, lost: StudyRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(Training, "epochs", lambda *words: 1 / 0)
        with pytest.raises(WorkersFailed):
            conclude(engine, lost, NOWHERE)
    assert claim_test(engine, lost.study_id, uuid4())


def test_the_first_result_counts_whichever_trial_it_is_of(engine: Engine, lost: StudyRecord) -> None:
    write_test(engine, lost.study_id, 1, {"loss": 0.1, "accuracy": 0.9})
    for slot in (1, 2):
        write_test(engine, lost.study_id, slot, {"loss": 0.5, "accuracy": 0.5})
    assert read_tests(engine, lost.study_id) == {1: {"loss": 0.1, "accuracy": 0.9}}
    assert winner(engine, lost) == 1


def test_weights_that_have_no_place_are_said_and_the_winner_is_measured(
    engine: Engine, lost: StudyRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("caviar.storage.checkpoints.CHECKPOINT", 1000)
    assert files_here(engine) is None
    assert conclude(engine, lost, NOWHERE)
    number = winner(engine, lost)
    assert list(read_tests(engine, lost.study_id)) == [number]
    (event,) = read_events(engine, lost.study_id, EventKind.CHECKPOINT_NOT_WRITTEN)
    assert event.slot == number
    assert "too large for the database" in event.detail["reason"]


def test_an_outage_at_the_end_does_not_train_it_once_more(
    engine: Engine, lost: StudyRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sqlalchemy.exc import OperationalError

    from caviar.storage.outage import Outage

    made, failures, resume = list[int](), [3], caviar.studies.workers.trial.resumption.resume

    def fails(*words: object) -> None:
        failures[0] -= 1
        if failures[0] >= 0:
            raise OperationalError("", {}, Exception("server closed the connection unexpectedly"))
        write_test(*words)  # type: ignore[arg-type]

    def counted(*words: object) -> object:
        made.append(1)
        return resume(*words)  # type: ignore[arg-type]

    monkeypatch.setattr(conclusion, "write_test", fails)
    monkeypatch.setattr(caviar.studies.workers.trial.resumption, "resume", counted)
    assert conclude(engine, lost, NOWHERE, outage=Outage(60))
    assert (made, failures) == ([1], [-1])
    assert len(read_tests(engine, lost.study_id)) == 1


@pytest.mark.parametrize("model", ["mlp", "tests.helpers.random_net:RandomNet"])
def test_a_winner_whose_weights_are_kept_is_measured_by_them_alone(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, model: str
) -> None:
    record, study = register(engine, model=model, epochs=3, budget=4, pruner="none")
    worker(engine, record, study).run()
    number = winner(engine, record)
    cpu = torch.device("cpu")
    data, test = load_all("digits", NOWHERE, cpu)
    assert test is not None
    trial = read_trial(engine, record.study_id, number)
    checkpoint = load_checkpoint(CheckpointStore(engine, record), number)
    training, _ = resume(study, number, study.values(trial.parameters), Bench(cpu, data), checkpoint)
    assert isinstance(training, Training)
    expected = evaluate(training.model, test, training.measures)
    monkeypatch.setattr(Training, "__init__", None)  # whoever makes one fails
    assert conclude(engine, record, NOWHERE)
    assert read_tests(engine, record.study_id) == {number: expected}


def test_weights_of_another_network_are_refused_and_the_winner_is_trained_again(engine: Engine) -> None:
    record, study = register(engine, epochs=3, budget=4, pruner="none")
    worker(engine, record, study).run()
    number, store, events = winner(engine, record), CheckpointStore(engine, record), list[RunEvent]()
    kept = store.load(number)
    assert kept is not None
    state = from_bytes(kept, torch.device("cpu"))
    store.keep(number, 3, to_bytes({**state, "model": {name: w[:1] for name, w in state["model"].items()}}))
    assert conclude(engine, record, NOWHERE, on_event=events.append)
    assert events == [WinnerTrainedAgain(number, 3)]
    (event,) = read_events(engine, record.study_id, EventKind.CHECKPOINT_REFUSED)
    assert "does not fit this network" in event.detail["reason"]
    assert list(read_tests(engine, record.study_id)) == [number]
