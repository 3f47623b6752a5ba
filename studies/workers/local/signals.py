"""A graceful stop: signals set a flag and a deadline, which a worker reads between batches and epochs."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from types import FrameType
from typing import Any

from caviar.foreign_code import end_process
from caviar.storage.timing import GRACE

# A scheduler announces a job's end by a signal of the user's choice: sbatch --signal=USR1@60. submitit's is SIGUSR2.
ANNOUNCING = (signal.SIGUSR1, signal.SIGUSR2)
GRACEFUL = (signal.SIGTERM, signal.SIGINT, *ANNOUNCING)


class Stop:
    """A request to stop, made by SIGTERM, SIGUSR1, SIGUSR2 or SIGINT between `with` and its end, or by `ask`.

    A second SIGINT ends the process at once, with exit code 130; in an interactive session, whose process must live on,
    it raises KeyboardInterrupt. Python lets only the main thread handle signals: elsewhere only `ask` is heard.
    """

    def __init__(self, grace: float = GRACE) -> None:
        self.interrupted = False  # whether SIGINT was one of the requests
        self._grace = grace  # seconds after which the epoch in progress is abandoned
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
        if threading.current_thread() is threading.main_thread():
            for number in GRACEFUL:
                self._before[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(self, *exception: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        if number == signal.SIGINT:
            if self.interrupted:
                _leave_at_once()
            self.interrupted = True
        self.ask()


def _leave_at_once() -> None:
    if hasattr(sys, "ps1"):  # Python's own prompt, IPython or a notebook
        raise KeyboardInterrupt
    if os.isatty(2):
        os.write(2, b"\x1b[?25h\n")  # the cursor, which the live display hides
    end_process(130)
