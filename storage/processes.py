"""Which processes of this machine are alive."""

from __future__ import annotations

import os
from pathlib import Path


def is_zombie(pid: int) -> bool:
    """Say whether a process has ended, but was not reaped by its parent; in some containers nobody ever does."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:  # no such process, or no Linux
        return False


def is_alive(pid: int) -> bool:
    """Say whether a process exists and has not ended; True where it belongs to somebody else."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return not is_zombie(pid)
