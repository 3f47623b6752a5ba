"""Match a regular expression of the user's own against a line, and give up where that would take too long.

Python's expressions backtrack: some, such as `(a+)+b`, take longer than the universe is old for a line of 60
characters. No other thread runs meanwhile, not even the heartbeat that renews the trial's lease.
"""

from __future__ import annotations

import re
import signal
import threading
from typing import NoReturn

SECONDS = 1.0  # of processor time for one line; most take a millionth of that


class TooSlow(Exception):
    """An expression did not come to an end with a line."""


def search(expression: re.Pattern[str], line: str) -> re.Match[str] | None:
    """Return the first match of an expression in a line; None if there is none.

    The time is bounded in the main thread alone, as that of a worker is: only there can a signal end the matching.

    Raises:
        TooSlow: it took more than `SECONDS` of this process's time.
    """
    if threading.current_thread() is not threading.main_thread():
        return expression.search(line)
    before = signal.signal(signal.SIGVTALRM, _give_up)
    try:
        signal.setitimer(signal.ITIMER_VIRTUAL, SECONDS)
        return expression.search(line)
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before or signal.SIG_DFL)


def _give_up(*_: object) -> NoReturn:
    raise TooSlow
