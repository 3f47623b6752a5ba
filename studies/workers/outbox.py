"""Epochs on their way to the database: kept in memory while it is away, written in order when it is back.

Those of all trials that a worker trains together are one transaction. They are sent in a thread, for which the training
waits only a moment: a line that has gone silent takes seconds until the driver notices.
"""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor, wait

from sqlalchemy.exc import SQLAlchemyError

from caviar.epoch import Epoch
from caviar.storage.errors import LeaseLost
from caviar.storage.records import Asked, Lease, Report
from caviar.studies.workers.context import WorkerContext

_MOMENT = 1.0  # seconds that the training waits for the database after an epoch


class Outbox:
    """The epochs of a worker's trials that the database does not have yet."""

    def __init__(self, context: WorkerContext) -> None:
        self._context = context
        self._outage = context.outage
        self._sender = ThreadPoolExecutor(1, thread_name_prefix="outbox")
        self._sending: Future[None] | None = None
        self._waiting: tuple[
            Report, ...
        ] = ()  # replaced, never changed; by the thread only while a sending is under way
        self._added: list[Report] = []  # while one was
        self._asked: dict[int, Asked] = {}
        self._lost: set[int] = set()

    def add(self, lease: Lease, epoch: Epoch, value: float) -> None:
        """Take an epoch, and the value that Optuna is to see of it."""
        self._added.append(Report(lease, epoch, value))

    def waiting(self, lease: Lease) -> list[Epoch]:
        """Return the epochs of a trial that are not written."""
        number = lease.slot.number
        return [report.epoch for report in (*self._waiting, *self._added) if report.lease.slot.number == number]

    def asked(self, lease: Lease) -> Asked:
        """Return what was asked for when the trial's last epochs were written.

        Raises:
            LeaseLost: another worker has the slot.
        """
        if lease.slot.number in self._lost:
            raise LeaseLost(f"slot {lease.slot.number} was taken over by another worker")
        return self._asked.get(lease.slot.number, Asked())

    def forget(self, lease: Lease) -> None:
        """Forget what waits of a trial, and what was heard of it."""
        self._finish_sending()
        number = lease.slot.number
        self._waiting = tuple(report for report in self._all() if report.lease.slot.number != number)
        self._asked.pop(number, None)
        self._lost.discard(number)

    def try_to_send(self) -> bool:
        """Write what waits, unless a try has just failed; False if epochs still wait.

        Raises:
            DatabaseAway: the patience is over.
        """
        if self._sending is None:
            if self._outage.pause > 0:
                return False
            self._waiting = self._all()
            self._sending = self._sender.submit(self._send)
        if not wait([self._sending], timeout=_MOMENT).done:
            return False
        self._finish_sending()
        return not (self._waiting or self._added)

    def send(self) -> None:
        """Write what waits, however long that takes.

        Raises:
            DatabaseAway: the patience is over.
        """
        self._finish_sending()
        self._waiting = self._all()
        if self._waiting:
            self._outage.insist(self._send)

    def _all(self) -> tuple[Report, ...]:
        """Return all that waits, of an epoch that was trained twice the second one."""
        added, self._added = self._added, []
        reports = {(report.lease.slot.number, report.epoch.epoch): report for report in (*self._waiting, *added)}
        return tuple(reports.values())

    def _finish_sending(self) -> None:
        """Hear of what the thread did, if it was sent to do anything."""
        if self._sending is None:
            return
        sending, self._sending = self._sending, None
        try:
            sending.result()
        except SQLAlchemyError as error:
            self._outage.note(error)
        else:
            self._outage.over()

    def _send(self) -> None:
        ledger, kept, away = self._context.ledger, self._waiting, self._outage.seconds
        while self._waiting:
            leases = {report.lease.slot.number: report.lease for report in self._waiting}
            asked = self._context.log.record(self._waiting)
            # A lease may only have expired while nobody could renew it.
            lost = {number for number in leases.keys() - asked.keys() if not ledger.retake(leases[number])}
            self._asked |= asked
            self._lost |= lost
            settled = asked.keys() | lost
            self._waiting = tuple(r for r in self._waiting if r.lease.slot.number not in settled)
        if away and kept:
            self._context.note("database back", kept[0].lease, seconds=round(away), epochs=len(kept))
