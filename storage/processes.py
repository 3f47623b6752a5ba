"""Which processes are alive, and where a process id means what."""

from __future__ import annotations

import os
import socket
from pathlib import Path


def machine_id() -> str:
    """Return what a process id is valid in: this boot of this kernel, and this namespace of process ids."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}/{os.stat('/proc/self/ns/pid').st_ino}"
    except OSError:  # no Linux
        return socket.gethostname()


def is_alive(pid: int) -> bool:
    """Say whether a process exists and has not ended; True where it belongs to somebody else."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return not _is_zombie(pid)


def _is_zombie(pid: int) -> bool:
    """Say whether a process has ended, but was not reaped by its parent; in some containers nobody ever does."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:  # no such process, or no Linux
        return False
