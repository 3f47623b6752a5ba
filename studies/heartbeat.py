"""Keeps a lease alive while an epoch is longer than the lease, and hears what its worker is asked for meanwhile."""

from __future__ import annotations

import threading
from typing import Protocol

from storage.errors import LeaseLost
from storage.outage import is_away
from storage.records import Asked, Lease


class Renewer(Protocol):
    """What a heartbeat needs of the ledger."""

    def renew(self, lease: Lease) -> Asked: ...

    def retake(self, lease: Lease) -> bool: ...


class Heartbeat:
    """Renews one lease again and again, in a thread, from `with` to its end.

    Args:
        seconds: between two renewals.
    """

    def __init__(self, ledger: Renewer, lease: Lease, seconds: float) -> None:
        self._ledger = ledger
        self._lease = lease
        self._seconds = seconds
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._renew, name="heartbeat", daemon=True)
        self.asked = Asked()
        self.error: Exception | None = None

    def __enter__(self) -> Heartbeat:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._over.set()
        self._thread.join()

    def check(self) -> None:
        """Raise what ended the renewal, so that it cannot die unseen.

        Raises:
            LeaseLost: another worker has taken the slot over.
            Exception: whatever else ended the thread.
        """
        if self.error is not None:
            raise self.error

    def _renew(self) -> None:
        while not self._over.wait(self._seconds):
            try:
                self._renew_once()
            except Exception as error:  # noqa: BLE001 - handed to the worker by check()
                if not is_away(error):
                    self.error = error
                    return

    def _renew_once(self) -> None:
        try:
            self.asked = self._ledger.renew(self._lease)
        except LeaseLost:
            if not self._ledger.retake(self._lease):  # it may only have expired while nobody could renew it
                raise
