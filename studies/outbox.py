"""Epochs on their way to the database: kept in memory while it is away, written in order when it is back."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from sqlalchemy.exc import DBAPIError

from storage.errors import LeaseLost
from storage.ledger import Ledger
from storage.outage import Outage
from storage.records import Asked, EpochRecord, Lease
from storage.trials import TrialLog


class Outbox:
    """The epochs of one trial that the database does not have yet.

    Args:
        outage: shared by all that this worker does with the database.
        back: told, once the database is back, for how many seconds it was away and how many epochs were kept.
    """

    def __init__(
        self, log: TrialLog, ledger: Ledger, lease: Lease, outage: Outage, back: Callable[[float, int], None]
    ) -> None:
        self._log = log
        self._ledger = ledger
        self._lease = lease
        self._outage = outage
        self._back = back
        self._waiting: deque[tuple[EpochRecord, float]] = deque()

    @property
    def waiting(self) -> list[EpochRecord]:
        """The epochs that are not written."""
        return [epoch for epoch, _ in self._waiting]

    def add(self, epoch: EpochRecord, value: float) -> None:
        """Take an epoch, and the value that Optuna is to see of it."""
        self._waiting.append((epoch, value))

    def try_to_send(self) -> Asked | None:
        """Write what waits, unless a try has just failed; return what is asked for, or None if epochs still wait.

        Raises:
            LeaseLost: another worker has the slot.
            DatabaseAway: the patience is over.
        """
        if self._outage.pause > 0:
            return None
        try:
            asked = self._send()
        except DBAPIError as error:
            self._outage.note(error)
            return None
        self._outage.over()
        return asked

    def send(self) -> None:
        """Write what waits, however long that takes.

        Raises:
            LeaseLost: another worker has the slot.
            DatabaseAway: the patience is over.
        """
        self._outage.insist(self._send)

    def _send(self) -> Asked:
        asked, kept, away = Asked(), len(self._waiting), self._outage.seconds
        while self._waiting:
            epoch, value = self._waiting[0]
            try:
                asked = self._log.record(self._lease, epoch, value)
            except LeaseLost:
                # It may only have expired while nobody could renew it.
                if not away or not self._ledger.retake(self._lease):
                    raise
                continue
            self._waiting.popleft()
        if away:
            self._back(away, kept)
        return asked
