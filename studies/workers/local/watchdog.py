"""The watchdog of one worker process: notice that its training hangs.

Only time in which a batch could have been trained counts. The clock stands still while a machine is suspended, a step
of the supervisor counts a few seconds at most, and none while the worker is stopped (SIGSTOP).
"""

from __future__ import annotations

import time
from collections.abc import Callable

from caviar.storage.processes import is_stopped
from caviar.storage.stopped import LONGEST_STEP
from caviar.storage.timing import EPOCHS_OF_SILENCE, FIRST_SILENCE, LEAST_SILENCE
from caviar.studies.workers.local.pulse import Pulse


def silence_limit(pulse: Pulse, longest_epoch: float, given: float | None = None) -> float:
    """Return the seconds without a batch after which a training hangs.

    Args:
        longest_epoch: seconds of the longest epoch so far, of any worker; 0 before the first, which may compile the
            model.
        given: the limit that the user sets for an epoch.
    """
    if not pulse.is_in_epoch:
        return max(FIRST_SILENCE, given or 0.0)
    if given is not None:
        return given
    return max(LEAST_SILENCE, EPOCHS_OF_SILENCE * longest_epoch) if longest_epoch else FIRST_SILENCE


class Watchdog:
    """Measures for how long a worker's training has been silent."""

    def __init__(self, pulse: Pulse, pid: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.silence = 0.0  # seconds since the last sign of life
        self.silence_since_asked = 0.0  # the part of it since the worker was asked to leave at once
        self.late = 0.0  # seconds in which it could have left a trial that has taken too long
        self._pulse, self._pid, self._clock = pulse, pid, clock
        self._beats, self._looked_at = pulse.beats, clock()
        self._deadline, self._pauses = pulse.deadline, 0.0  # of the epoch in progress

    def measure(self, *, asked: bool = False) -> None:
        """Measure once more; to be called about twice a second. `asked`: whether the worker is to leave at once."""
        now, beats = self._clock(), self._pulse.beats
        passed, self._looked_at = now - self._looked_at, now
        # This process may have been stopped, too, and with it the worker.
        step = 0.0 if is_stopped(self._pid) else min(passed, LONGEST_STEP)
        self._note_late(now, passed - step, step)
        if beats != self._beats or not self._pulse.is_training:
            self._beats, self.silence, self.silence_since_asked = beats, 0.0, 0.0
        else:
            self.silence += step
            self.silence_since_asked = self.silence_since_asked + step if asked else 0.0

    def _note_late(self, now: float, pause: float, step: float) -> None:
        """Measure for how long a trial has taken too long, where the worker stood still for `pause` seconds."""
        if self._pulse.deadline != self._deadline:
            self._deadline, self._pauses = self._pulse.deadline, 0.0
        self._pauses += pause
        is_late = self._deadline is not None and now - self._pauses >= self._deadline
        self.late = self.late + step if is_late else 0.0
