"""Keep the caller's PG* variables away from connections to the built-in server.

libpq takes from them whatever an address leaves out, such as PGHOSTADDR, PGSERVICE or PGREQUIREAUTH, which are meant
for another server. An empty value in the address does not override them all.
Source: https://www.postgresql.org/docs/current/libpq-envars.html
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Engine, event
from sqlalchemy.engine import URL, Dialect
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.pool import ConnectionPoolEntry

_PREFIX = "PG"
_sockets = set[str]()  # the folders of the built-in servers that this process uses
_hiding = threading.Lock()


def environment_without() -> dict[str, str]:
    """Return the environment without the PG* variables, for PostgreSQL's own programs."""
    return {name: value for name, value in os.environ.items() if not name.startswith(_PREFIX)}


def hide_from(url: URL) -> None:
    """Hide the variables whenever this process connects to that built-in server, through Optuna's own engines too."""
    _sockets.add(str(url.query["host"]))


def is_built_in(url: URL) -> bool:
    """Return whether an address is that of a built-in server."""
    return url.query.get("host") in _sockets


@event.listens_for(Engine, "do_connect")
def _connect(
    dialect: Dialect, _record: ConnectionPoolEntry, arguments: list[Any], parameters: dict[str, Any]
) -> DBAPIConnection | None:
    host = parameters.get("host")
    if not isinstance(host, str) or host not in _sockets:
        return None  # SQLAlchemy connects as usual
    with _hidden():
        return dialect.connect(*arguments, **parameters)


@contextmanager
def _hidden() -> Iterator[None]:
    """Hide them from libpq, which is C. `os.environ` stays as it is: other threads may be copying it."""
    with _hiding:
        hidden = [name for name in list(os.environ) if name.startswith(_PREFIX)]
        for name in hidden:
            os.unsetenv(name)
        try:
            yield
        finally:
            for name in hidden:
                if (value := os.environ.get(name)) is not None:
                    os.putenv(name, value)
