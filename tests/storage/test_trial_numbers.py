"""A trial has the number that Optuna's own counting gives it, whoever makes it, and its slot knows it by its id."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import optuna
import pytest
from sqlalchemy import Connection, Engine, text

import caviar.storage.trials
from caviar.storage.engine import make_engine
from caviar.storage.records import Lease, StudyRecord
from caviar.storage.status import read_trials
from caviar.studies.cli import run
from caviar.studies.lifecycle.manager import extend_study
from tests.helpers.leases import PARAMETERS, lease_of
from tests.helpers.studies import small_study
from tests.helpers.workers import ledger, log, register, worker


def loaded(engine: Engine) -> optuna.Study:
    return optuna.load_study(study_name="small", storage=engine.url.render_as_string(hide_password=False))


def numbers(engine: Engine) -> list[int]:
    """Return the numbers of all trials, by id."""
    with engine.connect() as connection:
        return list(connection.scalars(text("SELECT number FROM public.trials ORDER BY trial_id")))


def test_those_of_several_programs_are_one_row_of_numbers_in_the_order_of_their_begin(engine: Engine) -> None:
    record, _ = register(engine)
    first, second, writes = ledger(engine, record), ledger(engine, record), log(engine, record)
    leases = [lease_of(who.lease()) for who in (first, second, first)]
    program = loaded(engine)
    for step in (lambda: writes.begin(leases[1], PARAMETERS, {}), program.ask,
                 lambda: writes.begin(leases[0], PARAMETERS, {}), program.ask,
                 lambda: writes.begin(leases[2], PARAMETERS, {})):  # fmt: skip
        step()
    assert numbers(engine) == [0, 1, 2, 3, 4]
    assert [t.optuna_number for t in read_trials(engine, record.study_id)][:4] == [2, 0, 4, None]
    assert [t.number for t in loaded(engine).trials] == [0, 1, 2, 3, 4]  # none hides behind another


def test_the_list_of_trials_has_both_numbers_where_they_differ(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CAVIAR_DATABASE_URL", engine.url.render_as_string(hide_password=False))
    monkeypatch.setenv("COLUMNS", "200")
    record, _ = register(engine, budget=3)
    who, writes = ledger(engine, record), log(engine, record)
    writes.begin(lease_of(who.lease()), PARAMETERS, {})
    assert run(["trials", "small"]) == 0
    assert "in Optuna" not in capsys.readouterr().out
    loaded(engine).ask()
    writes.begin(lease_of(who.lease()), PARAMETERS, {})
    assert run(["trials", "small"]) == 0
    assert "in Optuna" in capsys.readouterr().out


def test_many_at_once_get_different_numbers_without_a_gap(engine: Engine) -> None:
    record, _ = register(engine, budget=10)
    who = ledger(engine, record)
    leases = [lease_of(who.lease()) for _ in range(10)]

    def begin(lease: Lease) -> None:
        own = make_engine(engine.url)
        log(own, record).begin(lease, PARAMETERS, {})
        own.dispose()

    def ask(_: int) -> None:
        loaded(engine).ask()

    with ThreadPoolExecutor(6) as pool:
        done = [pool.submit(work, each) for pair in zip(leases, range(10), strict=True)
                for work, each in zip((begin, ask), pair, strict=True)]  # fmt: skip
        for future in done:
            future.result()
    assert sorted(numbers(engine)) == numbers(engine) == list(range(20))


@pytest.mark.parametrize("program", ["caviar", "optuna"])
def test_trials_become_visible_in_the_order_of_their_ids(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, program: str
) -> None:
    """Optuna's cache reads only ids above the highest that it has seen, so a lower one must never come later."""
    record, _ = register(engine)
    who = ledger(engine, record)
    slow, quick = lease_of(who.lease()), lease_of(who.lease())
    drawn, go_on, done = threading.Event(), threading.Event(), threading.Event()
    real = Connection.execute

    def hold(connection: Connection, statement: Any, *arguments: Any, **options: Any) -> Any:
        result = real(connection, statement, *arguments, **options)
        if statement is caviar.storage.trials._BEGIN and arguments[0]["slot"] == slow.slot.number:
            drawn.set()  # and not committed yet
            go_on.wait(20)
        return result

    def begin(lease: Lease) -> None:
        own = make_engine(engine.url)
        log(own, record).begin(lease, PARAMETERS, {"slot": lease.slot.number})
        own.dispose()

    def second() -> None:
        begin(quick) if program == "caviar" else loaded(engine).ask()
        done.set()

    monkeypatch.setattr(Connection, "execute", hold)
    threads = [threading.Thread(target=begin, args=(slow,)), threading.Thread(target=second)]
    threads[0].start()
    assert drawn.wait(20)
    threads[1].start()
    assert not done.wait(0.7)  # the second waits for the first, instead of being seen before it
    go_on.set()
    for thread in threads:
        thread.join(20)
    assert done.is_set()
    with engine.connect() as connection:
        first = connection.scalar(text("SELECT trial_id FROM caviar.slot WHERE number = 0"))
        assert first == connection.scalar(text("SELECT min(trial_id) FROM public.trials"))


def test_a_trial_waits_for_one_that_another_program_is_making_and_counts_it(engine: Engine) -> None:
    """As Optuna's client makes a trial: it locks the study's row, counts, and has not committed yet."""
    record, _ = register(engine)
    lease = lease_of(ledger(engine, record).lease())
    waits = text(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    with ThreadPoolExecutor(1) as pool:
        with engine.begin() as theirs, engine.connect() as looking:
            theirs.execute(text("SELECT 1 FROM public.studies FOR UPDATE"))
            theirs.execute(
                text("INSERT INTO public.trials (number, study_id, state) VALUES (0, :study, 'RUNNING')"),
                {"study": record.optuna_study_id},
            )
            own = make_engine(engine.url)
            begun = pool.submit(log(own, record).begin, lease, PARAMETERS, {})
            until = time.monotonic() + 30
            while not looking.scalar(waits):
                assert time.monotonic() < until
                looking.rollback()
                time.sleep(0.02)
        assert begun.result(30) is not None
        own.dispose()
    assert numbers(engine) == [0, 1]


def began_before(engine: Engine, record: StudyRecord, *slots: int) -> None:
    """Begin trials as version 0.1 did, which gave them the numbers of their slots."""
    with engine.begin() as connection:
        for number in slots:
            connection.execute(
                text("""
                    WITH trial AS (
                        INSERT INTO public.trials (number, study_id, state, datetime_start)
                        VALUES (:number, :optuna, 'RUNNING', now()) RETURNING trial_id
                    ), params AS (
                        INSERT INTO public.trial_params (trial_id, param_name, param_value, distribution_json)
                        SELECT trial_id, name, value, kind FROM trial,
                          unnest(CAST(:names AS text[]), CAST(:values AS float8[]), CAST(:kinds AS text[]))
                          AS p (name, value, kind))
                    UPDATE caviar.slot SET trial_id = trial.trial_id FROM trial WHERE number = :number
                """),
                {"number": number, "optuna": record.optuna_study_id, **_stored()},
            )


def _stored() -> dict[str, list[Any]]:
    from optuna.distributions import distribution_to_json

    study = small_study()
    values = study.proposal({name: scale.default for name, scale in study.scales().items()}).internal
    kinds = study.distributions()
    return {"names": list(values), "values": list(values.values()),
            "kinds": [distribution_to_json(kinds[name]) for name in values]}  # fmt: skip


@pytest.mark.parametrize("slots", [(0, 1, 2), (0, 1, 3), (2,)])
def test_a_study_of_an_earlier_version_goes_on_and_keeps_its_numbers(engine: Engine, slots: tuple[int, ...]) -> None:
    record, study = register(engine, budget=6, epochs=1)
    began_before(engine, record, *slots)
    worker(engine, record, study).run()
    record = extend_study(engine, record, 8)
    loaded(engine).ask()
    worker(engine, record, small_study(budget=8, epochs=1)).run()
    trials = read_trials(engine, record.study_id)
    assert {t.state for t in trials} == {"complete"}
    assert [trials[number].optuna_number for number in slots] == list(slots)
    assert sorted(numbers(engine)) == list(range(9))
    assert len(loaded(engine).trials) == 9


def test_upgrade_of_a_database_in_use(engine: Engine, new_database: Callable[..., Any]) -> None:
    from alembic import command

    from caviar.storage import migrate

    record, study = register(engine, budget=4, epochs=1)
    began_before(engine, record, 1)
    with engine.begin() as connection:
        command.downgrade(migrate.alembic_config(connection), "0007")
        states = "CHECK (state IN ('open', 'leased', 'done', 'abandoned'))"
        connection.execute(
            text(f"ALTER TABLE caviar.slot DROP CONSTRAINT ck_slot_state, ADD CONSTRAINT ck_slot_state {states}")
        )
        connection.execute(text("UPDATE caviar.schema_version SET version_num = '0006'"))
    engine.dispose()
    migrate.upgrade(engine)
    loaded(engine).tell(1, 0.5)
    worker(engine, record, study).run()
    assert [t.state for t in read_trials(engine, record.study_id)] == [
        "complete", "ended elsewhere", "complete", "complete",
    ]  # fmt: skip
