"""The watchdog of one worker process: notice that its training hangs.

Only time in which a batch could have been trained counts. The clock stands still while a machine is suspended, a step
of the supervisor counts a few seconds at most, and none while the worker is stopped (SIGSTOP).
"""

from __future__ import annotations

import time
from collections.abc import Callable

from caviar.storage.processes import is_stopped
from caviar.storage.timing import EPOCHS_OF_SILENCE, FIRST_SILENCE, LEAST_SILENCE
from caviar.studies.workers.local.pulse import Pulse

_LONGEST_STEP = 5.0  # seconds that count at most between two measurements: this process may have been stopped, too


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
        self._pulse, self._pid, self._clock = pulse, pid, clock
        self._beats, self._looked_at = pulse.beats, clock()

    def measure(self, *, asked: bool = False) -> None:
        """Measure once more; to be called about twice a second. `asked`: whether the worker is to leave at once."""
        now, beats = self._clock(), self._pulse.beats
        step, self._looked_at = min(now - self._looked_at, _LONGEST_STEP), now
        if beats != self._beats or not self._pulse.is_training:
            self._beats, self.silence, self.silence_since_asked = beats, 0.0, 0.0
        elif not is_stopped(self._pid):
            self.silence += step
            self.silence_since_asked = self.silence_since_asked + step if asked else 0.0
