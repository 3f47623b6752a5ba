"""What a watched study is told to look like, against the rows that are there."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import Engine, event, text

from caviar.storage.curves import spent_seconds, unspent_seconds
from caviar.storage.definitions import load_study
from caviar.storage.errors import StudyNotFound
from caviar.storage.losses import free_lost, release_dead
from caviar.storage.processes import machine_id
from caviar.storage.records import Report, WorkerDeath
from caviar.storage.snapshot import PARTS, Snapshot, read_snapshot
from caviar.storage.status import read_progress, read_trials
from caviar.studies.lifecycle.manager import extend_study
from tests.helpers import workers
from tests.helpers.epochs import measured
from tests.helpers.live import add_epoch, finish, let_run
from tests.helpers.workers import ledger, register, worker

PARAMETERS = {"x": (0.5, '{"name": "FloatDistribution", "attributes": {"low": 0, "high": 1}}')}


def best_so_far(values: list[float | None], better: Any) -> list[float]:
    return list(itertools.accumulate((v for v in values if v is not None), better))


@pytest.mark.parametrize(("metric", "direction", "better"), [("accuracy", "maximize", max), ("loss", "minimize", min)])
def test_the_trail_is_the_best_value_so_far_over_the_trials_as_they_ended(
    engine: Engine, metric: str, direction: str, better: Any
) -> None:
    record, study = register(engine, budget=12, epochs=3, metric=metric, direction=direction)
    worker(engine, record, study, cohort=1).run()
    trials = read_trials(engine, record.study_id)
    sound = [t.value if t.state == "complete" and not t.violated else None for t in trials]
    look = read_snapshot(engine, record, maximize=study.maximize)
    assert look.progress == read_progress(engine, record, maximize=study.maximize)
    assert sorted(set(look.trail)) == sorted(set(best_so_far(sound, better)))
    assert look.trail[-1] == look.progress.best.value  # type: ignore[union-attr]
    assert len(look.trail) <= PARTS
    assert look.curves == {}


def test_what_an_earlier_look_found_of_spent_slots_is_taken_until_one_more_is_spent(engine: Engine) -> None:
    record = register(engine, budget=8)[0]
    let_run(engine, record, 0, 0.5)
    finish(engine, record, 0, 0.5)
    let_run(engine, record, 1, 0.25)
    first = read_snapshot(engine, record, maximize=True)
    known = replace(first, trail=(0.125, 0.125))

    def looked() -> Snapshot:
        return read_snapshot(engine, load_study(engine, "small"), maximize=True, before=known)

    add_epoch(engine, record, 1, 0.75)
    assert looked().trail == (0.125, 0.5)  # whose last one is the best of today
    assert looked().curves == {1: (0.25, 0.75)}
    finish(engine, record, 1, 0.75)
    assert looked().trail == (0.5, 0.75)
    extend_study(engine, record, 9)  # as many slots are left as before
    assert looked().trail == (0.5, 0.75)


def test_the_seconds_of_spent_slots_are_apart_from_those_of_the_others(engine: Engine) -> None:
    record, _ = register(engine, budget=8)
    let_run(engine, record, 0, 0.5, 0.5)
    finish(engine, record, 0, 0.5)
    let_run(engine, record, 1, 0.25)
    with engine.connect() as connection:
        assert spent_seconds(connection, record.study_id) == 3.0
        assert spent_seconds(connection, record.study_id, [1]) == 1.5
        assert unspent_seconds(connection, record.study_id) == {1: 1.5}


def test_a_trail_of_many_trials_is_read_anew_once_it_looks_another_way(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("caviar.storage.snapshot.PARTS", 2)
    record = register(engine, budget=12)[0]
    look, trails = None, []
    for slot, value in enumerate((0.5, 0.6, 0.1, 0.7, 0.8, 0.2, 0.9, 0.3)):
        let_run(engine, record, slot, value)
        finish(engine, record, slot, value)
        look = read_snapshot(engine, record, maximize=True, before=look)
        trails.append((look.trail_of, look.trail))
    assert [of for of, _ in trails] == [1, 2, 3, 4, 4, 6, 6, 8]  # a fourth may come before it is drawn anew
    assert trails[3][1] == (0.6, 0.7)
    assert trails[4][1] == (0.6, 0.8)
    assert trails[5][1] == (0.6, 0.8)
    assert trails[6][1] == (0.6, 0.9)


def test_a_lost_trial_is_counted_and_whoever_goes_on_with_it_too(engine: Engine) -> None:
    record, study = register(engine)
    first, second = ledger(engine, record, pid=1), ledger(engine, record, pid=2)
    log = workers.log(engine, record)
    lease = first.lease()
    assert lease is not None
    log.begin(lease, PARAMETERS, {})
    for epoch, value in ((1, 0.5), (2, 0.75)):
        log.record([Report(lease, measured(epoch, 1.0, 1.0, value, 0.1, 0.1), value)])

    def look() -> Any:
        return read_snapshot(engine, record, maximize=study.maximize)

    before = look()
    assert before.curves == {0: (0.5, 0.75)}
    assert before.hosts == {"test": 2}
    assert [m.kind for m in before.messages] == ["created"]
    with engine.begin() as connection:
        connection.execute(text("UPDATE caviar.slot SET expires_at = now() - interval '1 s' WHERE number = 0"))
        connection.execute(text("UPDATE caviar.worker SET last_seen = now() - interval '1 hour' WHERE pid = 1"))
    free_lost(engine, record)
    lost = look()
    assert (lost.lost, lost.taken_over, lost.curves, lost.hosts) == (1, 0, {}, {"test": 1})
    assert [m.kind for m in lost.messages] == ["created", "lease expired"]
    assert second.lease() is not None
    again = look()
    assert (again.lost, again.taken_over, again.curves) == (1, 1, {0: (0.5, 0.75)})


def test_a_worker_that_is_known_to_be_dead_is_not_at_work_any_more(engine: Engine) -> None:
    record, study = register(engine)
    for pid in (1, 2):
        assert ledger(engine, record, pid=pid).lease() is not None
    assert release_dead(engine, record.study_id, machine_id(), {1: WorkerDeath()}) == 1
    assert read_snapshot(engine, record, maximize=study.maximize).hosts == {"test": 1}


def test_a_look_is_four_statements(engine: Engine) -> None:
    record, study = register(engine)
    worker(engine, record, study).run()
    statements: list[str] = []

    @event.listens_for(engine, "before_cursor_execute")
    def count(conn: Any, cursor: Any, statement: str, *rest: Any) -> None:
        statements.append(statement)

    read_snapshot(engine, record, maximize=study.maximize)
    assert len(statements) == 4


def test_a_study_that_was_deleted_is_told(engine: Engine) -> None:
    record, _ = register(engine)
    with engine.begin() as connection:
        connection.execute(text("DELETE FROM caviar.study"))
    with pytest.raises(StudyNotFound, match="deleted"):
        read_snapshot(engine, record, maximize=True)
