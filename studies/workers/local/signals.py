"""A graceful stop: signals set a flag and a deadline, which a worker reads between batches and epochs."""

from __future__ import annotations

import os
import signal
import time
from types import FrameType
from typing import Any

GRACE = 20.0  # seconds that the epoch in progress may take after a signal

# Slurm sends SIGUSR1 ahead of a job's end, where asked to: sbatch --signal=USR1@60.
GRACEFUL = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)


class Stop:
    """Between `with` and its end, SIGTERM, SIGUSR1 and SIGINT ask to stop; a second SIGINT leaves at once, with 130.

    Args:
        grace: seconds after which the epoch in progress is abandoned.
    """

    def __init__(self, grace: float = GRACE) -> None:
        self.interrupted = False
        self._grace = grace
        self._deadline: float | None = None
        self._before: dict[signal.Signals, Any] = {}

    @property
    def asked(self) -> bool:
        """Whether to stop."""
        return self._deadline is not None

    @property
    def overdue(self) -> bool:
        """Whether to stop without waiting for the end of anything."""
        return self._deadline is not None and time.monotonic() >= self._deadline

    def ask(self) -> None:
        """Ask to stop, as a signal does."""
        if self._deadline is None:
            self._deadline = time.monotonic() + self._grace

    def __enter__(self) -> Stop:
        for number in GRACEFUL:
            self._before[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(self, *exception: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        if number == signal.SIGINT:
            if self.interrupted:
                if os.isatty(2):
                    os.write(2, b"\x1b[?25h\n")  # the cursor, which the live display hides
                os._exit(130)
            self.interrupted = True
        self.ask()
