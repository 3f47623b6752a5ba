"""Send epochs to the database: they wait in memory while it is away, and are written in order when it is back.

The epochs of all trials that a worker trains together are one transaction. A thread sends them, for which the training
waits only a moment: until the driver notices that a line has gone silent, seconds pass.
"""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor, wait
from functools import partial
from typing import NamedTuple

from sqlalchemy.exc import SQLAlchemyError

from caviar.epoch import Epoch
from caviar.storage.records import Report
from caviar.storage.states import EventKind
from caviar.studies.workers.context import WorkerContext
from caviar.studies.workers.lease import HeldLease, hear

_MOMENT = 1.0  # seconds that the training waits for the database after an epoch


class _Unwritten(NamedTuple):
    """An epoch, and the value that Optuna is to see of it, if any."""

    held: HeldLease
    epoch: Epoch
    value: float | None


class Outbox:
    """The epochs of a worker's trials that the database does not have yet."""

    def __init__(self, context: WorkerContext) -> None:
        self._context = context
        self._outage = context.outage
        self._sender = ThreadPoolExecutor(1, thread_name_prefix="outbox")
        self._sending: Future[None] | None = None
        # Replaced, never changed; by the thread only while it is sending, when new epochs go to the other list.
        self._waiting: tuple[_Unwritten, ...] = ()
        self._added: list[_Unwritten] = []

    def add(self, held: HeldLease, epoch: Epoch, value: float | None) -> None:
        """Add an epoch of the trial of a lease, and the value that Optuna is to see of it, if any."""
        self._added.append(_Unwritten(held, epoch, value))

    def unwritten(self, held: HeldLease) -> list[Epoch]:
        """Return the epochs of a trial that are not written."""
        return [one.epoch for one in (*self._waiting, *self._added) if one.held is held]

    def forget(self, held: HeldLease) -> None:
        """Drop the epochs of a trial that are not written."""
        self._finish_sending()
        self._waiting = tuple(one for one in self._all() if one.held is not held)

    @property
    def is_sending(self) -> bool:
        """Whether the database has not answered yet to what was sent last."""
        return self._sending is not None and not self._sending.done()

    def try_to_send(self) -> bool:
        """Write what waits, unless a try has just failed; return False if epochs still wait."""
        if self._sending is None:
            if self._outage.pause > 0:
                return False
            self._waiting = self._all()
            self._sending = self._sender.submit(self._send)
        if not wait([self._sending], timeout=_MOMENT).done:
            return False
        self._finish_sending()
        return not (self._waiting or self._added)

    def send(self, held: HeldLease) -> None:
        """Write what waits, of all trials, however long that takes.

        Raises:
            LeaseLost: another worker has the slot of this lease; the other trials' epochs are written.
            DatabaseAway: the patience is over.
        """
        self._finish_sending()
        self._waiting = self._all()
        if self._waiting:
            self._outage.insist(self._send)
        held.check()

    def _all(self) -> tuple[_Unwritten, ...]:
        """Return all that waits; of an epoch that was trained twice, the second training."""
        added, self._added = self._added, []
        return tuple({(id(one.held), one.epoch.epoch): one for one in (*self._waiting, *added)}.values())

    def _finish_sending(self) -> None:
        """Wait for the thread, if it is sending, and raise what it raised."""
        if self._sending is None:
            return
        sending, self._sending = self._sending, None
        try:
            sending.result()
        except SQLAlchemyError as error:
            self._outage.failed(error)
        else:
            self._outage.over()

    def _send(self) -> None:
        unwritten, away = self._waiting, self._outage.seconds
        while self._waiting:
            leases = {id(one.held): one.held for one in self._waiting}
            reports = [Report(one.held.lease, one.epoch, one.value) for one in self._waiting]
            answers = hear(self._context.ledger, leases.values(), partial(self._context.log.record, reports))
            # Those of a lease that was only taken back are not written: once more.
            self._waiting = tuple(
                one for one in self._waiting if one.held.lease.key not in answers and not one.held.lost
            )
        if away and unwritten:
            lease, epochs = unwritten[0].held.lease, len(unwritten)
            self._context.record_event(EventKind.DATABASE_BACK, lease, seconds=round(away), epochs=epochs)
