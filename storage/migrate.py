"""The database's schema: Optuna's tables as Optuna makes them, and Caviar's by its Alembic migrations.

Opening a database makes the tables where there are none, and never changes tables that are there.
"""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection, Engine, text

from caviar.storage.errors import SchemaMismatch
from caviar.storage.tables import SCHEMA, VERSION_TABLE
from caviar.storage.waiting import patiently

if TYPE_CHECKING:
    from alembic.config import Config

_LOCK = 0x0CA51A8  # of pg_advisory_xact_lock: any number of processes may start on an empty database
MIGRATIONS = Path(__file__).parent / "migrations"


class SchemaState(Enum):
    """How the database's schema stands to this program's."""

    EMPTY = "empty"
    OLDER = "older"
    CURRENT = "current"
    NEWER = "newer"


def newest_revision() -> str:
    """Return the revision that this program needs: migrations are named 0001_..., 0002_... in one line."""
    return max(file.name for file in (MIGRATIONS / "versions").glob("[0-9]*_*.py")).split("_")[0]


def revision(connection: Connection) -> str | None:
    """Return the database's revision; None where Caviar's tables were never made."""
    there = connection.scalar(text("SELECT to_regclass(:name)"), {"name": f"{SCHEMA}.{VERSION_TABLE}"})
    if there is None:
        return None
    return str(connection.scalar(text(f"SELECT version_num FROM {SCHEMA}.{VERSION_TABLE}")))


def schema_state(connection: Connection) -> SchemaState:
    """Compare the database's revision with this program's."""
    found, needed = revision(connection), newest_revision()
    if found is None:
        return SchemaState.EMPTY
    if found == needed:
        return SchemaState.CURRENT
    return SchemaState.OLDER if found < needed else SchemaState.NEWER


def ensure_schema(engine: Engine) -> None:
    """Make the tables in an empty database; check the version of any other.

    Raises:
        SchemaMismatch: the schema is older or newer than this program; nothing was changed.
    """
    with engine.connect() as connection:
        state, found = schema_state(connection), revision(connection)
    if state is SchemaState.EMPTY:
        upgrade(engine)
    elif state is SchemaState.OLDER:
        raise SchemaMismatch(
            f"the database's schema is {found}, this program needs {newest_revision()}: "
            f"stop all workers, then run: caviar db upgrade"
        )
    elif state is SchemaState.NEWER:
        _refuse_newer(found)


def upgrade(engine: Engine) -> None:
    """Bring the schema up to this program's; does nothing where it is.

    Caviar's migrations are one transaction. Optuna makes its own tables before, in its own; where it was
    interrupted, it goes on the next time.

    Raises:
        SchemaMismatch: the schema is newer than this program.
    """
    with patiently(), engine.begin() as connection:
        connection.execute(text("SET LOCAL statement_timeout = 0"))  # others may be at it, and tables may be large
        connection.execute(text("SET LOCAL idle_in_transaction_session_timeout = 0"))  # while Optuna makes its own
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
        state = schema_state(connection)
        if state is SchemaState.NEWER:
            _refuse_newer(revision(connection))
        if state is not SchemaState.CURRENT:
            _make_optuna_tables(engine, connection)
            _run_alembic(connection)


def _refuse_newer(found: str | None) -> None:
    raise SchemaMismatch(
        f"the database's schema is {found}, newer than this program's {newest_revision()}: "
        f"update this clone (git pull, then make run)"
    )


def _make_optuna_tables(engine: Engine, connection: Connection) -> None:
    if connection.scalar(text("SELECT to_regclass('public.studies')")) is not None:
        return
    from optuna.storages import RDBStorage

    # RDBStorage fills in {SCHEMA_VERSION} with str.format, so braces of a password are doubled.
    address = engine.url.render_as_string(hide_password=False).replace("{", "{{").replace("}", "}}")
    # A role whose name is that of a schema has it first in its search path; Optuna's tables belong into public.
    # (Not by a search_path of the connection, which PgBouncer does not take.)
    options = {"pool_size": 1, "execution_options": {"schema_translate_map": {None: "public"}}}
    storage = RDBStorage(address, engine_kwargs=options)
    storage.engine.dispose()


def _run_alembic(connection: Connection) -> None:
    from alembic import command

    connection.execute(text(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}"))
    command.upgrade(alembic_config(connection), "head")


def alembic_config(connection: Connection) -> Config:
    """Return Alembic's configuration for this package's migrations, to be run on `connection`."""
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config
