"""Through PgBouncer in transaction mode, whose server connections change from one transaction to the next."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from sqlalchemy import Engine, event, text
from sqlalchemy.engine import URL

from caviar.storage.engine import make_engine
from caviar.storage.health import read_server
from caviar.storage.migrate import ensure_schema
from caviar.studies.cli import run
from caviar.studies.doctor.database import connections
from caviar.studies.findings import Level
from caviar.studies.lifecycle.manager import progress
from caviar.studies.results.conclusion import conclude
from tests.helpers.command import Caviar, rows, until
from tests.helpers.pooler import Pooler
from tests.helpers.studies import small_study, write_study
from tests.helpers.workers import register, register_process, worker


@pytest.fixture
def new_pooler() -> Iterator[Callable[..., Pooler]]:
    """Makes poolers in front of databases of the tests' server."""
    made = list[Pooler]()

    def make(url: URL, **settings: Any) -> Pooler:
        owner = Path(str(url.query["host"])).stat().st_uid if os.geteuid() == 0 else None
        made.append(Pooler(url, owner=owner, **settings))
        return made[-1]

    yield make
    for pooler in made:
        pooler.remove()


@pytest.fixture
def pooled(new_database: Callable[..., URL], new_pooler: Callable[..., Pooler]) -> URL:
    """The address of an empty database behind a pooler with four connections for everybody."""
    return new_pooler(new_database(empty=True)).url


def test_a_study_runs_through_a_pooler_from_its_first_table_on(pooled: URL) -> None:
    engine = make_engine(pooled)
    ensure_schema(engine)
    record, study = register(engine, epochs=3)
    worker(engine, record, study).run()
    conclude(engine, record, Path("nowhere"))
    now = progress(engine, record)
    assert (now.done, now.open, now.leased) == (8, 0, 0)
    engine.dispose()


COMMANDS = [
    ["ls"], ["status"], ["status", "small"], ["best", "small"], ["trials", "small"], ["importance", "small"],
    ["curves", "small"], ["report", "small", "-o", "small.html"], ["compare", "small", "other"],
    ["export", "small", "--to", "small.csv"], ["workers"], ["workers", "small", "--all"], ["history", "small"],
    ["plan", "small"], ["db", "check"], ["db", "current"], ["db", "upgrade"], ["doctor"], ["doctor", "--fix"],
    ["join", "small", "--workers", "1"], ["pause", "other"], ["resume", "other"],
    ["enqueue", "other", "learning_rate=0.01"],
    ["extend", "other", "--budget", "12"], ["workers", "other", "--stop", "test"],
    ["stop", "other", "--now"], ["retune", "small", "--name", "again"], ["delete", "again", "--yes"],
    ["best", "small", "--save", "saved"],
]  # fmt: skip


def test_every_command_works_through_a_pooler_that_has_one_connection_for_all(
    engine: Engine, new_pooler: Callable[..., Pooler], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """None holds a transaction while it opens another one: the second would wait for ever."""
    monkeypatch.chdir(tmp_path)
    record, study = register(engine, epochs=3)
    worker(engine, record, study).run()
    other, study = register(engine, name="other", epochs=3)
    one = worker(engine, other, study).context.ledger
    assert one.lease() is not None
    register_process(engine, other)
    url = new_pooler(engine.url, connections=1).url
    monkeypatch.setenv("CAVIAR_DATABASE_URL", url.render_as_string(hide_password=False))
    for command in COMMANDS:
        assert run(command) == 0, (command, capsys.readouterr())


def test_limits_hold_through_a_pooler_by_one_statement_and_options_are_tried_once(
    engine: Engine, new_pooler: Callable[..., Pooler], monkeypatch: pytest.MonkeyPatch
) -> None:
    pooled, real = make_engine(new_pooler(engine.url).url), psycopg2.connect
    statements, options = list[str](), list[str]()

    def connect(*arguments: Any, **parameters: Any) -> Any:
        options.extend([parameters["options"]] if "options" in parameters else [])
        return real(*arguments, **parameters)

    @event.listens_for(pooled, "before_cursor_execute")
    def count(conn: Any, cursor: Any, statement: str, *rest: Any) -> None:
        statements.append(statement)

    monkeypatch.setattr(psycopg2, "connect", connect)
    for _ in range(3):
        with pooled.begin() as connection:
            assert connection.scalar(text("SHOW statement_timeout")) == "30s"
            assert connection.scalar(text("SHOW idle_in_transaction_session_timeout")) == "1min"
        pooled.dispose()
    assert len(statements) == 3 * 3
    assert len(options) == 4
    assert options[1:] == ["", "", ""]


def test_doctor_knows_a_pooler_and_counts_the_servers_connections(
    engine: Engine, new_pooler: Callable[..., Pooler], monkeypatch: pytest.MonkeyPatch
) -> None:
    pooled = make_engine(new_pooler(engine.url, connections=2).url)
    record, _ = register(engine)
    for _ in range(300):
        register_process(engine, record)
    assert not read_server(engine).is_pooled
    (crowded,) = connections(engine)
    assert crowded.level is Level.ERROR
    assert "PgBouncer in transaction mode" in crowded.step
    assert read_server(pooled).is_pooled
    (shared,) = connections(pooled)
    assert shared.level is Level.OK
    assert "through a pooler, which any number of workers share" in shared.message
    monkeypatch.setattr("caviar.studies.doctor.database._CROWDED", 0.001)
    assert "default_pool_size" in connections(pooled)[0].step
    pooled.dispose()


@pytest.mark.slow
def test_a_worker_has_at_most_two_connections_and_its_command_one_more(
    engine: Engine, caviar: list[str], tmp_path: Path
) -> None:
    """Main thread, the one that sends epochs, and heartbeat, counted by the server's own list."""
    machine = Caviar(caviar, engine.url, tmp_path)
    file = write_study(tmp_path / "small.py", small_study(epochs=40, budget=6, strategy="random", pruner="none"))
    command = machine.start("run", file, "--workers", "3", "--lease", "1", "--renew", "0.1")
    counts = list[int]()
    mine = "application_name = 'caviar' AND datname = current_database() AND pid <> pg_backend_pid()"

    def look() -> bool:
        counts.append(rows(engine, f"SELECT count(*) FROM pg_stat_activity WHERE {mine}"))
        return command.poll() is not None

    until(look, 600)
    assert command.returncode == 0, command.communicate()
    assert 4 <= max(counts) <= 2 * 3 + 1
