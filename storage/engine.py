"""One way to reach the database: how connections are made, and what is said when there is none."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import psycopg2
from psycopg2.errors import InsufficientPrivilege
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL, Dialect
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DBAPIError, OperationalError, ProgrammingError
from sqlalchemy.pool import ConnectionPoolEntry

from caviar.storage import migrate
from caviar.storage.embedded import serve
from caviar.storage.errors import DatabaseRefused, DatabaseUnreachable
from caviar.storage.outage import Outage, is_busy
from caviar.storage.settings import Settings
from caviar.storage.timing import PATIENCE
from caviar.storage.waiting import limit_waits

_LIMITS = {"statement_timeout": "30s", "idle_in_transaction_session_timeout": "60s"}


def make_engine(url: URL) -> Engine:
    """Make an engine of at most two connections, each checked before use.

    The limits on a silent line are libpq's (https://www.postgresql.org/docs/current/libpq-connect.html): it is noticed
    after some 15 seconds instead of never. Those on statements are the server's: a worker that is frozen in the middle
    of a transaction holds nobody up for longer than that. Those on a server that never answers are `waiting`'s.
    """
    engine = create_engine(
        url,
        pool_size=1,
        max_overflow=1,
        pool_pre_ping=True,
        connect_args={
            "application_name": "caviar",
            "keepalives_idle": 10,  # seconds
            "keepalives_interval": 5,  # seconds
            "keepalives_count": 2,
            "tcp_user_timeout": 15_000,  # milliseconds
            "options": " ".join([str(url.query.get("options", "")), *(f"-c {n}={v}" for n, v in _LIMITS.items())]),
        },
    )
    event.listen(engine, "do_connect", partial(_connect_through_a_pooler, engine))
    limit_waits()
    return engine


def _connect_through_a_pooler(
    engine: Engine,
    dialect: Dialect,
    record: ConnectionPoolEntry,  # noqa: ARG001
    arguments: list[Any],
    parameters: dict[str, Any],
) -> DBAPIConnection:
    """Connect. PgBouncer, whose server connections are shared, takes no options: each transaction says the limits."""
    try:
        return dialect.connect(*arguments, **parameters)
    except psycopg2.OperationalError as error:
        if "unsupported startup parameter" not in str(error):
            raise
        if not event.contains(engine, "begin", _set_limits):
            event.listen(engine, "begin", _set_limits)
        return dialect.connect(*arguments, **{**parameters, "options": ""})


def _set_limits(connection: Connection) -> None:
    for name, value in _LIMITS.items():
        connection.exec_driver_sql(f"SET LOCAL {name} = '{value}'")


@contextmanager
def open_database(
    settings: Settings,
    notify: Callable[[str], None] | None = None,
    *,
    create: bool = True,
    outage: Outage | None = None,
    hurry: Callable[[], bool] | None = None,
) -> Iterator[Engine]:
    """Open the database that `settings` name, starting the built-in server where they name none.

    A server that is there and has no connection left, or is just starting, is waited for.

    Args:
        notify: told, a line each, what a person would want to know about the server.
        create: make the tables where there are none, and check the schema's version; False leaves both to the
            caller.
        outage: waits for a database that does not answer, too.
        hurry: shortens every wait for a server that is busy or does not answer.

    Raises:
        DatabaseUnreachable: no connection could be made, or it was lost while the context lasted.
        DatabaseAway: no connection could be made for longer than the patience.
        DatabaseRefused: the address has an option that libpq does not know, or the role lacks a right.
        EmbeddedServerError: the built-in server could not be made or started.
        SchemaMismatch: the database's schema is older or newer than this program.
    """
    tell = notify or _say_nothing
    limit_waits(hurry)
    if settings.database_url is None:
        with serve(settings.home, tell) as url, _opened(url, tell, create, outage, hurry) as engine:
            yield engine
    else:
        with _opened(settings.database_url, tell, create, outage, hurry) as engine:
            yield engine


@contextmanager
def _opened(
    url: URL, notify: Callable[[str], None], create: bool, outage: Outage | None, hurry: Callable[[], bool] | None
) -> Iterator[Engine]:
    engine = make_engine(url)
    reached = False
    try:
        if outage is not None:
            outage.insist(lambda: _connect(engine))
        else:
            _connect_when_free(engine, notify, hurry)
        reached = True
        if create and outage is not None:
            outage.insist(lambda: migrate.ensure_schema(engine))
        elif create:
            migrate.ensure_schema(engine)
        yield engine
    except OperationalError as error:
        raise DatabaseUnreachable(_lost(url, error) if reached else _unreachable(url, error)) from error
    except ProgrammingError as error:
        # An option that libpq does not know, or a right that the role has not; anything else is a mistake of ours.
        if reached and not isinstance(error.orig, InsufficientPrivilege):
            raise
        raise DatabaseRefused(_refused(url, error)) from error
    finally:
        engine.dispose()


def _connect(engine: Engine) -> None:
    engine.connect().close()


def _connect_when_free(engine: Engine, notify: Callable[[str], None], hurry: Callable[[], bool] | None) -> None:
    """Connect, at once or not at all, unless the server only has no connection left or is starting."""
    try:
        _connect(engine)
    except OperationalError as error:
        if not is_busy(error):
            raise
        notify(f"{_told(engine.url, 'is busy', error)}; waiting for it, up to {PATIENCE / 60:.0f} min")
        Outage(PATIENCE, hurry or (lambda: False)).insist(lambda: _connect(engine))


def _say_nothing(line: str) -> None:
    pass


def _unreachable(url: URL, error: DBAPIError) -> str:
    return (
        f"{_told(url, 'does not answer', error)}; start it or correct the address, "
        f"or unset CAVIAR_DATABASE_URL for the built-in server"
    )


def _lost(url: URL, error: DBAPIError) -> str:
    return f"{_told(url, 'does not answer any more', error)}; once it does, go on with the same command"


def _refused(url: URL, error: DBAPIError) -> str:
    told = _told(url, "refuses", error)
    if not isinstance(error.orig, InsufficientPrivilege):
        return told
    return (
        f"{told}; that is for the role that owns the tables: repeat it with that role's address, "
        f"or let it give this one the rights of a worker: caviar db grant {url.username or 'ROLE'}"
    )


def _told(url: URL, what: str, error: DBAPIError) -> str:
    host = url.host or url.query.get("host") or "localhost"
    lines = str(error.orig).strip().splitlines() or [type(error.orig).__name__]
    return f"PostgreSQL at {host}:{url.port or 5432} {what}: {lines[0].split('failed: ')[-1]}"
