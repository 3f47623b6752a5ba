"""All migrations applied equal the declared tables; opening a database never changes what is there."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from multiprocessing import get_context

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import CheckConstraint, Engine, inspect, text
from sqlalchemy.engine import URL

from caviar.epoch import BUILT_IN
from caviar.storage import migrate, tables
from caviar.storage.curves import read_curve
from caviar.storage.definitions import load_study
from caviar.storage.engine import make_engine
from caviar.storage.errors import SchemaMismatch
from caviar.storage.records import Provenance
from caviar.storage.test_results import read_test


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


def test_metrics_of_the_revision_before_are_the_same_by_name_and_back(empty: Engine) -> None:
    from alembic import command

    values = [(0.1 + 0.2, 1 / 3, 0.75, 1e-7), (math.nan, math.inf, -math.inf, 1e300), (5e-324, 0.0, 1.0, 0.1)]
    migrate.ensure_schema(empty)
    with empty.begin() as connection:
        connection.execute(text("DROP SCHEMA caviar CASCADE; CREATE SCHEMA caviar"))
        command.upgrade(migrate.alembic_config(connection), "0007")
        connection.execute(text("INSERT INTO caviar.study (name, optuna_study_id, control) VALUES ('old', 1, 'run')"))
        connection.execute(
            text("""
            INSERT INTO caviar.slot (study_id, number, tier, phase, free, state, epoch)
            SELECT study_id, 0, 1, 'explore', '{}', 'open', 3 FROM caviar.study""")
        )
        for number, (training, validation, accuracy, rate) in enumerate(values, start=1):
            row = {"n": number, "t": training, "v": validation, "a": accuracy, "r": rate}
            connection.execute(
                text("""
                INSERT INTO caviar.epoch SELECT study_id, 0, :n, :t, :v, :a, :r, 0.25 FROM caviar.study"""),
                row,
            )
        connection.execute(text("INSERT INTO caviar.test_result SELECT study_id, 0, 0.3, 0.9 FROM caviar.study"))
        connection.execute(text(f"ALTER DATABASE {empty.url.database} SET extra_float_digits = 0"))
    empty.dispose()
    migrate.upgrade(empty)
    with empty.connect() as connection:
        study_id = connection.scalar(text("SELECT study_id FROM caviar.study"))
    assert study_id is not None
    found = read_curve(empty, study_id, 0)
    assert [(e.epoch, e.seconds) for e in found] == [(1, 0.25), (2, 0.25), (3, 0.25)]
    assert str([tuple(e.metrics[name] for name in BUILT_IN) for e in found]) == str(values)  # NaN equals nothing
    assert read_test(empty, study_id, 0) == {"loss": 0.3, "accuracy": 0.9}
    with empty.begin() as connection:
        command.downgrade(migrate.alembic_config(connection), "0007")
        connection.execute(text("SET LOCAL extra_float_digits = 1"))
        columns = ", ".join(BUILT_IN)
        rows = connection.execute(text(f"SELECT {columns} FROM caviar.epoch ORDER BY epoch")).all()
        assert str([tuple(row) for row in rows]) == str(values)
        assert connection.execute(text("SELECT loss, accuracy FROM caviar.test_result")).one() == (0.3, 0.9)


def test_what_an_older_program_knew_of_code_stays_readable(empty: Engine) -> None:
    from alembic import command

    migrate.ensure_schema(empty)
    with empty.begin() as connection:
        connection.execute(text("DROP SCHEMA caviar CASCADE; CREATE SCHEMA caviar"))
        command.upgrade(migrate.alembic_config(connection), "0007")
        connection.execute(text("INSERT INTO caviar.study (name, optuna_study_id, control) VALUES ('old', 1, 'run')"))
        connection.execute(text("INSERT INTO public.studies (study_id, study_name) VALUES (1, 'old')"))
        connection.execute(
            text("INSERT INTO caviar.definition (study_id, version, body, packages, code, data) "
                 "VALUES (1, 1, '{}', '{}', 'c', 'd')")
        )  # fmt: skip
    migrate.upgrade(empty)
    assert load_study(empty, "old").provenance == Provenance({}, "c", "d")


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
