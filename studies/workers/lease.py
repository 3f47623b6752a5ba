"""A lease in a worker's hands: one object that its threads share, and the one place where its loss is found out."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

from caviar.storage.errors import LeaseLost
from caviar.storage.records import Asked, Lease


class HeldLease:
    """A lease from the moment that a worker gets it until the worker ends its trial or gives it back.

    The heartbeat and the outbox, each in a thread of its own, write what the database answers; the thread that trains
    reads it. Every write replaces one attribute, so no lock is needed. If both write at once the older request may
    stay; the next answer, at most a renewal later, mends it.
    """

    def __init__(self, lease: Lease) -> None:
        self.lease = lease  # replaced when its trial begins, and when the trial is opened again
        self.requested = Asked()  # of the worker, by the last answer of the database
        self.lost = False  # whether another worker has the slot: final, for what is written under this lease is refused
        self.error: Exception | None = None  # what ended the heartbeat, which renews this lease no more

    @property
    def number(self) -> int:
        """The number of the slot, and of its trial."""
        return self.lease.slot.number

    def check(self) -> None:
        """Raise `LeaseLost` if another worker has the slot, or whatever ended the heartbeat."""
        if self.error is not None:
            raise self.error
        if self.lost:
            raise LeaseLost(self.number)


class Retaker(Protocol):
    """The part of a ledger that takes back leases which expired."""

    def retake(self, lease: Lease) -> bool: ...


def hear(ledger: Retaker, leases: Collection[HeldLease], answers: Mapping[int, Asked]) -> None:
    """Take the database's answers, by slot, to a renewal of leases or to epochs that were written under them.

    A lease without an answer may only have expired while nobody could renew it: then it is taken back. If it cannot be,
    another worker has the slot, or the trial has ended this very moment, after which nobody asks any more.
    """
    for held in leases:
        if held.number in answers:
            held.requested = answers[held.number]
        elif not ledger.retake(held.lease):
            held.lost = True


def all_lost(leases: Sequence[HeldLease]) -> bool:
    """Return True if every lease is lost or no longer renewed, so that training on is pointless."""
    return bool(leases) and all(held.lost or held.error is not None for held in leases)
