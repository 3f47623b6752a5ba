"""Stand between a worker and a command, so that no process of the command outlives its worker, however that one dies.

A program of its own, `python guardian.py WORKER_PID GRACE PROGRAM ARGUMENT...`, which imports nothing of Caviar. It
starts the command as the leader of a session, and writes two lines of JSON to its standard output: `{"pid": 12}`, or
`{"error": "Permission denied"}`, and once nothing of the command lives any more `{"exit": 0}`, negative for a signal.

    SIGTERM             ends the command: SIGTERM to its process group, SIGKILL to all that is left after GRACE seconds
    SIGUSR1, SIGUSR2    are ignored, here and in the command: a scheduler announces the end of a job by them, to all
                        processes; the worker hears it, too, and ends the command after its epoch
    the worker's death  ends it at once, by SIGKILL

On Linux the guardian is the "subreaper" of all that the command starts: the kernel makes a process whose parent has
ended the guardian's child, so that one which left the process group, by setsid(2) or as a daemon, is found and killed,
too. The kernel also tells it at once that the worker has died, and kills the command if the guardian itself is killed.
Elsewhere it sees the worker's death within a second, and ends the process group alone.
Sources: PR_SET_CHILD_SUBREAPER(2const), PR_SET_PDEATHSIG(2const).
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import suppress

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
_IS_LINUX = sys.platform == "linux"
_LOOK_SECONDS = 1.0  # between two looks for the worker; the kernel tells of the end of the thread that started this
_AGAIN_SECONDS, _LONGEST_AGAIN = 0.02, 1.0  # between two looks for processes that were killed
_ASKED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)  # to end the command
_ANNOUNCING = (signal.SIGUSR1, signal.SIGUSR2)  # that a scheduler will end the job
_HEARD = (*_ASKED, signal.SIGCHLD, signal.SIGALRM)  # SIGALRM: look whether the worker lives


def main(worker: int, grace: float, arguments: list[str]) -> int:
    """Run a command until it ends, or is ended."""
    signal.pthread_sigmask(signal.SIG_BLOCK, _HEARD)  # sigwait takes them one by one: none is lost, none interrupts
    for number in _ANNOUNCING:  # a program that is executed goes on ignoring what was ignored
        signal.signal(number, signal.SIG_IGN)
    if _IS_LINUX:
        prctl(PR_SET_CHILD_SUBREAPER, 1)
        prctl(PR_SET_PDEATHSIG, signal.SIGALRM)
    signal.setitimer(signal.ITIMER_REAL, _LOOK_SECONDS, _LOOK_SECONDS)
    if os.getppid() != worker:  # it died before the kernel was asked to tell
        return 1
    try:
        leader = _start(arguments)
    except OSError as error:
        _say(error=os.strerror(error.errno or errno.ENOEXEC))
        return 1
    _say(pid=leader)
    _say(exit=_Command(leader, worker, grace).wait())
    return 0


def _start(arguments: list[str]) -> int:
    """Start the command, and return its process id.

    Raises:
        OSError: the program is not there, or cannot be executed.
    """
    failed, fails = os.pipe()  # closed by the start of the program; else the child writes why it did not start
    guardian, child = os.getpid(), os.fork()
    if child:
        os.close(fails)
        with open(failed, "rb") as reader:
            why = reader.read()
        if why:
            os.waitpid(child, 0)
            raise OSError(int(why), "")
        return child
    try:
        os.setsid()
        if _IS_LINUX:
            prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() != guardian:
                os._exit(1)
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # which Python ignores
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        os.dup2(2, 1)  # the guardian's standard error is the pipe of the output
        os.execvp(arguments[0], arguments)
    except OSError as error:
        os.write(fails, str(error.errno or errno.ENOEXEC).encode())
    finally:
        os._exit(1)


class _Command:
    """The processes of a command."""

    def __init__(self, leader: int, worker: int, grace: float) -> None:
        self._leader, self._worker, self._grace = leader, worker, grace
        self._exit: int | None = None  # of the leader; negative for a signal

    def wait(self) -> int:
        """Wait until the command has ended, end what it leaves behind, and return how its leader ended."""
        while self._exit is None:
            number = signal.sigwait(_HEARD)
            if os.getppid() != self._worker:
                break
            if number in _ASKED:
                self._end_gracefully()
                break
            self._reap()
        pause = _AGAIN_SECONDS
        while self._kill_all():  # not even SIGKILL ends a process that waits for a device or a network file system
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_AGAIN)
        return -signal.SIGKILL if self._exit is None else self._exit

    def _end_gracefully(self) -> None:
        deadline = time.monotonic() + self._grace
        for number in (signal.SIGTERM, signal.SIGCONT):  # one that is stopped could not act on it
            with suppress(OSError):
                os.killpg(self._leader, number)
        while self._exit is None and time.monotonic() < deadline and os.getppid() == self._worker:
            time.sleep(_AGAIN_SECONDS)
            self._reap()

    def _reap(self) -> bool:
        """Take note of children that have ended; return whether there are any children left."""
        while True:
            try:
                child, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return False
            if child == 0:
                return True
            if child == self._leader:
                self._exit = os.waitstatus_to_exitcode(status)

    def _kill_all(self) -> bool:
        """Kill what is left of the command; return whether something is left even so."""
        if not _IS_LINUX:
            with suppress(OSError):
                os.killpg(self._leader, signal.SIGKILL)
            self._reap()
            return self._exit is None
        stopped = set[int]()
        # First nothing starts processes any more, then nothing lives: else one that forks all the time escapes.
        while new := set(_descendants(os.getpid())) - stopped:
            for pid in new:
                _send(pid, signal.SIGSTOP)
            stopped |= new
        for pid in stopped:
            _send(pid, signal.SIGKILL)
        return self._reap()


def _send(pid: int, number: signal.Signals) -> None:
    with suppress(OSError):  # it has ended; or it runs as another user
        os.kill(pid, number)


def _descendants(of: int) -> Iterator[int]:
    """Yield the ids of all processes that a process started, directly or through others."""
    children: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):
        if name.isdecimal():
            with suppress(OSError), open(f"/proc/{name}/stat", "rb") as file:
                children.setdefault(int(file.read().rpartition(b")")[2].split()[1]), []).append(int(name))
    unseen = [of]
    while unseen:
        own = children.get(unseen.pop(), [])
        yield from own
        unseen += own


def prctl(option: int, value: int | ctypes.c_char_p) -> None:
    """Set a property of this process, as prctl(2) does."""
    if ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl")


def _say(**fields: object) -> None:
    with suppress(OSError):  # nobody listens any more
        os.write(1, json.dumps(fields).encode() + b"\n")


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), float(sys.argv[2]), sys.argv[3:]))
