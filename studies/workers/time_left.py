"""The time that a command has: in it no trial begins that would not end, and no epoch."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import NamedTuple

from caviar.storage.curves import RecentSeconds


class Room(NamedTuple):
    """What has room in the time that is left, where a trial that is not stopped early takes `trial_seconds`."""

    trial_seconds: float
    for_epoch: bool
    for_trial: bool


class TimeLeft:
    """The time that is left to the workers of a command.

    Args:
        until: the moment of the monotonic clock at which it is over; None if it never is.
        epochs: of a trial that is not stopped early; None where nobody knows.
        recent: reads how long an epoch and a trial took lately, in the study's trials.

    Attributes:
        ran_short: whether an epoch had no room in it.
    """

    def __init__(
        self,
        until: float | None,
        epochs: int | None,
        recent: Callable[[], RecentSeconds],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._until, self._epochs, self._recent, self._clock = until, epochs, recent, clock
        self.ran_short = False

    @property
    def seconds(self) -> float:
        """How much is left; infinite without a limit."""
        return math.inf if self._until is None else max(0.0, self._until - self._clock())

    @property
    def is_over(self) -> bool:
        """Whether nothing is left."""
        return self.seconds == 0

    def room(self, together: int = 1) -> Room:
        """Return what has room in it, by the time that the trials so far took: before the first, everything has.

        Args:
            together: how many trials a worker trains at a time, which share it.
        """
        if self._until is None:
            return Room(0.0, for_epoch=True, for_trial=True)
        recent = self._recent()
        trial = (recent.trial if self._epochs is None else recent.epoch * self._epochs) * together
        return Room(trial, for_epoch=self.has_epoch(recent.epoch * together), for_trial=trial <= self.seconds)

    def has_epoch(self, seconds: float) -> bool:
        """Return whether an epoch of so many seconds would end in time; where not, `ran_short` is True from now on."""
        fits = not self.is_over and seconds <= self.seconds
        self.ran_short = self.ran_short or not fits
        return fits
