"""Processes: whether one is alive, on which machine its id is valid, and which others it has started."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

_BEGAN = 19  # the place of the start time among what proc(5) has of a process behind its name


def machine_id() -> str:
    """Return where a process id is valid: this boot of this kernel, and this namespace of process ids."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}/{os.stat('/proc/self/ns/pid').st_ino}"
    except OSError:  # no Linux
        return socket.gethostname()


def is_alive(pid: int) -> bool:
    """Return True if a process exists and has not ended, or belongs to another user."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return _state(pid) != "Z"


def is_stopped(pid: int) -> bool:
    """Return True if a process is stopped, by SIGSTOP or a debugger; False where that cannot be known."""
    return _state(pid) in ("T", "t")


class Process(NamedTuple):
    """A process of this machine: its id, and when it began, since ids are used again."""

    pid: int
    began: str


def descendants(pid: int) -> set[Process]:
    """Return the processes that one has started, and those that these have; none where that cannot be known."""
    found: set[Process] = set()
    waiting = [pid]
    while waiting:
        for child in children(waiting.pop()):
            process = Process(child, _began(child))
            if process not in found:
                found.add(process)
                waiting.append(child)
    return found


def children(pid: int) -> list[int]:
    """Return the ids of the processes that one has started itself; none where that cannot be known."""
    found: list[int] = []
    with suppress(OSError):  # it has ended, or no Linux
        for thread in os.listdir(f"/proc/{pid}/task"):
            with suppress(OSError):
                found += map(int, Path(f"/proc/{pid}/task/{thread}/children").read_text().split())
    return found


def name_of(pid: int) -> str:
    """Return the name that a process has, or has given itself; empty where that cannot be known."""
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def signal_name(number: int) -> str:
    """Return a signal by number and name, such as `9 (SIGKILL)`; by its number where it has no name."""
    try:
        return f"{number} ({signal.Signals(number).name})"
    except ValueError:
        return str(number)


def end(processes: Iterable[Process]) -> None:
    """Kill those of some processes that still run."""
    for pid, began in processes:
        if began and _began(pid) == began:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)


def _began(pid: int) -> str:
    return "".join(_stat(pid)[_BEGAN : _BEGAN + 1])


def _state(pid: int) -> str:
    """Return the letter of a process's state as in proc(5); empty if it is not known.

    `Z` is one that has ended but was not reaped by its parent, as happens in some containers.
    """
    return "".join(_stat(pid)[:1])


def _stat(pid: int) -> list[str]:
    """Return what proc(5) has of a process behind its name; nothing if it is not known."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:  # no such process, or no Linux
        return []
