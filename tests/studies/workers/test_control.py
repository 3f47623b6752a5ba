"""What is asked for from anywhere reaches the workers; slots that kill their workers are abandoned."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import optuna
import pytest
from sqlalchemy import Engine, event, text

from caviar.storage.checkpoints import CheckpointStore
from caviar.storage.control import kill_trial, set_control
from caviar.storage.curves import read_curve
from caviar.storage.definitions import delete_study
from caviar.storage.engine import make_engine
from caviar.storage.errors import StorageError
from caviar.storage.events import read_events
from caviar.storage.files import CheckpointFiles
from caviar.storage.ledger import Ledger
from caviar.storage.losses import LIMIT, free_lost
from caviar.storage.outage import Outage
from caviar.storage.records import Report, StudyRecord
from caviar.storage.status import read_trials
from caviar.storage.waiting import limit_waits
from caviar.storage.workers import read_workers
from caviar.studies.api.running import measure_winner
from caviar.studies.api.session import settings_of
from caviar.studies.lifecycle.manager import progress
from caviar.studies.results.summaries import state_of
from caviar.studies.workers.local.options import WorkerOptions
from caviar.studies.workers.local.signals import Stop
from caviar.studies.workers.local.supervisor import asked_to_leave
from tests.helpers.epochs import measured
from tests.helpers.leases import PARAMETERS, expire, lease_of
from tests.helpers.workers import ledger, log, register, worker

EPOCH = measured(1, 0.5, 0.6, 0.7, 0.1, 0.01)


def in_background(engine: Engine, record: StudyRecord, study: Any, **order: Any) -> tuple[threading.Thread, Engine]:
    own = make_engine(engine.url)
    thread = threading.Thread(target=worker(own, record, study, **order).run)
    thread.start()
    return thread, own


def until(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.02)


@pytest.mark.parametrize("control", ["pause", "stop"])
def test_workers_give_back_after_their_epoch_and_leave(engine: Engine, control: str) -> None:
    record, study = register(engine, epochs=2000, pruner="none")
    thread, own = in_background(engine, record, study)
    until(lambda: read_curve(engine, record.study_id, 0))
    assert set_control(engine, record.study_id, control, by="test")
    thread.join(30)
    assert not thread.is_alive()
    own.dispose()
    now = progress(engine, record)
    assert (now.leased, state_of(now)) == (0, {"pause": "paused", "stop": "stopped"}[control])
    trained = len(read_curve(engine, record.study_id, 0))
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT epoch FROM caviar.checkpoint")) == trained  # nothing is trained twice
    assert [w.state for w in read_workers(engine, record.study_id)] == ["ended"]


def test_at_once_leaves_an_epoch_in_its_middle(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    import caviar.models.training

    record, study = register(engine, epochs=3, budget=4)
    started = threading.Event()
    real = caviar.models.training.cross_entropy

    def slow(*arguments: Any, **options: Any) -> Any:
        if progress(engine, record).control == "run":  # as long as nothing is asked for, an epoch never ends
            started.set()
            time.sleep(0.2)
        return real(*arguments, **options)

    monkeypatch.setattr(caviar.models.training, "cross_entropy", slow)
    monkeypatch.setattr(caviar.models.training, "split", lambda x, size: [x[:8]] * 1000)
    thread, own = in_background(engine, record, study, lease_seconds=1.0, renew_seconds=0.1)
    assert started.wait(30)
    set_control(engine, record.study_id, "stop", at_once=True)
    thread.join(30)
    assert not thread.is_alive()
    own.dispose()
    assert read_curve(engine, record.study_id, 0) == []
    assert progress(engine, record).leased == 0


def test_asking_twice_is_one_event(engine: Engine) -> None:
    record, _ = register(engine)
    assert set_control(engine, record.study_id, "pause")
    assert not set_control(engine, record.study_id, "pause")
    assert set_control(engine, record.study_id, "pause", at_once=True)  # more haste is a change
    assert [e.kind for e in read_events(engine, record.study_id)] == ["created", "paused", "paused"]


def test_a_trial_that_is_trained_is_killed_after_its_epoch(engine: Engine) -> None:
    record, study = register(engine, epochs=2000, budget=4, strategy="random", pruner="none")
    thread, own = in_background(engine, record, study)
    until(lambda: read_curve(engine, record.study_id, 0))
    assert not kill_trial(engine, record, 0, by="test")
    until(lambda: read_trials(engine, record.study_id)[0].state == "pruned")
    killed = read_trials(engine, record.study_id)[0]
    assert killed.attributes["why it stopped"] == f"killed by hand after epoch {killed.epoch}"
    assert killed.attributes["epochs"] == killed.epoch
    assert killed.value == read_curve(engine, record.study_id, 0)[-1].metrics["accuracy"]
    set_control(engine, record.study_id, "stop")
    thread.join(30)
    own.dispose()


def test_a_trial_that_nobody_trains_is_killed_at_once(engine: Engine) -> None:
    record, _ = register(engine)
    who, store = ledger(engine, record), CheckpointStore(engine, record)
    trained, begun = lease_of(who.lease()), lease_of(who.lease())
    for lease in (trained, begun):
        log(engine, record).begin(lease, PARAMETERS, {})
    log(engine, record).record([Report(trained, EPOCH, 0.7)])
    store.save(trained, store.stage(trained, 1, b"state"))
    expire(engine, trained)
    expire(engine, begun)
    for number in (0, 1):
        assert kill_trial(engine, record, number)
    first, second = read_trials(engine, record.study_id)[:2]
    assert (first.state, first.value, second.state, second.value) == ("pruned", 0.7, "fail", None)
    assert store.load(0) is None
    theirs = optuna.load_study(study_name="small", storage=engine.url.render_as_string(hide_password=False)).trials
    assert [(t.state.name, t.value) for t in theirs] == [("PRUNED", 0.7), ("FAIL", None)]
    assert [t.user_attrs["epochs"] for t in theirs[:2]] == [1, 0]
    assert lease_of(who.lease()).slot.number == 2


@pytest.mark.parametrize(
    ("number", "message"), [(0, "has ended already"), (1, "has not begun"), (99, "has no trial 99")]
)
def test_what_cannot_be_killed(engine: Engine, number: int, message: str) -> None:
    record, _ = register(engine)
    lease = lease_of(ledger(engine, record).lease())
    trial_id = log(engine, record).begin(lease, PARAMETERS, {})
    log(engine, record).finish(lease, trial_id, "COMPLETE", 0.5, {})
    with pytest.raises(StorageError, match=message):
        kill_trial(engine, record, number)


def lose(engine: Engine, record: StudyRecord, times: int, epochs: int = 0) -> None:
    """Lose slot 0 a number of times, each after so many epochs that are new."""
    who = ledger(engine, record)
    for turn in range(times):
        lease = lease_of(who.lease())
        assert lease.slot.number == 0
        if lease.trial_id is None:
            log(engine, record).begin(lease, PARAMETERS, {})
        for number in range(epochs):
            log(engine, record).record([Report(lease, measured(turn * epochs + number + 1, 1, 1, 0.5, 0.1, 0.1), 0.5)])
        expire(engine, lease)


def test_a_slot_that_kills_its_workers_is_abandoned(engine: Engine) -> None:
    record, _ = register(engine, budget=4)
    lose(engine, record, LIMIT - 1)
    assert free_lost(engine, record) == 1
    lose(engine, record, 1)
    assert free_lost(engine, record) == 1
    (told,) = read_events(engine, record.study_id, "abandoned")
    assert told.detail["why"] == "lost 5 times after epoch 0 without getting further"
    assert read_trials(engine, record.study_id)[0].state == "abandoned"
    now = progress(engine, record)
    assert (now.abandoned, now.done, now.open, now.failed) == (1, 1, 3, 0)
    assert lease_of(ledger(engine, record).lease()).slot.number == 1
    theirs = optuna.load_study(study_name="small", storage=engine.url.render_as_string(hide_password=False)).trials
    assert theirs[0].state == optuna.trial.TrialState.FAIL


def test_a_slot_that_gets_further_each_time_is_not(engine: Engine) -> None:
    """A trial of a day on machines that live for an hour."""
    record, _ = register(engine, budget=4)
    lose(engine, record, 2 * LIMIT, epochs=2)
    assert lease_of(ledger(engine, record).lease()).slot.number == 0


def test_a_lease_is_taken_again_if_nobody_else_has_it(engine: Engine) -> None:
    record, _ = register(engine)
    first, second = ledger(engine, record), ledger(engine, record)
    mine = lease_of(first.lease())
    log(engine, record).begin(mine, PARAMETERS, {})
    expire(engine, mine)
    free_lost(engine, record)
    assert log(engine, record).record([Report(mine, EPOCH, 0.7)]) == {}
    assert first.retake(mine)
    assert first.retake(mine)  # by the heartbeat, too
    log(engine, record).record([Report(mine, EPOCH, 0.7)])
    expire(engine, mine)
    assert lease_of(second.lease()).slot.number == 0
    assert not first.retake(mine)
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT losses FROM caviar.slot WHERE number = 0")) == 1


def test_a_lease_that_was_got_without_hearing_of_it_is_got_again(engine: Engine, monkeypatch: Any) -> None:
    """The connection breaks after the commit, and before its answer."""
    record, _ = register(engine)
    who = ledger(engine, record)
    monkeypatch.setattr(who, "_leased", _break)
    with pytest.raises(ConnectionError):
        who.lease()
    monkeypatch.undo()
    assert lease_of(who.lease()).slot.number == 0
    assert lease_of(who.lease()).slot.number == 1


def _break(*arguments: Any) -> None:
    raise ConnectionError


def test_a_trial_that_was_begun_without_hearing_of_it_is_found(engine: Engine) -> None:
    record, _ = register(engine)
    lease = lease_of(ledger(engine, record).lease())
    assert log(engine, record).begin(lease, PARAMETERS, {}) == log(engine, record).begin(lease, PARAMETERS, {})
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM public.trials")) == 1


def test_a_trial_that_is_begun_twice_at_once_is_begun_once(engine: Engine) -> None:
    """A connection breaks, its statement still waits on the server, and the worker tries again."""
    record, _ = register(engine)
    lease = lease_of(ledger(engine, record).lease())
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    engines = [make_engine(engine.url) for _ in range(2)]
    with ThreadPoolExecutor(2) as pool:
        with engine.begin() as holder:
            holder.execute(text("SELECT 1 FROM caviar.study FOR NO KEY UPDATE"))
            both = [pool.submit(log(own, record).begin, lease, PARAMETERS, {}) for own in engines]
            until = time.monotonic() + 20
            while time.monotonic() < until and holder.scalar(text(waiting)) < 2:
                holder.execute(text("SELECT pg_stat_clear_snapshot()"))
        assert len({one.result(20) for one in both}) == 1
    for own in engines:
        own.dispose()
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM public.trials")) == 1


def staged_files(engine: Engine, record: StudyRecord, folder: Path, slots: int) -> list[Path]:
    """Give the first slots a trial with a checkpoint in a file each, and give them back."""
    store = CheckpointStore(engine, record, CheckpointFiles(f"file://{folder}"))
    who = ledger(engine, record)
    leases = [lease_of(who.lease()) for _ in range(slots)]
    for lease in leases:
        log(engine, record).begin(lease, PARAMETERS, {})
        log(engine, record).record([Report(lease, EPOCH, 0.7)])
        store.save(lease, store.stage(lease, 1, b"state"), release=True)
    return sorted(folder.rglob("*.checkpoint"))


def test_a_trial_s_file_goes_with_it(engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAVIAR_CHECKPOINTS", f"file://{tmp_path}")
    record, _ = register(engine)
    first, second = staged_files(engine, record, tmp_path, 2)
    assert kill_trial(engine, record, 0)
    assert not first.exists()
    assert second.exists()
    delete_study(engine, record)
    assert not second.exists()


def test_an_abandoned_trial_s_file_goes_when_the_study_ends(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CAVIAR_CHECKPOINTS", f"file://{tmp_path}")
    record, _ = register(engine)
    (file,) = staged_files(engine, record, tmp_path, 1)
    lose(engine, record, LIMIT)
    free_lost(engine, record)
    assert read_trials(engine, record.study_id)[0].state == "abandoned"
    assert "lost 5 times" in read_trials(engine, record.study_id)[0].attributes["why it stopped"]
    assert read_trials(engine, record.study_id)[0].attributes["epochs"] == 1
    CheckpointStore(engine, record).keep_only(7)
    assert not file.exists()


def test_of_two_machines_of_one_name_only_the_one_whose_trial_is_killed_is_asked_to_leave(engine: Engine) -> None:
    """Containers may have the same host name, and workers the same process id."""
    record, _ = register(engine)
    begin(engine, record, ledger(engine, record, pid=7, machine="another container"))
    begin(engine, record, ledger(engine, record, pid=7))
    kill_trial(engine, record, 0)
    now = progress(engine, record)
    assert (now.workers, asked_to_leave(now)) == (2, set())
    kill_trial(engine, record, 1)
    assert asked_to_leave(progress(engine, record)) == {7}


def begin(engine: Engine, record: StudyRecord, who: Ledger) -> None:
    log(engine, record).begin(lease_of(who.lease()), PARAMETERS, {})


def test_who_is_asked_to_leave_does_not_wait_until_the_winner_is_tested_elsewhere(engine: Engine) -> None:
    record, study = register(engine, budget=4)
    worker(engine, record, study).run()
    own = make_engine(engine.url)
    order = WorkerOptions(settings_of(engine), record.name, Path("nowhere"))
    with Stop() as stop, own.connect() as other:
        limit_waits(lambda: stop.asked)
        other.execute(text("SELECT pg_advisory_xact_lock(hashtext('caviar.test'), :study)"), {"study": record.study_id})
        threading.Timer(0.5, stop.ask).start()
        started = time.monotonic()
        assert not measure_winner(engine, record, order, stop, Outage(60, lambda: stop.asked))
        assert time.monotonic() - started < 30
    own.dispose()
    limit_waits(lambda: False)
    with Stop() as stop:
        assert measure_winner(engine, record, order, stop, Outage(60))
        stop.ask()
        assert not measure_winner(engine, record, order, stop, Outage(60))


def test_a_worker_leaves_to_others_what_was_too_large_for_it(engine: Engine) -> None:
    record, _ = register(engine)
    small, large = ledger(engine, record), ledger(engine, record)
    lease = lease_of(small.lease())
    small.avoided.add(lease.slot.number)
    small.release(lease)
    assert lease_of(small.lease()).slot.number == 1
    assert lease_of(large.lease()).slot.number == 0
    assert [lease_of(small.lease()).slot.number for _ in range(3)] == [2, 3, 4]


def test_a_large_state_takes_its_time_at_a_trial_s_end_too(engine: Engine) -> None:
    record, _ = register(engine, budget=4)
    store, who = CheckpointStore(engine, record), ledger(engine, record)
    limits: list[list[Any]] = []

    def look(connection: Any, cursor: Any, statement: str, *rest: Any) -> None:
        if "INSERT INTO caviar.checkpoint" in statement:
            for name in ("idle_in_transaction_session_timeout", "statement_timeout"):
                cursor.execute(f"SHOW {name}")
                limits.append(cursor.fetchone()[0])

    event.listen(engine, "before_cursor_execute", look)
    for size in (10, 2 * 2**20):
        lease = lease_of(who.lease())
        trial_id = log(engine, record).begin(lease, PARAMETERS, {})
        weights = store.stage(lease, 1, b"x" * size)
        log(engine, record).finish(lease, trial_id, "COMPLETE", 0.7, {}, weights=weights)
    assert limits == ["1min", "30s", "0", "0"]
