"""Leases: exact under concurrency, fenced, taken over when they expire, on the database's clock."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import optuna
import pytest
from sqlalchemy import Engine, event, text
from sqlalchemy.exc import OperationalError

from caviar.storage.checkpoints import CheckpointStore
from caviar.storage.control import kill_trial, set_control
from caviar.storage.curves import read_curve
from caviar.storage.errors import DamagedCheckpoint, LeaseLost
from caviar.storage.events import read_events
from caviar.storage.losses import LIMIT, OWN_LIMIT, SUSPECT, leases_on, reap, release_dead
from caviar.storage.records import Report, WorkerDeath
from caviar.storage.status import read_trials
from caviar.studies.lifecycle.manager import definition_of
from tests.helpers import workers
from tests.helpers.epochs import measured
from tests.helpers.leases import PARAMETERS, expire, lease_of
from tests.helpers.workers import ledger, register

EPOCH = measured(1, 0.5, 0.6, 0.7, 0.1, 0.01)


def test_slots_are_leased_in_order_and_once(engine: Engine) -> None:
    record, study = register(engine)
    first, second = ledger(engine, record), ledger(engine, record)
    numbers = [lease_of(who.lease()).slot.number for who in (first, second, first, second)]
    assert numbers == [0, 1, 2, 3]
    assert (first.standing().open, first.standing().leased) == (study.budget - 4, 4)


def test_many_at_once_get_different_slots(engine: Engine) -> None:
    record, _ = register(engine, budget=64)
    from caviar.storage.engine import make_engine

    def take(_: int) -> list[int]:
        own = make_engine(engine.url)
        who = ledger(own, record)
        taken = []
        while (found := who.lease()) is not None:
            taken.append(found.slot.number)
        own.dispose()
        return taken

    with ThreadPoolExecutor(8) as pool:
        taken = [number for numbers in pool.map(take, range(8)) for number in numbers]
    assert sorted(taken) == list(range(64))


def test_an_expired_lease_is_taken_over_with_its_trial_and_told(engine: Engine) -> None:
    record, _ = register(engine)
    first, second = ledger(engine, record), ledger(engine, record, pid=2)
    log = workers.log(engine, record)
    lost = lease_of(first.lease())
    trial_id = log.begin(lost, PARAMETERS, {"worker": "test:1", "tier": 1})
    log.record([Report(lost, EPOCH, 0.7)])
    expire(engine, lost)
    again = lease_of(second.lease())
    assert (again.slot.number, again.trial_id, again.epoch, again.attempts) == (0, trial_id, 1, 2)
    told = read_events(engine, record.study_id, "lease expired", "taken over")
    assert [(e.kind, e.slot, e.worker, e.detail) for e in told] == [
        ("lease expired", 0, "test:1", {"epoch": 1}), ("taken over", 0, "test:2", {"epoch": 1}),
    ]  # fmt: skip
    (frozen,) = optuna.load_study(study_name="small", storage=engine.url.render_as_string(hide_password=False)).trials
    assert (frozen.user_attrs["worker"], frozen.user_attrs["tier"]) == ("test:2", 1)


@pytest.mark.parametrize("with_state", [False, True])
def test_a_trial_that_is_given_back_says_who_held_it_and_who_does(engine: Engine, with_state: bool) -> None:
    record, _ = register(engine)
    first, second = ledger(engine, record), ledger(engine, record, pid=2)
    log, store = workers.log(engine, record), CheckpointStore(engine, record)
    held = lease_of(first.lease())
    log.begin(held, PARAMETERS, {"worker": "test:1"})
    log.record([Report(held, EPOCH, 0.7)])
    if with_state:
        store.save(held, store.stage(held, 1, b"state"), release=True)
    else:
        first.release(held)
        first.release(held)  # which tells nothing more
    assert lease_of(second.lease()).slot.number == 0
    told = read_events(engine, record.study_id, "given back", "taken over", "lease expired")
    assert [(e.kind, e.slot, e.worker) for e in told] == [("given back", 0, "test:1"), ("taken over", 0, "test:2")]
    assert read_trials(engine, record.study_id)[0].attributes["worker"] == "test:2"


def test_a_slot_without_a_trial_has_no_holders(engine: Engine) -> None:
    record, _ = register(engine)
    who = ledger(engine, record)
    who.release(lease_of(who.lease()))
    who.lease()
    assert read_events(engine, record.study_id, "given back", "taken over") == []


def test_a_worker_that_lost_its_lease_writes_nothing(engine: Engine) -> None:
    record, _ = register(engine)
    first, second = ledger(engine, record), ledger(engine, record)
    log, store = workers.log(engine, record), CheckpointStore(engine, record)
    lost = lease_of(first.lease())
    trial_id = log.begin(lost, PARAMETERS, {})
    expire(engine, lost)
    held = lease_of(second.lease())
    before = read_trials(engine, record.study_id)
    for write in (
        lambda: log.finish(lost, trial_id, "COMPLETE", 0.7, {}),
        lambda: log.begin(lost, PARAMETERS, {}),
        lambda: store.save(lost, store.stage(lost, 1, b"state")),
        lambda: store.save(lost, store.stage(lost, 1, b"state"), release=True),
    ):
        with pytest.raises(LeaseLost):
            write()
    assert first.renew([lost]) == {}
    assert log.record([Report(lost, EPOCH, 0.7)]) == {}
    first.release(lost)
    assert read_trials(engine, record.study_id) == before
    assert read_curve(engine, record.study_id, 0) == []
    assert store.load(0) is None
    assert second.renew([held])
    log.record([Report(held, EPOCH, 0.7)])
    assert read_curve(engine, record.study_id, 0) == [EPOCH]


def test_an_expired_lease_that_nobody_took_is_still_held(engine: Engine) -> None:
    record, _ = register(engine)
    only = ledger(engine, record)
    held = lease_of(only.lease())
    expire(engine, held)
    assert only.renew([held])
    assert lease_of(only.lease()).slot.number == 1


def test_a_released_slot_is_next(engine: Engine) -> None:
    record, _ = register(engine)
    who = ledger(engine, record)
    first = lease_of(who.lease())
    who.lease()
    who.release(first)
    assert lease_of(who.lease()).slot.number == 0


def test_a_paused_study_leases_nothing(engine: Engine) -> None:
    record, _ = register(engine)
    who = ledger(engine, record)
    set_control(engine, record.study_id, "pause", why="test")
    assert who.lease() is None
    assert who.standing().control == "pause"
    set_control(engine, record.study_id, "run")
    assert who.lease() is not None


def test_only_the_dead_of_this_machine_lose_their_leases(engine: Engine) -> None:
    record, _ = register(engine)
    dead, alive = ledger(engine, record, pid=11, machine="here"), ledger(engine, record, pid=12, machine="here")
    elsewhere = ledger(engine, record, pid=11, machine="there")
    for who in (dead, alive, elsewhere):
        who.lease()
    assert leases_on(engine, record.study_id, "here") == {11, 12}
    assert release_dead(engine, record.study_id, "here", {11: WorkerDeath()}) == 1
    assert lease_of(alive.lease()).slot.number == 0
    assert [e.kind for e in read_events(engine, record.study_id)] == ["created", "worker died"]


def test_an_epoch_that_is_trained_again_replaces_itself(engine: Engine) -> None:
    record, _ = register(engine)
    held = lease_of(ledger(engine, record).lease())
    log = workers.log(engine, record)
    log.begin(held, PARAMETERS, {})
    for _ in range(2):
        log.record([Report(held, EPOCH, 0.7)])
    assert read_curve(engine, record.study_id, 0) == [EPOCH]


def test_a_checkpoint_is_checked_when_it_is_read(engine: Engine) -> None:
    record, _ = register(engine)
    held = lease_of(ledger(engine, record).lease())
    store = CheckpointStore(engine, record)
    store.save(held, store.stage(held, 1, b"first"))
    store.save(held, store.stage(held, 2, b"second"))
    assert store.load(0) == b"second"
    with engine.begin() as connection:
        connection.execute(text("UPDATE caviar.checkpoint SET state = 'secont'"))
    with pytest.raises(DamagedCheckpoint):
        store.load(0)


def test_attributes_are_json_as_optuna_writes_it(engine: Engine) -> None:
    record, _ = register(engine)
    held = lease_of(ledger(engine, record).lease())
    attributes = {"momentum": 0.9, "zoom": {"learning_rate": [0.1, 0.2]}, "phase": 'a "quote"'}
    workers.log(engine, record).begin(held, PARAMETERS, attributes)
    assert read_trials(engine, record.study_id)[0].attributes == json.loads(json.dumps(attributes))


def test_a_definition_comes_back_as_it_was_with_its_hyperparameters_in_order(engine: Engine) -> None:
    record, study = register(engine)
    assert list(definition_of(record).scales()) == list(study.scales())
    assert definition_of(record) == study


def test_a_trial_that_somebody_asked_to_end_ends_with_its_worker(engine: Engine) -> None:
    record, _ = register(engine)
    held = lease_of(ledger(engine, record, pid=11, machine="here").lease())
    log = workers.log(engine, record)
    trial_id = log.begin(held, PARAMETERS, {})
    log.record([Report(replace(held, trial_id=trial_id), EPOCH, 0.7)])
    assert not kill_trial(engine, record, 0)
    assert release_dead(engine, record.study_id, "here", {11: WorkerDeath("it hung", "a stack")}) == 1
    trial = read_trials(engine, record.study_id)[0]
    assert (trial.state, trial.value) == ("pruned", 0.7)
    (died,) = read_events(engine, record.study_id, "worker died")
    assert died.detail == {"epoch": 1, "why": "it hung", "traceback": "a stack"}


@pytest.mark.parametrize(("phase", "is_loss", "state"), [
    ("random", True, "abandoned"), ("random", False, "open"), ("day", True, "open"), ("look", True, "open"),
])  # fmt: skip
def test_a_slot_is_abandoned_after_losses_that_may_be_its_fault(
    engine: Engine, phase: str, is_loss: bool, state: str
) -> None:
    record, _ = register(engine, budget=3, strategy="random")
    with engine.begin() as connection:
        connection.execute(text("UPDATE caviar.slot SET phase = :phase"), {"phase": phase})
    for _ in range(LIMIT):
        lease_of(ledger(engine, record, pid=11, machine="here").lease())
        release_dead(engine, record.study_id, "here", {11: WorkerDeath("it hung", is_loss=is_loss)})
    assert read_trials(engine, record.study_id)[0].state == state
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT losses FROM caviar.slot WHERE number = 0")) == LIMIT * is_loss
    told = [event.detail["why"] for event in read_events(engine, record.study_id, "abandoned")]
    assert told == ["lost 5 times after epoch 0 without getting further; last: it hung"] * (state == "abandoned")


def test_a_slot_whose_training_itself_ends_its_workers_is_abandoned_once_it_was_alone(engine: Engine) -> None:
    record, _ = register(engine, budget=3, strategy="random")
    for losses in range(1, OWN_LIMIT + 1):
        lease_of(ledger(engine, record, pid=11, machine="here").lease())
        release_dead(engine, record.study_id, "here", {11: WorkerDeath("it hung", is_own=True)})
        state = read_trials(engine, record.study_id)[0].state
        assert state == ("abandoned" if losses == OWN_LIMIT > SUSPECT else "open")


@pytest.mark.parametrize(("epochs", "state", "value"), [(2, "pruned", 0.7), (0, "fail", None)])
def test_a_trial_that_took_too_long_is_over_and_others_of_its_worker_are_not(
    engine: Engine, epochs: int, state: str, value: float | None
) -> None:
    record, _ = register(engine, strategy="random")
    who, log = ledger(engine, record, pid=11, machine="here"), workers.log(engine, record)
    late, other = lease_of(who.lease()), lease_of(who.lease())
    for lease in (late, other):
        log.begin(lease, PARAMETERS, {})
    log.record([Report(late, replace(EPOCH, epoch=n), None if n == 2 else 0.7) for n in range(1, epochs + 1)] or [
        Report(other, EPOCH, 0.5)
    ])  # fmt: skip
    death = WorkerDeath("took longer", "a stack", is_loss=False, overdue=late.slot.number)
    assert release_dead(engine, record.study_id, "here", {11: death}) == 2
    first, second = read_trials(engine, record.study_id)[:2]
    assert (first.state, first.value, first.attributes["why it stopped"]) == (state, value, "took longer")
    assert second.state == "interrupted"
    with engine.connect() as connection:
        slots = connection.execute(text("SELECT state, losses FROM caviar.slot ORDER BY number LIMIT 2")).all()
    assert slots == [("done", 0), ("open", 0)]
    (event,) = read_events(engine, record.study_id, "timed out")
    assert (event.slot, event.detail) == (0, {"epoch": epochs, "why": "took longer", "traceback": "a stack"})


def test_under_an_earlier_lease_of_the_same_slot_nothing_is_written(engine: Engine) -> None:
    """A batch with epochs of two leases of one slot: both of one worker, the first one lost."""
    record, _ = register(engine)
    who, log = ledger(engine, record), workers.log(engine, record)
    old = lease_of(who.lease())
    log.begin(old, PARAMETERS, {})
    expire(engine, old)
    new = lease_of(who.lease())
    assert new.slot.number == old.slot.number
    late = [Report(old, replace(EPOCH, epoch=number), 0.7) for number in (5, 6)]
    assert list(log.record([*late, Report(new, EPOCH, 0.7)])) == [new.key]
    assert read_curve(engine, record.study_id, 0) == [EPOCH]
    (frozen,) = optuna.load_study(study_name="small", storage=engine.url.render_as_string(hide_password=False)).trials
    assert frozen.intermediate_values == {1: 0.7}
    assert list(who.renew([old, new])) == [new.key]


def test_a_slot_that_its_worker_trains_is_not_leased_to_it_once_more(engine: Engine) -> None:
    """Its lease expired while the database was away, and the worker is about to take it back."""
    record, _ = register(engine, budget=5, strategy="random")
    who = ledger(engine, record)
    lease_of(who.lease())
    first = lease_of(who.lease())
    beside = who.lease_more(first, 3)
    assert [lease.slot.number for lease in beside] == [2, 3, 4]
    with engine.begin() as connection:
        connection.execute(text("UPDATE caviar.slot SET expires_at = now() - interval '1 s' WHERE number IN (2, 3, 4)"))
    assert who.lease_more(first, 3, at_work=[1, 2, 3, 4]) == []
    assert all(who.retake(lease) for lease in beside)


def test_further_leases_whose_answer_was_lost_are_given_back(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """The worker asks for one when it comes back, for the cohort that they were for has ended."""
    record, _ = register(engine, budget=20, strategy="random")
    who = ledger(engine, record)
    lease_of(who.lease())
    first = lease_of(who.lease())

    def lost(*_: object) -> None:
        raise OperationalError("COMMIT", {}, Exception("the answer was lost"))

    with monkeypatch.context() as cut:
        cut.setattr(who, "_leased", lost)
        with pytest.raises(OperationalError):
            who.lease_more(first, 3)
    assert (who.standing().open, who.standing().leased) == (15, 5)
    assert lease_of(who.lease()).slot.number == 2
    assert (who.standing().open, who.standing().leased) == (17, 3)
    assert lease_of(who.lease()).slot.number == 3


def test_slots_without_a_trial_cost_nothing_to_take_back(engine: Engine) -> None:
    """Their trials, which they do not have, are not looked for."""
    record, _ = register(engine, budget=200)
    seen: list[tuple[str, Any]] = []

    def see(_c: object, _u: object, statement: str, parameters: Any, *_: object) -> None:
        seen.append((statement, parameters))

    with engine.begin() as connection:
        event.listen(engine, "before_cursor_execute", see)
        assert reap(connection, record.study_id) == 0
        event.remove(engine, "before_cursor_execute", see)
        ((statement, parameters),) = seen
        plan = connection.exec_driver_sql(f"EXPLAIN (ANALYZE) {statement}", parameters).scalars().all()
    assert [line for line in plan if " trials" in line and "never executed" not in line] == []
