"""A graceful stop: signals set a flag, which a worker reads between epochs."""

from __future__ import annotations

import os
import signal
from types import FrameType
from typing import Any


class Stop:
    """Between `with` and its end, SIGTERM and SIGINT ask to stop; a second SIGINT leaves at once, with 130."""

    def __init__(self) -> None:
        self.asked = False
        self.interrupted = False
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Stop:
        for number in (signal.SIGTERM, signal.SIGINT):
            self._before[number] = signal.signal(number, self._ask)
        return self

    def __exit__(self, *exception: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _ask(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        if number == signal.SIGINT:
            if self.interrupted:
                if os.isatty(2):
                    os.write(2, b"\x1b[?25h\n")  # the cursor, which the live display hides
                os._exit(130)
            self.interrupted = True
        self.asked = True
