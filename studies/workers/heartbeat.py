"""Keeps leases alive while an epoch is longer than they are, and hears what its worker is asked for meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Protocol

from caviar.storage.errors import LeaseLost
from caviar.storage.outage import is_away
from caviar.storage.records import Asked, Lease


class Renewer(Protocol):
    """What a heartbeat needs of the ledger."""

    def renew(self, leases: Sequence[Lease]) -> dict[int, Asked]: ...

    def retake(self, lease: Lease) -> bool: ...


class Heartbeat:
    """Renews the leases that it holds again and again, in a thread, from `with` to its end.

    Args:
        seconds: between two renewals.
    """

    def __init__(self, ledger: Renewer, seconds: float) -> None:
        self._ledger = ledger
        self._seconds = seconds
        self._held: dict[int, Lease] = {}  # by slot; replaced, never changed: the thread reads it
        self._lost: set[int] = set()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._renew, name="heartbeat", daemon=True)
        self.asked = Asked()  # of the study, and of any of the trials
        self.error: Exception | None = None

    def __enter__(self) -> Heartbeat:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._over.set()
        self._thread.join()

    def hold(self, lease: Lease) -> None:
        """Renew a lease from now on."""
        self._held = {**self._held, lease.slot.number: lease}

    def let_go(self, lease: Lease) -> None:
        """Renew a lease no more."""
        self._held = {number: held for number, held in self._held.items() if number != lease.slot.number}
        self._lost.discard(lease.slot.number)

    def check(self, lease: Lease) -> None:
        """Raise what ended the renewal, so that it cannot die unseen.

        Raises:
            LeaseLost: another worker has taken the slot over.
            Exception: whatever else ended the thread.
        """
        if self.error is not None:
            raise self.error
        if lease.slot.number in self._lost:
            raise LeaseLost(f"slot {lease.slot.number} was taken over by another worker")

    def in_vain(self) -> bool:
        """Say whether what is being trained is of no use: all that is held has other workers by now."""
        return self.error is not None or (bool(self._held) and self._held.keys() <= self._lost)

    def _renew(self) -> None:
        while not self._over.wait(self._seconds):
            try:
                self._renew_once()
            except Exception as error:  # noqa: BLE001 - handed to the worker by check()
                if not is_away(error):
                    self.error = error
                    return

    def _renew_once(self) -> None:
        held = [lease for number, lease in self._held.items() if number not in self._lost]
        if not held:
            return
        asked = self._ledger.renew(held)
        for lease in held:
            # It may only have expired while nobody could renew it; or its trial has ended this very moment.
            number = lease.slot.number
            if number not in asked and not self._ledger.retake(lease) and self._held.get(number) is lease:
                self._lost.add(number)
        if asked:
            self.asked = next(iter(asked.values()))
