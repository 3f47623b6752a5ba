"""Renew leases in a thread while an epoch takes longer than they last, and hear requests to stop meanwhile."""

from __future__ import annotations

import random
import threading
from collections.abc import Sequence
from typing import Protocol

from caviar.storage.outage import is_away
from caviar.storage.records import Asked, Lease, LeaseKey
from caviar.studies.workers.lease import HeldLease, Retaker, hear


class Renewer(Retaker, Protocol):
    """The part of a ledger that a heartbeat needs."""

    def renew(self, leases: Sequence[Lease]) -> dict[LeaseKey, Asked]: ...


class Heartbeat:
    """Renews leases again and again, in a thread, from `with` to its end.

    An error that ends the thread is handed to every lease, whose `check` raises it: it cannot die unseen.
    """

    def __init__(self, ledger: Renewer, seconds: float) -> None:
        self._ledger = ledger
        self._seconds = seconds
        self._leases: tuple[HeldLease, ...] = ()  # replaced, never changed: the thread reads it
        self._error: Exception | None = None
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._renew, name="heartbeat", daemon=True)

    def __enter__(self) -> Heartbeat:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._over.set()
        self._thread.join()

    def add(self, held: HeldLease) -> None:
        """Renew a lease from now on."""
        self._leases = (*self._leases, held)
        held.error = self._error

    def remove(self, held: HeldLease) -> None:
        """Renew a lease no more."""
        self._leases = tuple(one for one in self._leases if one is not held)

    def _renew(self) -> None:
        pause = self._seconds * random.uniform(0.1, 1)  # workers that began at the same moment renew at different ones
        while not self._over.wait(pause):
            pause = self._seconds
            try:
                self._renew_once()
            except Exception as error:  # noqa: BLE001 - handed to the worker by its leases
                if not is_away(error):
                    self._error = error
                    for held in self._leases:
                        held.error = error
                    return

    def _renew_once(self) -> None:
        leases = [held for held in self._leases if not held.lost]
        if leases:
            hear(self._ledger, leases, lambda: self._ledger.renew([held.lease for held in leases]))
