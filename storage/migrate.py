"""The database's schema: Optuna's tables, made by Optuna, and Caviar's, made by Alembic migrations.

Opening an empty database creates the tables. Opening any other never changes them.
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

_LOCK = 0x0CA51A8  # for pg_advisory_xact_lock, since any number of processes may open an empty database at once
MIGRATIONS = Path(__file__).parent / "migrations"


class SchemaState(Enum):
    """How the database's schema compares with the one that this program needs."""

    EMPTY = "empty"
    OLDER = "older"
    CURRENT = "current"
    NEWER = "newer"


def newest_revision() -> str:
    """Return the revision that this program needs. Migrations are named 0001_..., 0002_... and form one line."""
    return max(file.name for file in (MIGRATIONS / "versions").glob("[0-9]*_*.py")).split("_")[0]


def revision(connection: Connection) -> str | None:
    """Return the database's revision, or None if it has no tables of Caviar."""
    there = connection.scalar(text("SELECT to_regclass(:name)"), {"name": f"{SCHEMA}.{VERSION_TABLE}"})
    if there is None:
        return None
    return str(connection.scalar(text(f"SELECT version_num FROM {SCHEMA}.{VERSION_TABLE}")))


def schema_state(connection: Connection) -> SchemaState:
    """Compare the database's revision with this program's."""
    there, needed = revision(connection), newest_revision()
    if there is None:
        return SchemaState.EMPTY
    if there == needed:
        return SchemaState.CURRENT
    return SchemaState.OLDER if there < needed else SchemaState.NEWER


def ensure_schema(engine: Engine) -> None:
    """Create the tables in an empty database, or check the version of the schema.

    Raises:
        SchemaMismatch: the schema is older or newer than this program's; nothing was changed.
    """
    with engine.connect() as connection:
        state, there = schema_state(connection), revision(connection)
    if state is SchemaState.EMPTY:
        upgrade(engine)
    elif state is SchemaState.OLDER:
        raise SchemaMismatch(
            f"the database's schema is {there}, this program needs {newest_revision()}: "
            f"stop all workers, then run: caviar db upgrade"
        )
    elif state is SchemaState.NEWER:
        _refuse_newer(there)


def upgrade(engine: Engine) -> None:
    """Upgrade the schema to this program's version, if it is older or absent.

    Caviar's migrations run in one transaction. Optuna's tables are made before them, by Optuna in its own transaction;
    if that is interrupted, calling this again completes it.

    Raises:
        SchemaMismatch: the schema is newer than this program's.
    """
    with patiently(), engine.begin() as connection:
        connection.execute(text("SET LOCAL statement_timeout = 0"))  # others may be upgrading, and tables may be large
        connection.execute(text("SET LOCAL idle_in_transaction_session_timeout = 0"))  # while Optuna makes its tables
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
        state = schema_state(connection)
        if state is SchemaState.NEWER:
            _refuse_newer(revision(connection))
        if state is not SchemaState.CURRENT:
            _make_optuna_tables(engine, connection)
            _run_alembic(connection)


def _refuse_newer(there: str | None) -> None:
    raise SchemaMismatch(
        f"the database's schema is {there}, newer than this program's {newest_revision()}: "
        f"update this clone (git pull, then make run)"
    )


def _make_optuna_tables(engine: Engine, connection: Connection) -> None:
    if connection.scalar(text("SELECT to_regclass('public.studies')")) is not None:
        return
    from optuna.storages import RDBStorage

    # RDBStorage applies str.format to the address, so braces in a password are doubled.
    address = engine.url.render_as_string(hide_password=False).replace("{", "{{").replace("}", "}}")
    # A role named like a schema has that schema first in its search path, but Optuna's tables belong in public.
    # (PgBouncer would refuse a search_path as an option of the connection.)
    options = {"pool_size": 1, "execution_options": {"schema_translate_map": {None: "public"}}}
    storage = RDBStorage(address, engine_kwargs=options)
    storage.engine.dispose()


def _run_alembic(connection: Connection) -> None:
    from alembic import command

    connection.execute(text(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}"))
    command.upgrade(alembic_config(connection), "head")


def alembic_config(connection: Connection) -> Config:
    """Return Alembic's configuration for running this package's migrations on a connection."""
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config
