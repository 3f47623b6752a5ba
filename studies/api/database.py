"""Manage the tables in the database, and the rights of the role that workers use."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Engine

from caviar.storage.grants import grant_worker as grant
from caviar.storage.migrate import SchemaState, newest_revision, revision, schema_state, upgrade
from caviar.storage.settings import without_password
from caviar.studies.api.session import connect


@dataclass(frozen=True)
class SchemaVersion:
    """The version of the tables in a database.

    Attributes:
        state: how it compares with this program's: `EMPTY`, `OLDER`, `CURRENT` or `NEWER`.
        database: the database's revision, such as "0006"; None where there are no tables.
        program: the revision that this program needs.
    """

    state: SchemaState
    database: str | None
    program: str


@dataclass(frozen=True)
class WorkerRole:
    """A role of the database that has the rights of a worker.

    Attributes:
        role: its name.
        address: the database's address for it, with the word PASSWORD where its password belongs.
        surplus: rights that it has from elsewhere and that no worker needs.
    """

    role: str
    address: str
    surplus: tuple[str, ...]


def database_address(*, database: str | Engine | None = None) -> str:
    """Return the database's address in the form that Optuna's own tools accept too.

    The built-in server answers there while any process of Caviar uses it, such as `caviar dashboard`.

    Returns:
        Such as "postgresql+psycopg2://ann:PASSWORD@host/db", with the word PASSWORD in place of a password.

    Examples:
        >>> caviar.database_address()
    """
    with connect(database, create=False) as engine:
        return without_password(engine.url)


def schema_version(*, database: str | Engine | None = None) -> SchemaVersion:
    """Return the version of the tables in a database; nothing is made or changed.

    Examples:
        >>> caviar.schema_version().state.value  # 'current'
    """
    with connect(database, create=False) as engine, engine.connect() as connection:
        return SchemaVersion(schema_state(connection), revision(connection), newest_revision())


def upgrade_database(*, database: str | Engine | None = None) -> str:
    """Bring the tables to this program's version, or make them in an empty database.

    Workers of an older version must be stopped first.

    Returns:
        The revision that the tables have now, such as "0006".

    Raises:
        SchemaMismatch: the tables are newer than this program.
        DatabaseRefused: the role may not change tables.

    Examples:
        >>> caviar.upgrade_database()
    """
    with connect(database, create=False) as engine:
        upgrade(engine)
    return newest_revision()


def grant_worker(role: str, *, database: str | Engine | None = None) -> WorkerRole:
    """Give a role of the database the rights that workers need, and no more.

    It must be called by the role that owns the tables, and again after each `upgrade_database`.

    Args:
        role: the name of a role that was made for workers; not one's own.

    Raises:
        CannotGrant: there is no such role, or it owns the tables.

    Examples:
        >>> caviar.grant_worker("worker").address
    """
    with connect(database) as engine:
        surplus = grant(engine, role)
        address = without_password(engine.url.set(username=role, password="PASSWORD"))
    return WorkerRole(role, address, tuple(surplus))
