"""Connections: open the database, with limits on every wait, and clear errors when it cannot be reached."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any

import psycopg2
from psycopg2.errors import InsufficientPrivilege
from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.engine import URL, Dialect
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import (
    InterfaceError,
    InternalError,
    OperationalError,
    ProgrammingError,
    SQLAlchemyError,
    TimeoutError,
)
from sqlalchemy.pool import ConnectionPoolEntry

from caviar.storage import migrate
from caviar.storage.embedded import serve
from caviar.storage.errors import DatabaseAway, DatabaseReadOnly, DatabaseRefused, DatabaseUnreachable
from caviar.storage.libpq_variables import is_built_in
from caviar.storage.outage import Outage, is_busy, is_read_only, is_refused, reason
from caviar.storage.settings import Settings
from caviar.storage.timing import PATIENCE
from caviar.storage.waiting import limit_waits

_LIMITS = {"statement_timeout": "30s", "idle_in_transaction_session_timeout": "60s"}


def make_engine(url: URL) -> Engine:
    """Return an engine with at most two connections, each checked before use.

    Three limits apply. libpq (https://www.postgresql.org/docs/current/libpq-connect.html) notices a silent line after
    some 15 seconds. The server ends long statements and idle transactions, so that a frozen worker does not block
    others for longer. `waiting` gives up on a server that accepts connections and never answers.
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
    engine: Engine, dialect: Dialect, _record: ConnectionPoolEntry, arguments: list[Any], parameters: dict[str, Any]
) -> DBAPIConnection:
    """Connect. PgBouncer shares connections and takes no options: there, each transaction sets the limits."""
    if not event.contains(engine, "begin", _set_limits):
        try:
            return dialect.connect(*arguments, **parameters)
        except psycopg2.OperationalError as error:
            if "unsupported startup parameter" not in str(error):
                raise
            event.listen(engine, "begin", _set_limits)
    return dialect.connect(*arguments, **{**parameters, "options": ""})


def _set_limits(connection: Connection) -> None:
    connection.exec_driver_sql("; ".join(f"SET LOCAL {name} = '{value}'" for name, value in _LIMITS.items()))


@contextmanager
def open_database(
    settings: Settings,
    notify: Callable[[str], None] | None = None,
    *,
    create: bool = True,
    outage: Outage | None = None,
    hurry: Callable[[], bool] | None = None,
) -> Iterator[Engine]:
    """Open the database that `settings` names, or start the built-in server if it names none.

    If the server has no free connection, or is just starting, this waits for it.

    Args:
        notify: called with each line that a person should read about the server.
        create: create the tables in an empty database, and check the schema's version otherwise; False does neither.
        outage: also wait, with its patience, for a database that does not answer.
        hurry: returns True if waits for the server shall be cut short.

    Raises:
        DatabaseUnreachable: no connection could be made.
        DatabaseAway: the connection was lost within the context, or the outage lasted longer than the patience.
        DatabaseReadOnly: the database takes no writes, and one was tried within the context.
        DatabaseRefused: the server refuses the password, the role or the database, the address has an unknown option,
            or the role lacks a right.
        EmbeddedServerError: the built-in server could not be installed or started.
        SchemaMismatch: the database's schema is older or newer than this program.
    """
    notify = notify or (lambda _: None)
    limit_waits(hurry)
    here = settings.database_url
    server = nullcontext(here) if here is not None else serve(settings.home, notify)
    with server as url, _opened(url, notify, create, outage, hurry) as engine:
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
        if create:
            insist = outage.insist if outage is not None else lambda operation: operation()
            insist(lambda: migrate.ensure_schema(engine))
        yield engine
    except (OperationalError, InterfaceError, TimeoutError) as error:
        if reached:
            raise DatabaseAway(_lost(url, error)) from error
        if is_refused(error):
            raise DatabaseRefused(_cause(url, "refuses", error)) from error
        raise DatabaseUnreachable(_unreachable(url, error)) from error
    except InternalError as error:
        if not is_read_only(error):
            raise
        raise DatabaseReadOnly(_read_only(url)) from error
    except ProgrammingError as error:
        # An option that libpq does not know, or a right that the role lacks; anything else is a mistake in Caviar.
        if reached and not isinstance(error.orig, InsufficientPrivilege):
            raise
        raise DatabaseRefused(_refused(url, error)) from error
    finally:
        engine.dispose()


def _connect(engine: Engine) -> None:
    engine.connect().close()


def _connect_when_free(engine: Engine, notify: Callable[[str], None], hurry: Callable[[], bool] | None) -> None:
    """Connect at once, but wait for a server that has no free connection or is starting."""
    try:
        _connect(engine)
    except OperationalError as error:
        if not is_busy(error):
            raise
        notify(f"{_cause(engine.url, 'is busy', error)}; waiting for it, up to {PATIENCE / 60:.0f} min")
        Outage(PATIENCE, hurry or (lambda: False)).insist(lambda: _connect(engine))


def require_writable(engine: Engine) -> None:
    """Check that the database takes writes, before work begins that would wait for one that does not.

    Raises:
        DatabaseReadOnly: it does not.
    """
    with engine.connect() as connection:
        if connection.scalar(text("SHOW transaction_read_only")) == "on":
            raise DatabaseReadOnly(_read_only(engine.url))


def _unreachable(url: URL, error: SQLAlchemyError) -> str:
    cause = _cause(url, "does not answer", error)
    if is_built_in(url):
        return f"the built-in {cause}; run the same command again, or set CAVIAR_DATABASE_URL to a server of your own"
    return f"{cause}; start it, correct the address, or unset CAVIAR_DATABASE_URL for the built-in server"


def _lost(url: URL, error: SQLAlchemyError) -> str:
    return f"{_cause(url, 'no longer answers', error)}; when it is back, run the same command again"


def _read_only(url: URL) -> str:
    return (
        f"PostgreSQL at {_place(url)} takes no writes now, as a standby does; give the address of the primary server, "
        f"or try again when this one is promoted"
    )


def _refused(url: URL, error: ProgrammingError) -> str:
    refusal = _cause(url, "refuses", error)
    if not isinstance(error.orig, InsufficientPrivilege):
        return refusal
    return (
        f"{refusal}; to begin, extend or delete a study, use the address of the role that owns the tables; if this "
        f"role is to train, let that one give it the rights of a worker: caviar db grant {url.username or 'ROLE'}"
    )


def _cause(url: URL, what: str, error: SQLAlchemyError) -> str:
    return f"PostgreSQL at {_place(url)} {what}: {reason(error)}"


def _place(url: URL) -> str:
    return f"{url.host or url.query.get('host') or 'localhost'}:{url.port or 5432}"


def clock_skew(engine: Engine) -> float:
    """Return how many seconds this machine's clock is ahead of the database's."""
    with engine.connect() as connection:
        before = time.time()
        theirs = float(connection.scalar(text("SELECT extract(epoch FROM clock_timestamp())")) or 0)
        return (before + time.time()) / 2 - theirs
