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
    return not _is_zombie(pid)


def _is_zombie(pid: int) -> bool:
    """Return True if a process has ended but its parent has not reaped it, as happens in some containers."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:  # no such process, or no Linux
        return False
