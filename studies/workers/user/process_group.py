"""Run a command with all processes that it starts, read what it writes, and end it.

A small program stands between, the guardian: it ends the command even if this process is killed.
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from enum import Enum
from pathlib import Path

from caviar.studies.errors import CommandFailed
from caviar.studies.workers.user import guardian

GRACE = 5.0  # seconds that a command may take to end after SIGTERM; less than a worker has at its own end
_END_SECONDS = 5.0  # that it may take after SIGKILL; what a device or a network file system holds may take for ever
_START_SECONDS = 60.0  # that the guardian may take to start it, on a machine however busy
_AT_ONCE = 65_536  # bytes of one reading
_PIPE = 2**20  # bytes that a pipe holds at most, on Linux


def is_guardian(pid: int) -> bool:
    """Return True if a process is the guardian of a command; False where that cannot be known."""
    try:
        return guardian.__file__.encode() in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:  # no such process, or no Linux
        return False


class Source(Enum):
    """Where a command has written."""

    OUTPUT = "output"  # its standard output or standard error
    REPORT = "report"  # the named pipe for reports


class ProcessGroup:
    """The processes of a command, from its start until `end`.

    Args:
        arguments: the program and its arguments; no shell reads them.
        environment: all of its variables.
        folder: its working directory.
        reports: a named pipe, which the command may open and write to.

    Attributes:
        exit: how the command ended, once nothing of it lives: its exit code, or negative the number of a signal.

    Raises:
        CommandFailed: the program is not there, or cannot be executed.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        folder: Path,
        reports: Path,
        grace: float = GRACE,
    ) -> None:
        self.exit: int | None = None
        self._grace = grace
        self._leader: int | None = None
        self._line = b""  # of the guardian, not finished
        self._reports = os.open(reports, os.O_RDWR | os.O_NONBLOCK)  # also to write: it has no end while nobody writes
        self._guardian = subprocess.Popen(
            [sys.executable, "-I", "-S", guardian.__file__, str(os.getpid()), str(grace), *arguments],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=folder,
            env=dict(environment), start_new_session=True,  # so that Ctrl-C reaches Caviar alone
        )  # fmt: skip
        assert self._guardian.stdout is not None
        assert self._guardian.stderr is not None
        self._status = self._guardian.stdout.fileno()
        self._output = self._guardian.stderr.fileno()
        os.set_blocking(self._output, False)
        self.is_over = False  # whether the command has ended, and all that it wrote has been read
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._status, selectors.EVENT_READ)
        self._wait_for_start(arguments[0])
        self._selector.register(self._output, selectors.EVENT_READ, Source.OUTPUT)
        self._selector.register(self._reports, selectors.EVENT_READ, Source.REPORT)

    def _wait_for_start(self, program: str) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while self._leader is None:
            try:
                if not self._selector.select(deadline - time.monotonic()):
                    raise CommandFailed(f"it did not start within {_START_SECONDS:.0f} s")
                self._read_status()
                if self._leader is None and self.exit is not None:
                    raise CommandFailed("its guardian was killed")
            except CommandFailed as error:
                self._guardian.kill()
                self._close()
                raise CommandFailed(f"{program} cannot be run: {error}") from None

    def receive(self, seconds: float) -> list[tuple[Source, bytes]]:
        """Return what the command has written by now; wait for it at most so many seconds."""
        received = list[tuple[Source, bytes]]()
        if self.is_over:
            return received
        for key, _ in self._selector.select(seconds):
            if key.data is None:
                self._read_status()
            elif data := self._read(key.fd):
                received.append((key.data, data))
            elif key.data is Source.OUTPUT:  # its end; the guardian has not said yet how the command ended
                self._selector.unregister(key.fd)
        if self.exit is not None:
            received += self._rest()
            self.is_over = True
        return received

    def _rest(self) -> Iterator[tuple[Source, bytes]]:
        """Yield what is left in the pipes once the command has ended, and no more than they hold."""
        for descriptor, source in ((self._output, Source.OUTPUT), (self._reports, Source.REPORT)):
            for _ in range(_PIPE // _AT_ONCE):
                if data := self._read(descriptor):
                    yield source, data

    def _read(self, descriptor: int) -> bytes:
        try:
            return os.read(descriptor, _AT_ONCE)
        except BlockingIOError:
            return b""

    def _read_status(self) -> None:
        """Read what the guardian says.

        Raises:
            CommandFailed: the command could not be started; the message says why.
        """
        data = os.read(self._status, _AT_ONCE)
        *lines, self._line = (self._line + data).split(b"\n")
        for said in map(json.loads, lines):
            if "error" in said:
                raise CommandFailed(said["error"])
            self._leader = said.get("pid", self._leader)
            self.exit = said.get("exit", self.exit)
        if not data:
            self._selector.unregister(self._status)
            if self.exit is None:  # somebody has killed the guardian, and the kernel the command's first process
                self.exit = -signal.SIGKILL
                if self._leader is not None:
                    with suppress(OSError):
                        os.killpg(self._leader, signal.SIGKILL)

    def end(self) -> None:
        """End the command and all its processes, if they have not ended: SIGTERM, and SIGKILL after the grace.

        What not even SIGKILL ends now is left to the guardian.
        """
        if self._selector.get_map() is None:  # closed before
            return
        if self._guardian.poll() is None:
            self._guardian.terminate()
        deadline = time.monotonic() + self._grace + _END_SECONDS
        while not self.is_over and (left := deadline - time.monotonic()) > 0:
            self.receive(left)  # who writes into a full pipe could not end
        self._close()

    def _close(self) -> None:
        self._selector.close()
        for file in (self._guardian.stdout, self._guardian.stderr):
            if file is not None:
                file.close()
        os.close(self._reports)
        with suppress(subprocess.TimeoutExpired):
            self._guardian.wait(_END_SECONDS if self.exit is not None else 0)
