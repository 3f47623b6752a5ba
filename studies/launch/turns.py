"""Run a command again and again until it has nothing left to do, for schedulers that restart nothing themselves.

Its exit code decides: after 0 it is done; after 75, or if a signal ended it, it is run again; any other is an error.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence

_LOOK_SECONDS = 0.5  # between two looks for a request to stop
_PAUSE, _LONGEST_PAUSE = 1.0, 300.0  # seconds before the next turn; twice as long each time,
_STEADY = 60.0  # unless the turn lasted for so many seconds


class Turns:
    """Runs of one command, one after another. The thread that calls `run` has to outlive the command's process.

    Args:
        words: the program and its arguments.
        environment: all of its variables.
        leaving: seconds that it may take to leave after SIGTERM, before it is killed.
    """

    def __init__(self, words: Sequence[str], environment: Mapping[str, str], leaving: float) -> None:
        self._words = [sys.executable, "-m", "caviar.studies.launch.bound", str(os.getpid()), *words]
        self._environment = dict(environment)
        self._leaving = leaving
        self._asked = threading.Event()

    def stop(self) -> None:
        """Let the command leave, and begin no other turn; return at once."""
        self._asked.set()

    def wait(self, seconds: float) -> None:
        """Wait, unless `stop` is called."""
        self._asked.wait(seconds)

    def run(self) -> str:
        """Run the command until it is done, fails for good, or `stop` is called.

        Returns:
            Why it failed; empty if it did not.
        """
        quick = 0  # turns one after another that did not last
        while not self._asked.is_set():
            began = time.monotonic()
            code, last_line = self._turn()
            if code == 0 or self._asked.is_set():
                break
            if code != os.EX_TEMPFAIL and 0 < code <= 128:
                return f"exit code {code}: {last_line}"
            quick = 0 if time.monotonic() - began > _STEADY else quick + 1
            self.wait(pause_after(quick))
        return ""

    def _turn(self) -> tuple[int, str]:
        """Run the command once; return its exit code, negative for a signal, and the last line of its errors."""
        with subprocess.Popen(
            self._words, env=self._environment, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
            errors="replace",
        ) as process:  # fmt: skip
            lines = [""]
            reader = threading.Thread(target=_pass_on, args=(process, lines), daemon=True)
            reader.start()
            while process.poll() is None:
                if self._asked.wait(_LOOK_SECONDS):
                    process.terminate()
                    _wait_or_kill(process, self._leaving)
            reader.join(_LOOK_SECONDS)  # what the command has started may have its end of the pipe still
            return process.returncode, lines[-1]


def pause_after(quick: int) -> float:
    """Return how many seconds to wait after so many turns one after another that did not last."""
    return min(_PAUSE * 2.0**quick, _LONGEST_PAUSE) * random.uniform(0.5, 1)


def _pass_on(process: subprocess.Popen[str], lines: list[str]) -> None:
    """Write a process's errors to this one's, and remember the last line."""
    assert process.stderr is not None
    for line in process.stderr:
        sys.stderr.write(line)
        if line.strip():
            lines[:] = [line.strip()]


def _wait_or_kill(process: subprocess.Popen[str], seconds: float) -> None:
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
