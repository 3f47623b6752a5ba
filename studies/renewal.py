"""Keeps a lease alive while an epoch is longer than the lease, and tells the worker when it is lost."""

from __future__ import annotations

import threading

from sqlalchemy.exc import OperationalError

from storage.errors import LeaseLost
from storage.ledger import Ledger
from storage.records import Lease


class Renewal:
    """Renews one lease four times in its length, in a thread, from `with` to its end."""

    def __init__(self, ledger: Ledger, lease: Lease) -> None:
        self._ledger = ledger
        self._lease = lease
        self._over = threading.Event()
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._renew, name="lease renewal", daemon=True)

    def __enter__(self) -> Renewal:
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
        if self._error is not None:
            raise self._error

    def _renew(self) -> None:
        while not self._over.wait(self._ledger.lease_seconds / 4):
            try:
                self._ledger.renew(self._lease)
            except LeaseLost as error:
                self._error = error
                return
            except OperationalError:
                continue  # the database is away for now: the lease lasts three more tries, and then is taken over
            except Exception as error:  # noqa: BLE001 - handed to the worker by check()
                self._error = error
                return
