"""All migrations applied equal the declared tables; opening a database never changes what is there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from multiprocessing import get_context

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import CheckConstraint, Engine, inspect, text
from sqlalchemy.engine import URL

from caviar.storage import migrate, tables
from caviar.storage.engine import make_engine
from caviar.storage.errors import SchemaMismatch


@pytest.fixture
def empty(new_database: Callable[..., URL]) -> Iterator[Engine]:
    engine = make_engine(new_database(empty=True))
    yield engine
    engine.dispose()


def test_all_migrations_applied_equal_the_declared_tables(engine: Engine) -> None:
    def only_ours(name: str | None, kind: str, parents: object) -> bool:
        return name == tables.SCHEMA if kind == "schema" else True

    with engine.connect() as connection:
        context = MigrationContext.configure(
            connection,
            opts={"include_schemas": True, "include_name": only_ours, "version_table": tables.VERSION_TABLE,
                  "version_table_schema": tables.SCHEMA, "compare_server_default": True},
        )  # fmt: skip
        assert compare_metadata(context, tables.metadata) == []


def test_check_constraints_are_in_the_migrations_too(engine: Engine) -> None:
    """Alembic does not compare them."""
    declared = {
        (table.name, constraint.name)
        for table in tables.metadata.tables.values()
        for constraint in table.constraints
        if isinstance(constraint, CheckConstraint)
    }
    found = {
        (name, constraint["name"])
        for name in inspect(engine).get_table_names(schema=tables.SCHEMA)
        for constraint in inspect(engine).get_check_constraints(name, schema=tables.SCHEMA)
    }
    assert {(t, f"ck_{t}_{n}" if not str(n).startswith("ck_") else n) for t, n in declared} == found


def test_revisions_are_one_line_and_the_newest_is_known(engine: Engine) -> None:
    with engine.connect() as connection:
        scripts = ScriptDirectory.from_config(migrate.alembic_config(connection))
        assert [scripts.get_current_head()] == scripts.get_heads() == [migrate.newest_revision()]
        assert migrate.revision(connection) == migrate.newest_revision()


def test_an_empty_database_is_made_and_optunas_tables_stay_in_public(empty: Engine) -> None:
    with empty.connect() as connection:
        assert migrate.schema_state(connection) is migrate.SchemaState.EMPTY
    migrate.ensure_schema(empty)
    assert {"slot", "study", "epoch", tables.VERSION_TABLE} <= set(inspect(empty).get_table_names(schema="caviar"))
    public = set(inspect(empty).get_table_names(schema="public"))
    assert {"studies", "trials", "alembic_version"} <= public
    assert not public & {"slot", "study", "epoch", tables.VERSION_TABLE}


def test_a_study_of_the_revision_before_is_upgraded(empty: Engine) -> None:
    from alembic import command

    migrate.ensure_schema(empty)
    with empty.begin() as connection:
        connection.execute(text("DROP SCHEMA caviar CASCADE; CREATE SCHEMA caviar"))
        command.upgrade(migrate.alembic_config(connection), "0003")
        connection.execute(text("INSERT INTO caviar.study (name, optuna_study_id, control) VALUES ('old', 1, 'run')"))
    with pytest.raises(SchemaMismatch, match="run: caviar db upgrade"):
        migrate.ensure_schema(empty)
    migrate.upgrade(empty)
    with empty.connect() as connection:
        assert connection.scalar(text("SELECT name FROM caviar.study")) == "old"


def test_it_works_for_a_role_that_is_called_caviar(empty: Engine) -> None:
    """Its search path begins with the schema of its own name, where Optuna must not look for its tables."""
    import optuna

    with empty.begin() as connection:
        connection.execute(text("CREATE ROLE caviar LOGIN SUPERUSER"))
        connection.execute(text("CREATE SCHEMA AUTHORIZATION caviar"))
    try:
        url = empty.url.set(username="caviar")
        engine = make_engine(url)
        migrate.ensure_schema(engine)
        engine.dispose()
        assert "trials" in inspect(empty).get_table_names(schema="public")
        assert optuna.get_all_study_names(url.render_as_string(hide_password=False)) == []
        migrate.upgrade(engine)
        engine.dispose()
    finally:
        with empty.begin() as connection:
            connection.execute(text("REASSIGN OWNED BY caviar TO postgres"))
            connection.execute(text("DROP OWNED BY caviar"))
            connection.execute(text("DROP ROLE caviar"))


@pytest.mark.parametrize(
    ("version", "message"), [("9999", "newer than this program's"), ("0000", "run: caviar db upgrade")]
)
def test_another_version_is_refused_with_the_next_step(engine: Engine, version: str, message: str) -> None:
    with engine.begin() as connection:
        connection.execute(text(f"UPDATE caviar.schema_version SET version_num = '{version}'"))
    with pytest.raises(SchemaMismatch, match=message):
        migrate.ensure_schema(engine)
    with engine.connect() as connection:
        assert migrate.revision(connection) == version


def _open(url: URL, barrier: object) -> None:
    engine = make_engine(url)
    barrier.wait()  # type: ignore[attr-defined]
    migrate.ensure_schema(engine)
    with engine.connect() as connection:
        assert migrate.schema_state(connection) is migrate.SchemaState.CURRENT
    engine.dispose()


def test_sixteen_processes_start_on_an_empty_database_at_once(new_database: Callable[..., URL]) -> None:
    url = new_database(empty=True)
    context = get_context("spawn")
    barrier = context.Barrier(16)
    processes = [context.Process(target=_open, args=(url, barrier)) for _ in range(16)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
    codes = [process.exitcode for process in processes]
    for process in processes:
        process.kill()
    assert codes == [0] * 16
