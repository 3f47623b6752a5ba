"""The pulse of a worker: how its training gets on, in memory that it shares with the process that supervises it.

A lease is no proof of life: a thread renews it, even while the training hangs. Batches are.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, MutableSequence
from contextlib import contextmanager
from typing import NamedTuple

# The places in the shared memory, and how many there are.
_BEATS, _PHASE, _LONGEST, _DEADLINE, _TRIAL, _LIMIT, _TOO_LONG, _LOG, _LEAVES, SIZE = range(10)
_ELSEWHERE, _PREPARING, _IN_EPOCH = range(3)  # the phases


class Limited(NamedTuple):
    """A trial that may take `limit` seconds."""

    trial: int
    limit: float


class Pulse:
    """Signs of life of one worker, which writes them; its supervisor reads.

    Args:
        shared: memory of `SIZE` numbers, such as a `RawArray`; None where nobody supervises.

    Attributes:
        is_supervised: whether this process is a worker that a supervisor has started.
    """

    def __init__(self, shared: MutableSequence[float] | None = None) -> None:
        self.is_supervised = shared is not None
        self._shared = [0.0] * SIZE if shared is None else shared

    @property
    def beats(self) -> float:
        """The number of signs of life so far."""
        return self._shared[_BEATS]

    @property
    def is_training(self) -> bool:
        """Whether code runs whose silence means that it hangs; all other code limits its waits itself."""
        return self._shared[_PHASE] != _ELSEWHERE

    @property
    def is_in_epoch(self) -> bool:
        """Whether an epoch is being trained: else a model is built, say, or data are loaded."""
        return self._shared[_PHASE] == _IN_EPOCH

    @property
    def longest_epoch(self) -> float:
        """Seconds of the longest epoch so far; 0 before the first."""
        return self._shared[_LONGEST]

    @property
    def deadline(self) -> float | None:
        """The moment of the monotonic clock at which the trial should end, in time that the process is not stopped;
        None if nothing limits it."""
        return self._shared[_DEADLINE] or None

    @property
    def limited(self) -> Limited:
        """The trial whose time is limited, where there is a deadline."""
        return Limited(int(self._shared[_TRIAL]), self._shared[_LIMIT])

    @contextmanager
    def until(self, deadline: float | None, trial: int, limit: float | None) -> Iterator[None]:
        """Say when a trial is to be over, by the monotonic clock, which all processes of a machine have in common.

        Args:
            deadline: that moment; None if there is none.
            limit: how many seconds the trial may take.
        """
        self._shared[_TRIAL], self._shared[_LIMIT] = trial, limit or 0.0
        self._shared[_DEADLINE] = deadline or 0.0  # last: the others belong to it
        try:
            yield
        finally:
            self._shared[_DEADLINE] = 0.0

    @property
    def too_long(self) -> float | None:
        """The seconds that a trial would have taken for which the worker had no time, and left; None if it did not."""
        return self._shared[_TOO_LONG] or None

    def leave_for_want_of_time(self, expected: float) -> None:
        """Say that the worker leaves because a trial would take so many seconds, and less are left."""
        self._shared[_TOO_LONG] = expected or 1.0  # 0 where nothing is known

    @property
    def leaves(self) -> bool:
        """Whether the worker is to leave after its epoch, since somebody frees its machine: each side may find out."""
        return self._shared[_LEAVES] > 0

    def leave(self) -> None:
        """Let the worker leave after its epoch."""
        self._shared[_LEAVES] = 1

    @property
    def log(self) -> int | None:
        """The number of the trial whose file gets what this worker prints; None for the file of no trial."""
        return int(self._shared[_LOG]) - 1 if self._shared[_LOG] else None

    def writes_log(self, number: int | None) -> None:
        """Say whose file gets what this worker prints."""
        self._shared[_LOG] = 0 if number is None else number + 1

    def beat(self) -> None:
        """Give a sign of life."""
        self._shared[_BEATS] += 1

    @contextmanager
    def training(self) -> Iterator[None]:
        """Run code of a model, of its data or of its training."""
        self.beat()
        self._shared[_PHASE] = _PREPARING
        try:
            yield
        finally:
            self._shared[_PHASE] = _ELSEWHERE

    @contextmanager
    def epoch(self) -> Iterator[None]:
        """Train an epoch, and measure it if it comes to its end; within `training`."""
        began = time.monotonic()
        self._shared[_PHASE] = _IN_EPOCH
        yield
        self._shared[_LONGEST] = max(self.longest_epoch, time.monotonic() - began)

    def starting(self) -> None:
        """Say that a process is being started: until it has, its silence counts."""
        self._shared[_PHASE] = _PREPARING

    def started(self) -> None:
        """Say that the process has started."""
        self._shared[_PHASE] = _ELSEWHERE
