"""The note on a study, as Optuna's dashboard reads and writes it, on a real database."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna_dashboard import get_note, save_note
from optuna_dashboard._note import get_note_from_system_attrs, save_note_with_version
from sqlalchemy import Engine, event, text
from sqlalchemy.exc import OperationalError, ProgrammingError

from caviar.storage.control import set_control
from caviar.storage.engine import make_engine
from caviar.storage.events import read_events
from caviar.storage.notes import BEGIN, END, note_turn, write_note
from caviar.storage.records import StudyRecord
from caviar.studies.dashboard.noting import Noter, keep_note
from caviar.studies.lifecycle.manager import extend_study, open_study, progress
from caviar.studies.results.winner import conclude
from tests.postgres.fleet_for_tests import ledger, register, worker
from tests.studies_for_tests import small_study


def theirs(engine: Engine) -> optuna.Study:
    return optuna.load_study(study_name="small", storage=engine.url.render_as_string(hide_password=False))


def shown(engine: Engine) -> str:
    return get_note(theirs(engine))


def execute(engine: Engine, statement: str) -> None:
    with engine.begin() as connection:
        connection.execute(text(statement))


def a_minute_later(engine: Engine) -> None:
    execute(engine, "UPDATE caviar.study SET noted_at = noted_at - interval '61 s'")


def noted_at(engine: Engine) -> Any:
    with engine.connect() as connection:
        return connection.scalar(text("SELECT noted_at FROM caviar.study"))


def test_it_is_there_from_the_beginning_and_tells_the_winner_at_the_end(engine: Engine) -> None:
    record, study = register(engine)
    assert "## `small`: waiting for a worker, 0 of 8 trials" in shown(engine)
    worker(engine, record, study).run()
    conclude(engine, record, Path("nowhere"))
    best = progress(engine, record).best
    assert best is not None
    assert f"**Winner: trial {best.slot.number}**, accuracy {best.value:.4g}" in shown(engine)
    assert "measured once" in shown(engine)
    before = noted_at(engine)
    conclude(engine, record, Path("nowhere"))
    open_study(engine, study)
    assert noted_at(engine) == before  # nothing has happened since


def test_a_worker_brings_it_up_to_date_while_it_trains(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    record, study = register(engine)
    a_minute_later(engine)
    who = worker(engine, record, study)
    told: list[str] = []
    keep_up = who.context.noter.keep_up

    def after_a_minute() -> None:
        who.context.noter._tried -= 61
        keep_up()
        told.append(shown(engine))

    monkeypatch.setattr(who.context.noter, "keep_up", after_a_minute)
    who.run()
    assert "running, 0 of 8 trials, 1 trial at 1 worker" in told[0]
    assert set(told) == {told[0]}  # the others came within the minute


def test_where_it_is_not_due_a_worker_makes_one_statement_in_a_minute(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    record, _ = register(engine)
    noter = Noter(engine, record)
    clock = time.monotonic()
    monkeypatch.setattr("caviar.studies.dashboard.noting.time.monotonic", lambda: clock)
    statements: list[str] = []

    @event.listens_for(engine, "before_cursor_execute")
    def count(conn: Any, cursor: Any, statement: str, *rest: Any) -> None:
        statements.append(statement)

    for _ in range(121):
        clock += 1
        noter.keep_up()
    assert len(statements) == 2
    assert all(statement.strip().startswith("SELECT") for statement in statements)


def test_of_many_at_once_one_writes_in_a_minute(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    record, _ = register(engine)
    a_minute_later(engine)
    barrier, lock = threading.Barrier(16), threading.Lock()
    written: list[str] = []

    @event.listens_for(Engine, "before_cursor_execute")
    def see(conn: Any, cursor: Any, statement: str, *rest: Any) -> None:
        if "INSERT INTO public.study_system_attributes (study_id, key, value_json)\n    SELECT" in statement:
            with lock:
                written.append(statement)

    def look(_: int) -> None:
        own = make_engine(engine.url)
        turn = note_turn(own, record.study_id, news=False)
        barrier.wait()
        assert turn is not None  # all have seen that it is due
        write_note(own, record, turn, "part")
        own.dispose()

    try:
        with ThreadPoolExecutor(16) as pool:
            list(pool.map(look, range(16)))
        keep_note(engine, record)
    finally:
        event.remove(Engine, "before_cursor_execute", see)
    assert len(written) == 1


def test_what_a_person_writes_stays_and_is_never_refused(engine: Engine) -> None:
    record, _ = register(engine)
    opened = get_note_from_system_attrs(theirs(engine)._storage.get_study_system_attrs(record.optuna_study_id), None)
    a_minute_later(engine)
    keep_note(engine, record)  # while somebody edits
    body = "# Ours\n\n" + "why α = 0.1? " * 400 + "\n\n" + opened["body"] + "\n\nbelow 'it' \\ \"\n"
    save_note(theirs(engine), body)
    version = theirs(engine)._storage.get_study_system_attrs(record.optuna_study_id)["dashboard:note_ver"]
    assert version == opened["version"] + 1  # the one that the browser asks for
    for _ in range(2):  # one to see that somebody has written, one to write
        assert shown(engine) == body
        a_minute_later(engine)
        set_control(engine, record.study_id, "pause")
        keep_note(engine, record)
    told = shown(engine)
    assert told.startswith("# Ours\n\nwhy α = 0.1? ")
    assert told.endswith("\n\nbelow 'it' \\ \"\n")
    assert told.count(BEGIN) == told.count(END) == 1
    assert "paused" in told
    save_note(theirs(engine), "ours alone")
    for _ in range(3):
        a_minute_later(engine)
        keep_note(engine, record)
    assert shown(engine) == "ours alone"


def test_what_a_person_is_writing_piece_by_piece_is_not_mixed_with_ours(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    record, _ = register(engine)
    study = theirs(engine)
    body = "mine " * 2000 + shown(engine)
    real = study._storage.set_study_system_attr

    def slowly(study_id: int, key: str, value: Any) -> None:
        real(study_id, key, value)
        if key == "dashboard:note_str:1":
            a_minute_later(engine)
            keep_note(engine, record)

    monkeypatch.setattr(study._storage, "set_study_system_attr", slowly)
    save_note_with_version(study._storage, record.optuna_study_id, None, 1, body)
    assert shown(engine) == body


def test_what_a_person_begins_to_write_while_we_do_waits_for_us(engine: Engine) -> None:
    record, _ = register(engine)
    study, body = theirs(engine), "mine " * 2000
    person = threading.Thread(target=save_note, args=(study, body))

    @event.listens_for(engine, "before_cursor_execute")
    def meet(conn: Any, cursor: Any, statement: str, *rest: Any) -> None:
        if "unnest" in statement:
            person.start()
            person.join(1)

    a_minute_later(engine)
    keep_note(engine, record)
    person.join(30)
    assert shown(engine) == body


def test_news_wait_a_moment_for_a_person_who_has_just_written(engine: Engine) -> None:
    record, _ = register(engine)
    save_note(theirs(engine), f"mine\n\n{BEGIN}\n{END}\n\nand mine")
    set_control(engine, record.study_id, "stop")
    keep_note(engine, record, news=True)
    assert "stopped" in shown(engine)
    assert shown(engine).startswith("mine")
    assert shown(engine).endswith("and mine")


def test_news_are_told_at_once_and_once(engine: Engine) -> None:
    record, _ = register(engine)
    before = noted_at(engine)
    keep_note(engine, record, news=True)
    assert noted_at(engine) == before
    set_control(engine, record.study_id, "pause")
    keep_note(engine, record)
    assert noted_at(engine) == before
    keep_note(engine, record, news=True)
    assert "paused" in shown(engine)
    extend_study(engine, record, 12)
    assert "0 of 12 trials" in shown(engine)
    before = noted_at(engine)
    keep_note(engine, record, news=True)
    assert noted_at(engine) == before


def test_the_last_worker_that_leaves_is_news(engine: Engine) -> None:
    record, _ = register(engine)
    held = ledger(engine, record).lease()
    before = noted_at(engine)
    execute(engine, "UPDATE caviar.worker SET ended_at = now()")  # of one whose trial another took over
    keep_note(engine, record, news=True)
    assert held is not None
    assert noted_at(engine) == before
    execute(engine, "UPDATE caviar.slot SET state = 'open', token = NULL, expires_at = NULL, worker_id = NULL")
    keep_note(engine, record, news=True)
    assert noted_at(engine) > before


@pytest.mark.parametrize(
    ("error", "told"),
    [(OperationalError("INSERT", {}, Exception("gone")), []),
     (ProgrammingError("INSERT", {}, Exception("permission denied\nmore")), ["permission denied"]),
     (KeyError("a mistake of ours"), ["'a mistake of ours'"])],
    ids=["away", "refused", "mistake"],
)  # fmt: skip
def test_a_note_that_cannot_be_written_ends_no_worker_and_is_told_once(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, error: Exception, told: list[str]
) -> None:
    record, study = register(engine)
    a_minute_later(engine)

    def fail(*arguments: Any) -> None:
        raise error

    monkeypatch.setattr("caviar.studies.dashboard.noting.write_note", fail)
    monkeypatch.setattr("caviar.studies.dashboard.noting.EVERY_SECONDS", 0)
    worker(engine, record, study, patience=0).run()
    assert progress(engine, record).done == 8
    assert [e.detail["why"] for e in read_events(engine, record.study_id, "note not written")] == told


def test_of_a_study_that_is_deleted_nothing_is_written(engine: Engine) -> None:
    from caviar.storage.definitions import delete_study

    record, _ = register(engine)
    turn_of: Callable[[StudyRecord], Any] = lambda r: note_turn(engine, r.study_id, news=False)  # noqa: E731
    a_minute_later(engine)
    turn = turn_of(record)
    delete_study(engine, record)
    write_note(engine, record, turn, "part")
    keep_note(engine, record, news=True)
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM public.study_system_attributes")) == 0
    open_study(engine, small_study())
    assert "0 of 8 trials" in shown(engine)
