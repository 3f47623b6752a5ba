"""Share what many open pages ask for: one look at the database a second, and nothing made anew before it changed."""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import Lock
from typing import Generic, TypeVar

Mark = TypeVar("Mark")
Made = TypeVar("Made")

_SECONDS = 1.0  # between two looks, however many pages are open


class Shared(Generic[Mark, Made]):
    """Something that is made from the database, and kept until a cheap mark says that it would be another one.

    Args:
        look: returns the mark. An error that it or `make` raises is raised to all who ask within the same second.
        make: makes the thing, for the mark.
    """

    def __init__(self, look: Callable[[], Mark], make: Callable[[Mark], Made]) -> None:
        self._look, self._make = look, make
        self._lock = Lock()
        self._kept: tuple[Mark, Made] | None = None
        self._error: Exception | None = None
        self._looked = -_SECONDS

    def get(self) -> Made:
        """Return the thing as it was within the last second."""
        return self.with_mark()[1]

    def with_mark(self) -> tuple[Mark, Made]:
        """Return the thing as it was within the last second, and the mark that it was made for."""
        with self._lock:  # who comes meanwhile waits, and makes nothing twice
            if time.monotonic() - self._looked >= _SECONDS:
                self._renew()
            if self._error is not None:
                raise self._error
            assert self._kept is not None
            return self._kept

    def expire(self) -> None:
        """Look again for whoever asks next: something was just changed from here."""
        self._looked = -_SECONDS

    def _renew(self) -> None:
        self._error = None
        try:
            mark = self._look()
            if self._kept is None or self._kept[0] != mark:
                self._kept = (mark, self._make(mark))
        except Exception as error:  # noqa: BLE001 - whatever it is, it is raised by `get`
            self._error = error
        self._looked = time.monotonic()
