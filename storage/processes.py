"""Processes: whether one is alive, and on which machine its id is valid."""

from __future__ import annotations

import os
import socket
from pathlib import Path


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


def _state(pid: int) -> str:
    """Return the letter of a process's state as in proc(5); empty if it is not known.

    `Z` is one that has ended but was not reaped by its parent, as happens in some containers.
    """
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:  # no such process, or no Linux
        return ""
