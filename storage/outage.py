"""Outages of the database: how long to tolerate one, and how to retry an operation until the database is back.

A restart of PostgreSQL, a cut network or a lack of free connections raises a driver's error that the next attempt may
not meet. Any other error of a statement is a mistake, and is never retried.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import TypeVar

from psycopg2 import errors
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError, SQLAlchemyError, TimeoutError

from caviar.storage.errors import DatabaseAway
from caviar.storage.stopped import stopped_seconds

T = TypeVar("T")
_FIRST_PAUSE, _LONGEST_PAUSE = 0.25, 5.0  # seconds between two attempts
_SPREAD = 0.5  # the share of a pause by which it may be shorter or longer
_BUSY = (
    "too many clients",
    "remaining connection slots",
    "too many connections",  # for a role or a database
    "no more connections allowed",  # PgBouncer
    "starting up",
    "shutting down",
    "not yet accepting connections",
    "recovery mode",  # after a process of the server was killed
    "terminating connection",  # a restart, just as this connection was made
)
_REFUSED = (
    "authentication failed",  # by a password, a certificate or another method
    "pg_hba.conf",  # no entry for this role, database or address
    "does not exist",  # the role or the database
    "no such",  # PgBouncer, of the same two
    "not permitted",
    "permission denied",
    "certificate",
    "parameter",  # of the address's options
    "command-line argument",
)


def is_away(error: BaseException) -> bool:
    """Return True if an error means that the database cannot be reached now."""
    if isinstance(error, TimeoutError):  # every connection of this process waits for a server that does not answer
        return True
    return isinstance(error, OperationalError | InterfaceError) or is_read_only(error)


def is_read_only(error: BaseException) -> bool:
    """Return True if the server refused to write: a standby that is not promoted yet, or a server set to only read."""
    return isinstance(error, DBAPIError) and isinstance(error.orig, errors.ReadOnlySqlTransaction)


def is_busy(error: SQLAlchemyError) -> bool:
    """Return True if the server refused a connection that it may soon accept. Only the message's words say so."""
    return any(words in str(getattr(error, "orig", error)) for words in _BUSY)


def is_refused(error: SQLAlchemyError) -> bool:
    """Return True if the server refused a connection that it will refuse again, until a person changes something.

    An answer that is not known may be gone at the next attempt. It has no code: libpq gives a message alone.
    """
    answer = reason(error)
    return "FATAL:" in answer and any(words in answer for words in _REFUSED)


class Outage:
    """A clock for one process's outages of the database, which ends the attempts when the patience is over.

    Args:
        patience: the longest outage to tolerate, in seconds. Time in which this process is stopped does not count.
        hurry: returns True if there shall be no further attempt; called at each failure.
        on_failure: called after each failure that is borne; with True for the first one of an outage.
        on_end: called with the length of an outage, in seconds, once it is over.
        recover: called with an error that is no outage; returns True if it has mended the cause, and the operation is
            to be tried again. An outage that it meets itself counts as one of the operation's.
    """

    def __init__(
        self,
        patience: float,
        hurry: Callable[[], bool] = lambda: False,
        on_failure: Callable[[bool], None] = lambda first: None,  # noqa: ARG005
        on_end: Callable[[float], None] = lambda seconds: None,  # noqa: ARG005
        recover: Callable[[Exception], bool] = lambda error: False,  # noqa: ARG005
    ) -> None:
        self._patience = patience
        self._hurry = hurry
        self._on_failure = on_failure
        self._on_end = on_end
        self._recover = recover
        self._since: float | None = None
        self._stopped_before = 0.0  # seconds for which this process was stopped before the outage
        self._tries = 0
        self._next = 0.0

    @property
    def seconds(self) -> float:
        """The length of the current outage in seconds; 0 if there is none."""
        if self._since is None:
            return 0.0
        return time.monotonic() - self._since - (stopped_seconds() - self._stopped_before)

    @property
    def pause(self) -> float:
        """Seconds until the next attempt is due."""
        return max(0.0, self._next - time.monotonic()) if self._since is not None else 0.0

    def failed(self, error: Exception) -> None:
        """Count a failed operation, and begin an outage if there is none.

        Raises:
            DatabaseAway: the patience is over.
            Exception: the error itself, if it does not mean that the database is away.
        """
        if not is_away(error):
            try:
                if self._recover(error):
                    return
            except SQLAlchemyError as another:
                if not is_away(another):
                    raise
                error = another
            else:
                raise error
        now, first = time.monotonic(), self._since is None
        if self._since is None:
            self._since, self._stopped_before = now, stopped_seconds()
        if self.seconds >= self._patience or self._hurry():
            raise DatabaseAway(
                f"the database was away for {self.seconds:.0f} s ({reason(error)}); "
                f"when it answers again, run the same command"
            ) from error
        pause = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2**self._tries)
        # All workers lose it at the same moment; so that they do not come back at the same moment, each waits its own.
        self._next = now + pause * random.uniform(1 - _SPREAD, 1 + _SPREAD)
        self._tries += 1
        self._on_failure(first)

    def over(self) -> float:
        """End the outage after an operation that succeeded, and return its length in seconds, or 0."""
        if self._since is None:
            return 0.0
        seconds, self._since, self._tries = self.seconds, None, 0
        self._on_end(seconds)
        return seconds

    def insist(self, operation: Callable[[], T]) -> T:
        """Return the result of an operation, which is retried while the database is away.

        Raises:
            DatabaseAway: the patience is over.
        """
        while True:
            try:
                result = operation()
            except SQLAlchemyError as error:
                self.failed(error)
                self._sleep()
            else:
                self.over()
                return result

    def _sleep(self) -> None:
        """Wait until the next attempt is due, or `hurry` returns True."""
        while self.pause > 0 and not self._hurry():
            time.sleep(min(0.2, self.pause))


def reason(error: BaseException) -> str:
    """Return the first line of an error, the driver's own where there is one."""
    error = getattr(error, "orig", None) or error
    lines = str(error).strip().splitlines()
    return lines[0].split("failed: ")[-1] if lines else type(error).__name__
