"""How long this process was stopped, or its machine suspended, which no limit on a training or an outage is to count.

A scheduler may stop a job and let it go on an hour later (SIGSTOP, the freezer of a control group, gang scheduling).
The kernel tells nobody, so a thread looks at the clock twice a second: where a look comes late, the process could not
work.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

LONGEST_STEP = 5.0  # seconds between two looks; what lies beyond is a pause: a busy machine may delay a look, too
_LOOK_SECONDS = 0.5


class Pauses:
    """Adds up by how much the steps between two looks were too long; `look` is to be called again and again."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._seconds, self._looked_at = 0.0, clock()

    def look(self) -> float:
        """Return the seconds so far."""
        with self._lock:
            now = self._clock()
            self._seconds += max(0.0, now - self._looked_at - LONGEST_STEP)
            self._looked_at = now
            return self._seconds


_pauses: Pauses | None = None
_start = threading.Lock()


def stopped_seconds() -> float:
    """Return for how long this process was stopped since the first call, which begins to measure that."""
    global _pauses  # one thread is enough for all who measure
    with _start:
        if _pauses is None:
            _pauses = Pauses()
            threading.Thread(target=_look_for_ever, args=(_pauses,), name="stopped time", daemon=True).start()
    return _pauses.look()


def _look_for_ever(pauses: Pauses) -> None:
    while True:
        time.sleep(_LOOK_SECONDS)
        pauses.look()
