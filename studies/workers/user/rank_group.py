"""The ranks of one trial, as their worker sees them: start them, speak with them, notice a dead one, end all."""

from __future__ import annotations

import selectors
import shutil
import tempfile
import time
import weakref
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

import torch.distributed as dist

from caviar.models.checkpoint import to_bytes
from caviar.studies.workers.trial.training import Ended
from caviar.studies.workers.user.channel import Message
from caviar.studies.workers.user.rank import Job
from caviar.studies.workers.user.rank_failures import cause
from caviar.studies.workers.user.rank_starter import RankStarter
from caviar.studies.workers.user.ranks import end

_SETTLE_SECONDS = 0.3  # after the first sign that a rank has failed: the reason may be another one's
_KILL_SECONDS = 10.0  # that ranks may take to end after SIGKILL


class RankGroup:
    """The processes that train one trial together; of a starter that has no other group now.

    Args:
        devices: one for each rank.
        state: that the trial goes on from; None for one that begins.
        job: the other fields of the ranks' `Job`.

    Attributes:
        size: how many ranks there are.
        is_over: whether all ranks have ended.
        collectives: how many a rank had begun when it began no more for a while, by rank.
    """

    def __init__(
        self, starter: RankStarter, devices: Sequence[str], state: Mapping[str, Any] | None, **job: Any
    ) -> None:
        self.size, self.is_over = len(devices), False
        self.collectives: dict[int, int] = {}
        self._starter = starter
        self._is_ending = False  # whether the ranks were told that the trial has ended
        folder = tempfile.mkdtemp(prefix="caviar-ranks-")
        self._clean = weakref.finalize(self, _clean, starter, folder)  # where nobody calls `kill`
        self._store = dist.TCPStore(  # type: ignore[attr-defined]  # it is documented
            "127.0.0.1", 0, is_master=True, wait_for_workers=False
        )
        self.job = Job(**job, devices=tuple(devices), port=self._store.port, folder=folder, goes_on=state is not None)
        if state is not None:
            self.job.given_state.write_bytes(to_bytes(dict(state)))
        self._messages: deque[tuple[int, Message]] = deque()  # not taken yet, with their ranks
        self._failures: dict[int, Message] = {}  # by rank
        self._exits: dict[int, int] = {}  # by rank
        self._left: set[int] = set()  # ranks that have left their loop by themselves
        self._channels = starter.start(self.job)
        self._selector = selectors.DefaultSelector()
        self._selector.register(starter.channel, selectors.EVENT_READ, None)
        for rank, channel in enumerate(self._channels):
            self._selector.register(channel, selectors.EVENT_READ, rank)

    def send(self, message: Message) -> None:
        """Send a message to rank 0, which passes it on."""
        self._channels[0].send(message)

    def end(self, ended: Ended) -> None:
        """Tell the ranks that the trial has ended, after which they come to their end."""
        self._is_ending = True
        self.send(end(ended))

    def next(self, seconds: float | None = None) -> tuple[int, Message] | None:
        """Wait for the next message; return it with its rank, or None after so many seconds or when all have ended.

        Raises:
            RanksDied, RankRaised, BadCheckpoint: a rank has failed; all have ended.
        """
        until = None if seconds is None else time.monotonic() + seconds
        while not self._messages and not self.is_over:
            left = None if until is None else until - time.monotonic()
            if left is not None and left <= 0:
                return None
            self._listen(left)
            if self._has_failed:
                self._settle()
                error = cause(self._failures, self._bad_exits, self._left, self.job)
                self.kill()
                raise error
        return self._messages.popleft() if self._messages else None

    @property
    def _has_failed(self) -> bool:
        return bool(self._failures or self._bad_exits) or not self._starter.channel.is_open

    @property
    def _bad_exits(self) -> dict[int, int]:
        """How ranks ended that should not have ended."""
        return {rank: code for rank, code in self._exits.items() if code or not self._is_ending}

    def _settle(self) -> None:
        """Wait a moment for the other ranks, of which one may be the reason."""
        until = time.monotonic() + _SETTLE_SECONDS
        while not self.is_over and (left := until - time.monotonic()) > 0:
            self._listen(left)

    def _listen(self, seconds: float | None) -> None:
        """Take note of what has come."""
        for key, _ in self._selector.select(seconds):
            channel = self._starter.channel if key.data is None else self._channels[key.data]
            for message in channel.receive():
                if key.data is None:
                    self._note(message)
                elif "failed" in message:
                    self._failures[key.data] = message["failed"]
                elif message.keys() == {"collectives"}:
                    self.collectives[key.data] = message["collectives"]
                else:
                    self._messages.append((key.data, message))
                    if "left" in message:
                        self._left.add(key.data)
            if not channel.is_open:
                self._selector.unregister(channel)
                self.is_over |= key.data is None

    def _note(self, message: Message) -> None:
        """Take note of what the starter says."""
        if "ended" in message:
            self._exits[message["ended"]] = message["exit"]
        self.is_over |= "over" in message

    def kill(self) -> None:
        """Kill all ranks that have not ended, with what they have started, and wait for their end."""
        if not self._clean.alive:
            return
        if not self.is_over:
            self._starter.kill()
        until = time.monotonic() + _KILL_SECONDS
        while not self.is_over and (left := until - time.monotonic()) > 0:
            self._listen(left)
        if not self.is_over:  # not even SIGKILL ends a process that waits for a device; none shall follow it
            self._starter.close()
            self.is_over = True
        for channel in self._channels:
            channel.close()
        self._selector.close()
        self._clean.detach()
        shutil.rmtree(self.job.folder, ignore_errors=True)


def _clean(starter: RankStarter, folder: str) -> None:
    starter.close()
    shutil.rmtree(folder, ignore_errors=True)
