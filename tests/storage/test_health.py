"""What `caviar doctor` reads of the database: facts about the server and its roles, and what was left over."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from sqlalchemy import Engine, text

from caviar.storage import health
from caviar.storage.engine import make_engine
from caviar.storage.events import read_events
from caviar.storage.files import checkpoint_key
from caviar.storage.grants import grant_worker, missing_rights
from caviar.storage.ledger import Ledger
from caviar.storage.records import Lease, Report, StudyRecord
from caviar.storage.unsent import Unsent, UnsentFile, UnsentStates, unsent_files
from tests.helpers.epochs import measured
from tests.helpers.workers import ledger, log, register, register_process, worker

DISTRIBUTION = '{"name": "FloatDistribution", "attributes": {"low": 0.0001, "high": 1.0, "log": true, "step": null}}'


def execute(engine: Engine, statement: str, **parameters: Any) -> None:
    with engine.begin() as connection:
        connection.execute(text(statement), parameters)


def begin(engine: Engine, record: StudyRecord, **process: Any) -> tuple[Ledger, Lease, int]:
    who = ledger(engine, record, **process)
    lease = who.lease()
    assert lease is not None
    return who, lease, log(engine, record).begin(lease, {"learning_rate": (0.1, DISTRIBUTION)}, {})


@pytest.fixture
def role(engine: Engine) -> Iterator[Engine]:
    """The database, as a role that may do nothing in it."""
    execute(engine, "CREATE ROLE nobody_much LOGIN")
    weak = make_engine(engine.url.set(username="nobody_much"))
    yield weak
    weak.dispose()
    execute(engine, "DROP OWNED BY nobody_much")
    execute(engine, "DROP ROLE nobody_much")


def test_the_server_tells_what_it_is(engine: Engine) -> None:
    server = health.read_server(engine)
    assert server.version.startswith(f"{server.number // 10_000}.")
    assert (server.role, server.database, server.read_only) == ("postgres", engine.url.database, False)
    assert server.room == 200 - 3


def test_connections_of_others_are_counted_by_any_role(engine: Engine, role: Engine) -> None:
    """Caviar's own to this database are none of them; those to another one on the same server are."""
    address = engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
    elsewhere = engine.url.set(drivername="postgresql", database="postgres").render_as_string(hide_password=False)
    before = others(engine)
    for of_others, dsn, name in ((20, address, "psql"), (20, elsewhere, "caviar"), (0, address, "caviar")):
        opened = [psycopg2.connect(dsn, application_name=name) for _ in range(20)]
        until(lambda: abs(others(engine) - before - of_others) <= 3)  # noqa: B023 - earlier tests' own may just end
        until(lambda: abs(others(role) - before - of_others) <= 3)  # noqa: B023
        for connection in opened:
            connection.close()
        until(lambda: others(engine) - before <= 3)


def others(engine: Engine) -> int:
    return health.read_server(engine).others


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.05)


def test_a_limit_of_the_role_or_the_database_counts(engine: Engine, role: Engine) -> None:
    assert health.read_server(role).room == 197
    execute(engine, "ALTER ROLE nobody_much CONNECTION LIMIT 7")
    assert health.read_server(role).room == 7
    execute(engine, f"ALTER DATABASE {engine.url.database} CONNECTION LIMIT 5")
    assert health.read_server(role).room == 5


def test_slots_by_study(engine: Engine) -> None:
    record, _ = register(engine)
    register(engine, name="another", budget=6)
    begin(engine, record)
    execute(engine, "UPDATE caviar.slot SET state = 'abandoned' WHERE study_id = :s AND number IN (2, 5)",
            s=record.study_id)  # fmt: skip
    another, small = health.read_studies(engine)
    assert (small.name, small.open, small.leased, small.abandoned, small.done) == ("small", 5, 1, (2, 5), False)
    assert (another.name, another.open, another.leased, another.abandoned) == ("another", 6, 0, ())
    execute(engine, "UPDATE caviar.slot SET state = 'done', token = NULL, expires_at = NULL")
    assert [study.done for study in health.read_studies(engine)] == [True, True]


def test_leases_and_who_holds_them(engine: Engine) -> None:
    record, _ = register(engine)
    begin(engine, record, pid=11, machine="here")
    begin(engine, record, pid=12, machine="there")
    execute(engine, "UPDATE caviar.slot SET expires_at = now() - interval '1 second' WHERE number = 1")
    assert health.read_leases(engine) == [
        health.HeldLease("small", "here", 11, False), health.HeldLease("small", "there", 12, True),
    ]  # fmt: skip
    execute(engine, "DELETE FROM caviar.worker")
    assert [(lease.machine, lease.pid) for lease in health.read_leases(engine)] == [(None, None)] * 2


def test_a_worker_whose_trials_are_shorter_than_its_signs_of_life_is_heard_of(engine: Engine) -> None:
    """It renews no lease, so that nothing but its leases and its trials' ends tells that it lives."""
    record, _ = register(engine)
    who, lease, trial_id = begin(engine, record)
    execute(engine, "UPDATE caviar.worker SET last_seen = now() - interval '1 day'")
    assert health.open_workers(engine)[0].silent == 0
    log(engine, record).record([Report(lease, measured(1, 0.5, 0.6, 0.7, 0.1, 0.01), 0.7)])
    log(engine, record).finish(lease, trial_id, "COMPLETE", 0.7, {})
    execute(engine, "UPDATE caviar.worker SET last_seen = now() - interval '1 day'")
    assert 0 <= health.open_workers(engine)[0].silent < 60
    execute(engine, "UPDATE public.trials SET datetime_complete = datetime_complete - interval '2 hours'")
    assert 7200 <= health.open_workers(engine)[0].silent < 7260
    assert who.lease() is not None
    assert health.open_workers(engine)[0].silent == 0
    execute(engine, "UPDATE caviar.slot SET expires_at = now() - interval '1 second' WHERE state = 'leased'")
    assert health.open_workers(engine)[0].silent < 60  # a lease is a sign of life, too


def test_workers_are_closed_once(engine: Engine) -> None:
    record, _ = register(engine)
    first, second = register_process(engine, record), register_process(engine, record)
    there = health.open_workers(engine)
    assert {w.worker_id for w in there} == {first.worker_id, second.worker_id}
    health.close_workers(engine, [w for w in there if w.worker_id == first.worker_id])
    assert [w.worker_id for w in health.open_workers(engine)] == [second.worker_id]
    execute(engine, "UPDATE caviar.worker SET ended_at = '2020-01-01' WHERE ended_at IS NOT NULL")
    health.close_workers(engine, there)
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM caviar.worker WHERE ended_at < '2021-01-01'")) == 1


def test_only_trials_that_nobody_will_end_are_zombies(engine: Engine) -> None:
    import optuna

    record, _ = register(engine)
    begin(engine, record)
    who, lease, _ = begin(engine, record)
    who.release(lease)
    address = engine.url.render_as_string(hide_password=False)
    optuna.create_study(study_name="of somebody else", storage=address).ask()
    assert health.read_zombies(engine) == []
    begin(engine, record)
    execute(engine, "UPDATE caviar.slot SET state = 'abandoned', token = NULL, expires_at = NULL WHERE number = 0")
    by_hand = optuna.load_study(study_name="small", storage=address).ask()
    found = health.read_zombies(engine)
    assert [(z.study, z.number, z.has_slot, z.age < 60) for z in found] == [
        ("small", 0, True, True), ("small", by_hand.number, False, True),
    ]  # fmt: skip


def test_a_zombie_is_ended_once_and_the_journal_tells(engine: Engine) -> None:
    record, _ = register(engine)
    begin(engine, record)
    execute(engine, "UPDATE caviar.slot SET state = 'done', token = NULL, expires_at = NULL WHERE number = 0")
    zombie = health.read_zombies(engine)[0]
    for _ in range(2):
        health.end_zombie(engine, zombie)
    assert health.read_zombies(engine) == []
    assert [e.detail for e in read_events(engine, record.study_id, "zombie ended")] == [{"trial": 0}]
    execute(engine, "UPDATE public.trials SET state = 'COMPLETE'")
    health.end_zombie(engine, zombie)
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT state FROM public.trials")) == "COMPLETE"


def test_checkpoints_in_the_database_and_in_files(engine: Engine) -> None:
    record, study = register(engine, budget=6, epochs=1)
    worker(engine, record, study).run()
    execute(engine, "DELETE FROM caviar.checkpoint")
    assert health.checkpoint_size(engine) == (0, 0)
    put = "INSERT INTO caviar.checkpoint (study_id, slot, epoch, digest, state, address) VALUES (:s, :n, 1, '', :b, :a)"
    execute(engine, put, s=record.study_id, n=1, b=b"12345", a=None)
    execute(engine, put, s=record.study_id, n=2, b=None, a="file:///shared/two.checkpoint")
    assert health.checkpoint_size(engine) == (1, 5)
    assert health.checkpoint_addresses(engine) == ["file:///shared/two.checkpoint"]
    assert [health.spent_checkpoints(engine, record.study_id, winner) for winner in (-1, 1, 5)] == [2, 1, 2]
    execute(engine, "UPDATE caviar.slot SET state = 'open' WHERE number = 2")
    assert health.spent_checkpoints(engine, record.study_id, -1) == 1
    assert health.slot_states(engine, record.study_id) == {n: "open" if n == 2 else "done" for n in range(6)}


def test_the_rights_that_a_role_lacks(engine: Engine, role: Engine) -> None:
    assert missing_rights(engine) == []
    missing = missing_rights(role)
    assert {"SELECT on caviar.slot", "UPDATE on caviar.slot", "INSERT on public.trials", "DELETE on caviar.checkpoint",
            "USAGE on SCHEMA caviar", "USAGE on SEQUENCE trials_trial_id_seq"} <= set(missing)  # fmt: skip
    assert len(set(missing)) == len(missing)
    grant_worker(engine, "nobody_much")
    assert missing_rights(role) == []
    for right, name in (("INSERT", "caviar.event"), ("USAGE", "SEQUENCE public.trials_trial_id_seq"),
                        ("USAGE", "SCHEMA caviar")):  # fmt: skip
        execute(engine, f"REVOKE {right} ON {name} FROM nobody_much")
        assert missing_rights(role) == [f"{right} on {name}".replace("public.", "")]
        execute(engine, f"GRANT {right} ON {name} TO nobody_much")
    execute(engine, "REVOKE UPDATE ON caviar.slot FROM nobody_much")
    execute(engine, "REVOKE UPDATE (state, attempts, losses, kill, trial_id, epoch, token, expires_at, worker_id) "
                    "ON caviar.slot FROM nobody_much")  # fmt: skip
    assert missing_rights(role) == ["UPDATE on caviar.slot"]


def test_unsent_files_are_told_by_their_names(engine: Engine, tmp_path: Path) -> None:
    assert unsent_files(tmp_path) == []
    record, _ = register(engine, name="a-1.b")
    UnsentStates(tmp_path, record).keep(12, Unsent(1, [], b"state"))
    path = next((tmp_path / "unsent").iterdir())
    half = path.with_suffix(f".{os.getpid()}")
    half.write_bytes(b"")
    (path.parent / "notes.txt").write_bytes(b"")
    assert unsent_files(tmp_path) == [
        UnsentFile(half, record.label, 12, os.getpid()), UnsentFile(path, record.label, 12, None),
    ]  # fmt: skip


def test_checkpoints_have_one_key_on_all_machines() -> None:
    keys = {checkpoint_key(f"{root}/a-2026/3-1-0a.checkpoint") for root in ("file:///mnt", "file:///srv/x", "s3://b/c")}
    assert keys == {("a-2026", "3-1-0a.checkpoint")}
