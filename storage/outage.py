"""When the database is away: for how long that is borne, and how an operation waits until it is back.

PostgreSQL that restarts, a network that is cut, all connections taken: each is an error of the driver that the next
try may not see. Anything else that a statement raises is a mistake, and is never tried again.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from psycopg2 import errors
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError, SQLAlchemyError, TimeoutError

from caviar.storage.errors import DatabaseAway

T = TypeVar("T")
_FIRST_PAUSE, _LONGEST_PAUSE = 0.25, 5.0  # seconds between two tries
# A standby that was not yet promoted answers, and writes nothing.
_ALSO_AWAY = (errors.ReadOnlySqlTransaction,)
_BUSY = (
    "too many clients",
    "remaining connection slots",
    "too many connections",  # for a role or a database
    "no more connections allowed",  # PgBouncer
    "starting up",
    "shutting down",
    "not yet accepting connections",
)


def is_away(error: BaseException) -> bool:
    """Say whether an error means that the database cannot be reached, or not now."""
    if isinstance(error, TimeoutError):  # all connections of this process wait for a server that does not answer
        return True
    if not isinstance(error, DBAPIError):
        return False
    return isinstance(error, OperationalError | InterfaceError) or isinstance(error.orig, _ALSO_AWAY)


def is_busy(error: DBAPIError) -> bool:
    """Say whether a server refused a connection that it will soon accept; the driver has only words for it."""
    return any(words in str(error.orig) for words in _BUSY)


class Outage:
    """Knows since when the database is away, and says when that is too long.

    Args:
        patience: seconds.
        hurry: asked at each failure; True ends the patience at once.
    """

    def __init__(self, patience: float, hurry: Callable[[], bool] = lambda: False) -> None:
        self._patience = patience
        self._hurry = hurry
        self._since: float | None = None
        self._tries = 0
        self._next = 0.0

    @property
    def seconds(self) -> float:
        """How long the database has been away; 0 while it is there."""
        return time.monotonic() - self._since if self._since is not None else 0.0

    @property
    def pause(self) -> float:
        """Seconds until the next try is due."""
        return max(0.0, self._next - time.monotonic()) if self._since is not None else 0.0

    def note(self, error: Exception) -> None:
        """Take note of a failed operation.

        Raises:
            DatabaseAway: the patience is over.
            Exception: the error itself, where it does not mean that the database is away.
        """
        if not is_away(error):
            raise error
        now = time.monotonic()
        if self._since is None:
            self._since = now
        if now - self._since >= self._patience or self._hurry():
            raise DatabaseAway(
                f"the database was away for {now - self._since:.0f} s ({_told(error)}); "
                f"once it answers, go on with the same command"
            ) from error
        self._next = now + min(_LONGEST_PAUSE, _FIRST_PAUSE * 2**self._tries)
        self._tries += 1

    def over(self) -> float:
        """Take note of an operation that went well; return how long the outage was that this ends, or 0."""
        seconds, self._since, self._tries = self.seconds, None, 0
        return seconds

    def insist(self, operation: Callable[[], T]) -> T:
        """Do an operation; while the database is away, again and again.

        Raises:
            DatabaseAway: the patience is over.
        """
        while True:
            try:
                result = operation()
            except SQLAlchemyError as error:
                self.note(error)
                self._sleep()
            else:
                self.over()
                return result

    def _sleep(self) -> None:
        """Wait for the next try, but not past a hurry."""
        while self.pause > 0 and not self._hurry():
            time.sleep(min(0.2, self.pause))


def _told(error: Exception) -> str:
    lines = str(getattr(error, "orig", error)).strip().splitlines()
    return lines[0].split("failed: ")[-1] if lines else type(error).__name__
