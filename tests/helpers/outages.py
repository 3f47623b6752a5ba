"""One database that goes away, or takes no writes, while its server serves all others."""

from __future__ import annotations

from types import TracebackType

from sqlalchemy import create_engine, text
from sqlalchemy.engine import URL

_END = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = :name"


class _Changed:
    """A database with another setting, from `begin` to `end` or in a `with`; connections end when it changes."""

    setting, normal = "", ""

    def __init__(self, url: URL) -> None:
        self._name = url.database
        self._url = url.set(database="postgres")

    def begin(self) -> None:
        self._change(self.setting)

    def end(self) -> None:
        self._change(self.normal)

    def __enter__(self) -> None:
        self.begin()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.end()

    def _change(self, setting: str) -> None:
        engine = create_engine(self._url, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.execute(text(f"ALTER DATABASE {self._name} {setting}"))
            connection.execute(text(_END), {"name": self._name})
        engine.dispose()


class Away(_Changed):
    """Nobody can connect, and every connection is cut."""

    setting, normal = "ALLOW_CONNECTIONS false", "ALLOW_CONNECTIONS true"


class ReadOnly(_Changed):
    """Every transaction only reads, as on a standby."""

    setting, normal = "SET default_transaction_read_only = on", "RESET default_transaction_read_only"
