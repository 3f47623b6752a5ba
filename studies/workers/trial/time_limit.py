"""The time that the epochs of one trial may take, in all of its workers together."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from caviar.durations import in_words
from caviar.storage.stopped import stopped_seconds


class TimeLimit:
    """How long a trial may train, and how much of that is left.

    Args:
        seconds: the limit; None for none.
        spent: the seconds of the epochs that other workers trained.
        stopped: returns for how long this process was stopped so far, which does not count.
        leaves_out: whether the seconds of epochs that are added leave that out already.
    """

    def __init__(
        self,
        seconds: float | None,
        spent: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
        stopped: Callable[[], float] = stopped_seconds,
        *,
        leaves_out: bool = False,
    ) -> None:
        self.seconds, self._leaves_out = seconds, leaves_out
        self._spent, self._clock, self._stopped = spent, clock, stopped
        self._began: float | None = None  # the epoch in progress
        self._stopped_before = 0.0  # that epoch
        self._pause = 0.0  # in the epoch that has come to its end last

    def add(self, seconds: float) -> float:
        """Count an epoch that has come to its end; return its seconds, without stops."""
        counted = seconds if self._leaves_out else max(0.0, seconds - self._pause)
        self._spent += counted
        self._pause = 0.0
        return counted

    @contextmanager
    def epoch(self) -> Iterator[None]:
        """Train an epoch, which counts from here on. One that is left in its middle counts as far as it went; of one
        that comes to its end `add` gets the time."""
        self._began = self._clock()
        if self.seconds is not None:  # else nobody needs to measure it
            self._stopped_before = self._stopped()
        try:
            yield
        except Exception:
            self._spent += self._running
            raise
        else:
            self._pause = self._paused
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
        return self.seconds is not None and self._spent + self._running > self.seconds

    @property
    def _running(self) -> float:
        """The seconds of the epoch in progress so far."""
        return 0.0 if self._began is None else self._clock() - self._began - self._paused

    @property
    def _paused(self) -> float:
        """For how long this process was stopped in the epoch in progress; 0 where nothing is limited."""
        return 0.0 if self.seconds is None else self._stopped() - self._stopped_before

    @property
    def why(self) -> str:
        """Why a trial that has taken too long ends."""
        return overtime(self.seconds or 0.0)


def overtime(limit: float) -> str:
    """Return why a trial ends that has taken longer than its limit."""
    return f"took longer than its trial_timeout of {in_words(limit)}"
