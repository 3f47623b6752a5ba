"""What one can do who has a worker's password and means harm: what docs/security.md says, and no more.

The tables of that page are read, and each of their statements is made as such a role.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from psycopg2.errors import InsufficientPrivilege
from sqlalchemy import Engine, inspect
from sqlalchemy.exc import DBAPIError

from caviar.storage.checkpoints import CheckpointStore
from caviar.storage.definitions import load_study
from caviar.storage.errors import CheckpointUnreachable
from caviar.storage.events import read_events
from caviar.storage.files import CheckpointFiles
from caviar.storage.grants import RIGHTS, grant_worker
from caviar.storage.states import EventKind
from caviar.studies.cli import run
from caviar.studies.lifecycle.manager import progress
from tests.helpers.faulty_net import StopAfter
from tests.helpers.roles import engine_as, execute, new_role
from tests.helpers.workers import register, worker

PAGE = (Path(__file__).parents[2] / "docs" / "security.md").read_text()
KINDS = ("SELECT", "INSERT", "UPDATE", "DELETE")


def rows_below(head: str) -> list[list[str]]:
    """Return the rows of the page's table that begins with this head, as their cells."""
    _, found, after = PAGE.partition(f"| {head} |")
    assert found, head
    lines = after.partition("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


TABLES = {cells[0].strip("`"): cells[1:] for cells in rows_below("table")}
HARM = [(cells[0].strip("`"), cells[2]) for cells in rows_below("somebody writes")]
STATEMENTS = [(cells[0].strip("`"), cells[1]) for cells in rows_below("statement")]


@pytest.fixture
def enemy(engine: Engine) -> Iterator[Engine]:
    """The database, as a role that `caviar db grant` gave its rights."""
    with new_role(engine) as name:
        assert grant_worker(engine, name) == []
        with engine_as(engine, name) as made:
            yield made


def name_file(enemy: Engine, study: str, slot: int, address: str) -> None:
    """Name a file as the checkpoint of a trial that has ended."""
    execute(
        enemy,
        f"INSERT INTO caviar.checkpoint (study_id, slot, epoch, digest, address) "
        f"SELECT study_id, {slot}, 1, 'x', '{address}' FROM caviar.study WHERE name = '{study}'",
        f"UPDATE caviar.slot SET state = 'done' WHERE number = {slot}",
    )


@pytest.mark.parametrize("checkpoints", ["file://{0}/shared", None])
def test_no_file_is_removed_or_read_because_the_database_names_it(
    engine: Engine, enemy: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, checkpoints: str | None
) -> None:
    """On the owner's machine, and on other workers'."""
    record, other = register(engine, name="one")[0], register(engine, name="other")[0]
    place = CheckpointFiles(f"file://{tmp_path}/shared")
    named = [
        f"file://{tmp_path}/precious",
        f"file://{tmp_path}/precious.checkpoint",
        place.write(f"{other.label}/0-1-aaaaaaaaaaaa", b"of another study"),
        place.write("of-another-database/0-1-aaaaaaaaaaaa", b"of another database"),
        f"file://{tmp_path}/shared/{record.label}/../../precious.checkpoint",
    ]
    name_file(engine, "other", 0, named[2])  # it is in use
    for name in ("precious", "precious.checkpoint"):
        (tmp_path / name).write_text("not Caviar's")
    (tmp_path / "shared" / record.label).mkdir()
    files = sorted(path for path in tmp_path.rglob("*") if path.is_file())
    monkeypatch.setenv("CAVIAR_DATABASE_URL", engine.url.render_as_string(hide_password=False))
    if checkpoints is not None:
        monkeypatch.setenv("CAVIAR_CHECKPOINTS", checkpoints.format(tmp_path))
    for slot, address in enumerate(named):
        name_file(enemy, "one", slot, address)
        with pytest.raises(CheckpointUnreachable, match="set"):
            CheckpointStore(engine, record).load(slot)
    CheckpointStore(engine, record).keep_only(0)
    name_file(enemy, "one", 1, named[1])
    run(["doctor", "--fix"])
    assert run(["delete", "one", "--yes"]) == 0
    assert sorted(path for path in tmp_path.rglob("*") if path.is_file()) == files


def is_refused(enemy: Engine, statement: str) -> bool:
    """Make a statement as the enemy; return True if it lacks the right to."""
    with enemy.connect() as connection:
        if statement.startswith("ALTER SYSTEM"):  # which PostgreSQL takes outside of transactions only
            connection = connection.execution_options(isolation_level="AUTOCOMMIT")
        try:
            connection.exec_driver_sql(statement.replace("%", "%%"))
        except DBAPIError as error:
            return isinstance(error.orig, InsufficientPrivilege)
        return False


def may(enemy: Engine, statements: Sequence[str]) -> list[bool]:
    """Return for each statement whether the enemy has the right to it; nothing of it stays."""
    found = []
    with enemy.connect() as connection:
        for statement in statements:
            mark = connection.begin_nested()
            try:
                connection.exec_driver_sql(statement)
                found.append(True)
            except DBAPIError as error:  # a constraint, say, which is asked after the rights
                found.append(not isinstance(error.orig, InsufficientPrivilege))
            mark.rollback()
    return found


def test_the_page_has_the_rights_that_a_role_is_given() -> None:
    given = {
        table: [
            "yes" if "SELECT" in rights else "",
            "yes" if "INSERT" in rights else "",
            ", ".join(f"`{c}`" for right in rights if right[:6] == "UPDATE" for c in re.findall(r"[a-z_]+", right)),
            "yes" if "DELETE" in rights else "",
        ]
        for table, rights in RIGHTS.items()
    }  # fmt: skip
    assert given == TABLES


@pytest.mark.parametrize("table", TABLES)
def test_an_enemy_can_do_with_each_column_what_the_page_says(engine: Engine, enemy: Engine, table: str) -> None:
    register(engine)
    schema, _, name = table.partition(".")
    columns = [column["name"] for column in inspect(engine).get_columns(name, schema=schema)]
    read, insert, update, delete = TABLES[table]
    assert set(re.findall(r"`(\w+)`", update)) <= set(columns)
    assert may(enemy, [f"SELECT {column} FROM {table}" for column in columns]) == [read == "yes"] * len(columns)
    inserts = [f"INSERT INTO {table} ({column}) VALUES (DEFAULT)" for column in columns]
    assert may(enemy, inserts) == [insert == "yes"] * len(columns)
    updates = [f"UPDATE {table} SET {column} = {column}" for column in columns]  # a default may need a sequence
    assert may(enemy, updates) == [f"`{column}`" in update for column in columns]
    assert may(enemy, [f"DELETE FROM {table}"]) == [delete == "yes"]
    never = [
        f"TRUNCATE {table} CASCADE", f"DROP TABLE {table} CASCADE", f"ALTER TABLE {table} ADD COLUMN more integer",
        f"ALTER TABLE {table} DROP COLUMN {columns[0]}", f"ALTER TABLE {table} OWNER TO CURRENT_USER",
        f"ALTER TABLE {table} DISABLE TRIGGER ALL", f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY",
        f"CREATE INDEX ON {table} ({columns[0]})", f"COMMENT ON TABLE {table} IS 'mine'",
        f"CREATE TRIGGER mine BEFORE INSERT ON {table} EXECUTE FUNCTION suppress_redundant_updates_trigger()",
        f"CREATE RULE mine AS ON INSERT TO {table} DO INSTEAD NOTHING",
    ]  # fmt: skip
    assert [one for one, allowed in zip(never, may(enemy, never), strict=True) if allowed] == []


@pytest.mark.parametrize(("statement", "said"), STATEMENTS)
def test_an_enemy_can_make_the_statements_that_the_page_says(
    engine: Engine, enemy: Engine, statement: str, said: str
) -> None:
    register(engine)
    assert said == "may not" or said.startswith("may: ")
    assert is_refused(enemy, statement) == (said == "may not")


@pytest.mark.parametrize(("statement", "effect"), HARM)
def test_what_an_enemy_writes_harms_trials_and_nothing_else(
    engine: Engine, enemy: Engine, monkeypatch: pytest.MonkeyPatch, statement: str, effect: str
) -> None:
    """The effect on other workers is the page's, and the owner's commands end normally."""
    record, study = register(engine, epochs=3, budget=4, pruner="none")
    worker(engine, record, study, StopAfter(2)).run()  # which leaves a trial with its checkpoint
    before = progress(engine, record)
    execute(enemy, statement)
    opened = []
    monkeypatch.setattr(os, "open", lambda *given, real=os.open, **how: opened.append(given[0]) or real(*given, **how))
    workers = worker(engine, record, study, patience=0.0)
    if effect.startswith("wait"):
        with pytest.raises(CheckpointUnreachable):
            workers.run()
    else:
        workers.run()
    now, kinds = progress(engine, record), {event.kind for event in read_events(engine, record.study_id)}
    assert "/etc/passwd" not in opened
    if effect.startswith(("stop", "wait")):
        assert now.done == before.done
    elif effect.startswith("find nothing"):
        assert now.epochs_trained == before.epochs_trained
    else:
        assert now.done == 4
        assert (now.epochs_trained < 12) == effect.startswith(("end each trial", "leave those trials"))
    assert (EventKind.CHECKPOINT_REFUSED in kinds) == (effect.startswith("begin") and "DELETE" not in statement)
    monkeypatch.setenv("CAVIAR_DATABASE_URL", engine.url.render_as_string(hide_password=False))
    for command in ("status", "trials", "best", "history", "workers", "report", "importance"):
        assert run([command, "small"]) in (0, 1), command
    assert load_study(engine, "small").body == record.body
    assert run(["delete", "small", "--yes"]) == 0


def test_no_function_runs_as_somebody_else_for_an_enemy(engine: Engine) -> None:
    """There is none with the rights of its owner, in Caviar's schema or Optuna's, nor a trigger or a rule."""
    with engine.connect() as connection:
        for query in (
            "SELECT count(*) FROM pg_proc p JOIN pg_namespace n ON n.oid = pronamespace "
            "WHERE nspname IN ('caviar', 'public')",
            "SELECT count(*) FROM pg_trigger WHERE NOT tgisinternal",
            "SELECT count(*) FROM pg_rewrite w JOIN pg_class c ON c.oid = ev_class "
            "JOIN pg_namespace n ON n.oid = relnamespace WHERE nspname IN ('caviar', 'public')",
        ):
            assert connection.exec_driver_sql(query).scalar() == 0, query
