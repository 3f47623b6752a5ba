"""One way to reach the database: how connections are made, and what is said when there is none."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from psycopg2.errors import InsufficientPrivilege
from sqlalchemy import Engine, create_engine
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError, OperationalError, ProgrammingError

from storage import migrate
from storage.embedded import serve
from storage.errors import DatabaseRefused, DatabaseUnreachable
from storage.settings import Settings


def make_engine(url: URL) -> Engine:
    """Make an engine of at most two connections, each checked before use.

    The limits are libpq's (https://www.postgresql.org/docs/current/libpq-connect.html): a line that goes silent
    is noticed after half a minute instead of never.
    """
    return create_engine(
        url,
        pool_size=1,
        max_overflow=1,
        pool_pre_ping=True,
        connect_args={
            "application_name": "caviar",
            "connect_timeout": 10,  # seconds
            "keepalives_idle": 10,  # seconds
            "keepalives_interval": 5,  # seconds
            "keepalives_count": 3,
            "tcp_user_timeout": 30_000,  # milliseconds
        },
    )


@contextmanager
def open_database(
    settings: Settings, notify: Callable[[str], None] | None = None, *, create: bool = True
) -> Iterator[Engine]:
    """Open the database that `settings` name, starting the built-in server where they name none.

    Args:
        create: make the tables where there are none, and check the schema's version; False leaves both to the
            caller.
        notify: told, a line each, what a person would want to know about the built-in server.

    Raises:
        DatabaseUnreachable: no connection could be made, or it was lost while the context lasted.
        DatabaseRefused: the address has an option that libpq does not know, or the role lacks a right.
        EmbeddedServerError: the built-in server could not be made or started.
        SchemaMismatch: the database's schema is older or newer than this program.
    """
    if settings.database_url is None:
        with serve(settings.home, notify or _say_nothing) as url, _opened(url, create) as engine:
            yield engine
    else:
        with _opened(settings.database_url, create) as engine:
            yield engine


@contextmanager
def _opened(url: URL, create: bool) -> Iterator[Engine]:
    engine = make_engine(url)
    reached = False
    try:
        engine.connect().close()
        reached = True
        if create:
            migrate.ensure_schema(engine)
        yield engine
    except OperationalError as error:
        raise DatabaseUnreachable(_lost(url, error) if reached else _unreachable(url, error)) from error
    except ProgrammingError as error:
        # An option that libpq does not know, or a right that the role has not; anything else is a mistake of ours.
        if reached and not isinstance(error.orig, InsufficientPrivilege):
            raise
        raise DatabaseRefused(_told(url, "refuses", error)) from error
    finally:
        engine.dispose()


def _say_nothing(line: str) -> None:
    pass


def _unreachable(url: URL, error: DBAPIError) -> str:
    return (
        f"{_told(url, 'does not answer', error)}; start it or correct the address, "
        f"or unset CAVIAR_DATABASE_URL for the built-in server"
    )


def _lost(url: URL, error: DBAPIError) -> str:
    return f"{_told(url, 'does not answer any more', error)}; once it does, go on with the same command"


def _told(url: URL, what: str, error: DBAPIError) -> str:
    host = url.host or url.query.get("host") or "localhost"
    lines = str(error.orig).strip().splitlines() or [type(error.orig).__name__]
    return f"PostgreSQL at {host}:{url.port or 5432} {what}: {lines[0].split('failed: ')[-1]}"
