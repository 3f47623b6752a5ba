"""Measure the memory of a training, with all processes that it has started."""

from __future__ import annotations

import os
import resource
import sys
import time
from contextlib import suppress
from pathlib import Path

import torch

from caviar.storage.processes import descendants
from caviar.studies.workers.user.process_group import is_guardian

_SECONDS = 0.5  # at least between two looks, each of which takes a millisecond or so a process


class MemoryWatch:
    """The most memory that a training has needed, as far as was seen: looked at again and again while it trains.

    Args:
        device: the training's.
        in_other_processes: whether the training is in processes that this one starts: in the ranks of a trial, or a
            command.
    """

    def __init__(self, device: str, *, in_other_processes: bool) -> None:
        self._device, self._in_others = device, in_other_processes
        self._of_others = 0  # bytes
        self._has_seen_others = False
        self._next = 0.0

    def look(self, *, at_once: bool = True) -> None:
        """Look at the processes; `at_once` or if the last look was a while ago."""
        now = time.monotonic()
        if not at_once and now < self._next:
            return
        self._next = now + _SECONDS
        others = [process.pid for process in descendants(os.getpid())]
        self._of_others = max(self._of_others, sum(map(_own_peak, others)))
        self._has_seen_others |= not all(map(is_guardian, others))

    def most(self) -> int | None:
        """Return the most bytes, of the GPU where there is one; None where they are not known."""
        if self._device.startswith("cuda"):
            return None if self._in_others else torch.cuda.max_memory_allocated(self._device)
        if self._in_others and not self._has_seen_others:
            return None
        here = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
        return here + self._of_others


def _own_peak(pid: int) -> int:
    """Return the bytes that a process has or had for itself alone: what it shares, such as libraries, is counted once.

    The peak is of all its memory; what is shared now is left out. 0 where nothing is known of it.
    """
    with suppress(OSError):  # it has ended
        status, now = _fields(f"/proc/{pid}/status"), _fields(f"/proc/{pid}/smaps_rollup")
        shared = sum(now.get(name, 0) for name in ("Shared_Clean", "Shared_Dirty"))
        return max(status.get("VmHWM", 0) - shared, 0)
    return 0


def _fields(path: str) -> dict[str, int]:
    """Return what a file of proc(5) says in kB, in bytes."""
    lines = (line.split() for line in Path(path).read_text().splitlines())
    return {line[0].rstrip(":"): int(line[1]) * 1024 for line in lines if len(line) == 3 and line[2] == "kB"}
