"""The time that the epochs of one trial may take, in all of its workers together."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from caviar.durations import in_words


class TimeLimit:
    """How long a trial may train, and how much of that is left.

    Args:
        seconds: the limit; None for none.
        spent: the seconds of the epochs that other workers trained.
    """

    def __init__(self, seconds: float | None, spent: float = 0.0, clock: Callable[[], float] = time.monotonic) -> None:
        self.seconds = seconds
        self._spent, self._clock = spent, clock
        self._began: float | None = None  # the epoch in progress

    def add(self, seconds: float) -> None:
        """Count an epoch that has come to its end."""
        self._spent += seconds

    @contextmanager
    def epoch(self) -> Iterator[None]:
        """Train an epoch, which counts from here on. One that is left in its middle counts as far as it went; of one
        that comes to its end `add` gets the time."""
        self._began = self._clock()
        try:
            yield
        except Exception:
            self.add(self._clock() - self._began)
            raise
        finally:
            self._began = None

    @property
    def deadline(self) -> float | None:
        """The moment of the monotonic clock at which the epoch in progress has taken too long; None without a limit."""
        if self.seconds is None or self._began is None:
            return None
        return self._began + self.seconds - self._spent

    @property
    def is_over(self) -> bool:
        """Whether the trial has taken too long, with the epoch in progress."""
        if self.seconds is None:
            return False
        running = 0.0 if self._began is None else self._clock() - self._began
        return self._spent + running > self.seconds

    @property
    def why(self) -> str:
        """Why a trial that has taken too long ends."""
        return overtime(self.seconds or 0.0)


def overtime(limit: float) -> str:
    """Return why a trial ends that has taken longer than its limit."""
    return f"took longer than its trial_timeout of {in_words(limit)}"
