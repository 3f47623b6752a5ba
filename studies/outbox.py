"""Epochs on their way to the database: kept in memory while it is away, written in order when it is back.

They are sent in a thread, for which the training waits only a moment: a line that has gone silent takes seconds
until the driver notices.
"""

from __future__ import annotations

from collections import deque
from concurrent.futures import Executor, Future, wait

from sqlalchemy.exc import SQLAlchemyError

from storage.errors import LeaseLost
from storage.records import Asked, EpochRecord, Lease
from studies.worker_context import WorkerContext

_MOMENT = 1.0  # seconds that the training waits for the database after an epoch


class Outbox:
    """The epochs of one trial that the database does not have yet.

    Args:
        sender: of one thread.
    """

    def __init__(self, context: WorkerContext, lease: Lease, sender: Executor) -> None:
        self._context = context
        self._outage = context.outage
        self._lease = lease
        self._sender = sender
        self._sending: Future[Asked] | None = None
        self._waiting: deque[tuple[EpochRecord, float]] = deque()

    @property
    def waiting(self) -> list[EpochRecord]:
        """The epochs that are not written."""
        return [epoch for epoch, _ in list(self._waiting)]  # at one moment: the thread takes from it

    def add(self, epoch: EpochRecord, value: float) -> None:
        """Take an epoch, and the value that Optuna is to see of it."""
        self._waiting.append((epoch, value))

    def try_to_send(self) -> Asked | None:
        """Write what waits, unless a try has just failed; return what is asked for, or None if epochs still wait.

        Raises:
            LeaseLost: another worker has the slot.
            DatabaseAway: the patience is over.
        """
        if self._sending is None:
            if self._outage.pause > 0:
                return None
            self._sending = self._sender.submit(self._send)
        if not wait([self._sending], timeout=_MOMENT).done:
            return None
        return self._sent()

    def send(self) -> None:
        """Write what waits, however long that takes.

        Raises:
            LeaseLost: another worker has the slot.
            DatabaseAway: the patience is over.
        """
        if self._sending is not None:
            self._sent()
        self._outage.insist(self._send)

    def _sent(self) -> Asked | None:
        """Return what the thread was told, or None where it did not get through."""
        assert self._sending is not None
        sending, self._sending = self._sending, None
        try:
            asked = sending.result()
        except SQLAlchemyError as error:
            self._outage.note(error)
            return None
        self._outage.over()
        return None if self._waiting else asked

    def _send(self) -> Asked:
        asked, kept, away = Asked(), len(self._waiting), self._outage.seconds
        while self._waiting:
            epoch, value = self._waiting[0]
            try:
                asked = self._context.log.record(self._lease, epoch, value)
            except LeaseLost:
                if not self._context.ledger.retake(self._lease):  # it may only have expired while nobody could renew it
                    raise
                continue
            self._waiting.popleft()
        if away:
            self._context.note("database back", self._lease, seconds=round(away), epochs=kept)
        return asked
