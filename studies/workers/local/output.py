"""Where a worker's output goes: what a training prints must neither fill a disk nor garble a display."""

from __future__ import annotations

import os
import sys
from contextlib import suppress

from caviar.storage.trial_logs import TrialLogs
from caviar.studies.workers.local.pulse import Pulse

_STREAMS = (1, 2)  # the descriptors of stdout and stderr, which C code and child processes write to


def print_whole_lines() -> None:
    """Let this process write each line at once, also with PYTHONUNBUFFERED, so that lines of several do not mix."""
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.reconfigure(  # type: ignore[union-attr]
                line_buffering=True, write_through=False, errors="backslashreplace"
            )


class Output:
    """The output of a process that trains in somebody's terminal or notebook: it stays as it is."""

    def follow(self, number: int | None) -> None:
        """Let what is printed from now on belong to a trial; None for to none."""

    def write(self, data: bytes) -> None:
        """Add what a program printed that trains a trial; without a file for it, it is left out."""

    def last_lines(self, number: int) -> str:  # noqa: ARG002
        """Return the last lines that a trial printed."""
        return ""


class LoggedOutput(Output):
    """The output of a worker process, which goes to a file for each trial.

    Args:
        pulse: tells the process that supervises this one which file is written, for it to be cut.
    """

    def __init__(self, logs: TrialLogs, pulse: Pulse) -> None:
        self._logs, self._pulse = logs, pulse
        self._number: int | None = -1  # no trial's: the first one to follow is another
        print_whole_lines()
        self.follow(None)

    def follow(self, number: int | None) -> None:
        """Let what is printed from now on go to the file of a trial, or to that of no trial."""
        if number == self._number:
            return
        left, self._number = self._number, number
        self._flush()
        try:
            file = self._logs.open(number)
        except OSError:  # a full disk: what is printed is lost, and the training goes on
            file = os.open(os.devnull, os.O_WRONLY)
        for stream in _STREAMS:
            os.dup2(file, stream)
        os.close(file)
        self._pulse.writes_log(number)
        self._logs.cut(left)  # which nobody else does any more

    def write(self, data: bytes) -> None:
        """Add what a program printed that trains the trial."""
        with suppress(OSError):  # a full disk
            os.write(_STREAMS[0], data)

    def last_lines(self, number: int) -> str:
        """Return the last lines that a trial printed."""
        self._flush()
        return self._logs.last_lines(number)

    def _flush(self) -> None:
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError, AttributeError):  # full, closed, or None
                stream.flush()
