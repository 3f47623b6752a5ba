"""A lease in a worker's hands: one object that its threads share, and the one place where its loss is found out."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Protocol, TypeAlias

from caviar.storage.errors import LeaseLost
from caviar.storage.records import Asked, Lease, LeaseKey
from caviar.storage.states import Control

Answers: TypeAlias = Mapping[LeaseKey, Asked]


class HeldLease:
    """A lease from the moment that a worker gets it until the worker ends its trial or gives it back.

    The heartbeat and the outbox, each in a thread of its own, write what the database answers; the thread that trains
    reads it. Every write replaces one attribute, so reading needs no lock.
    """

    def __init__(self, lease: Lease) -> None:
        self.lease = lease  # replaced when its trial begins, and when the trial is opened again
        self.requested = Asked()  # of the worker, by the last answer of the database
        # Whether another worker has the slot, or its trial was ended: final, since what is written under it is refused.
        self.lost = False
        self.error: Exception | None = None  # what ended the heartbeat, which renews this lease no more
        self._answered_at = 0.0
        self._lock = threading.Lock()

    @property
    def number(self) -> int:
        """The number of the slot, and of its trial."""
        return self.lease.slot.number

    def take(self, asked: Asked, sent_at: float) -> None:
        """Take what the database answered to a question that was sent at a moment of the monotonic clock.

        Of two answers that crossed each other nobody knows which is older: the one that asks for more is taken, so that
        none hides a request. The next answer, at most a renewal later, mends it.
        """
        with self._lock:
            if sent_at >= self._answered_at or _urgency(asked) > _urgency(self.requested):
                self.requested = asked
            self._answered_at = time.monotonic()

    def check(self) -> None:
        """Raise `LeaseLost` if another worker has the slot, or whatever ended the heartbeat."""
        if self.error is not None:
            raise self.error
        if self.lost:
            raise LeaseLost(self.number)


class Retaker(Protocol):
    """The part of a ledger that takes back leases which expired."""

    def retake(self, lease: Lease) -> bool: ...


def _urgency(asked: Asked) -> tuple[bool, ...]:
    return asked.kill, asked.at_once, asked.control != Control.RUN, asked.leave


def hear(ledger: Retaker, leases: Collection[HeldLease], ask: Callable[[], Answers]) -> Answers:
    """Ask the database, by a renewal of leases or by epochs that are written under them; return its answers by lease.

    A lease without an answer may only have expired while nobody could renew it: then it is taken back. If it cannot be,
    another worker has the slot, another program ended its trial, or the trial has ended this very moment, after which
    nobody asks any more.
    """
    sent_at = time.monotonic()
    answers = ask()
    for held in leases:
        if held.lease.key in answers:
            held.take(answers[held.lease.key], sent_at)
        elif not ledger.retake(held.lease):
            held.lost = True
    return answers


def all_lost(leases: Sequence[HeldLease]) -> bool:
    """Return True if every lease is lost or no longer renewed, so that training on is pointless."""
    return bool(leases) and all(held.lost or held.error is not None for held in leases)
