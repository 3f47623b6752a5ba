"""A lease lives as long as its worker, however long an epoch takes; and what is seen of trials is in their order."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import OperationalError

import caviar.storage.trials
from caviar.storage.engine import make_engine
from caviar.storage.errors import LeaseLost
from caviar.storage.ledger import Ledger
from caviar.storage.records import Asked, Lease, Slot
from caviar.studies.workers.heartbeat import Heartbeat
from caviar.studies.workers.lease import HeldLease
from tests.helpers.leases import PARAMETERS, lease_of
from tests.helpers.workers import ledger, log, register

LEASE = 0.8  # seconds


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.05)


def test_a_lease_outlives_its_length_while_it_is_renewed(engine: Engine) -> None:
    record, _ = register(engine, budget=4)
    who, other = ledger(engine, record, LEASE), ledger(engine, record, LEASE)
    lease = lease_of(who.lease())
    with Heartbeat(who, LEASE / 4) as renewal:
        held = HeldLease(lease)
        renewal.add(held)
        started = time.monotonic()
        while time.monotonic() - started < 3 * LEASE:
            taken = other.lease()
            assert taken is None or taken.slot.number > 0
            time.sleep(0.1)
        held.check()
    wait_for(lambda: (found := other.lease()) is not None and found.slot.number == 0)  # and not longer than that


def test_a_lease_that_was_taken_over_is_told(engine: Engine) -> None:
    record, _ = register(engine)
    who = ledger(engine, record, LEASE)
    lease = lease_of(who.lease())
    with Heartbeat(who, LEASE / 4) as renewal:
        held = HeldLease(lease)
        renewal.add(held)
        with engine.begin() as connection:
            connection.execute(text("UPDATE caviar.slot SET token = gen_random_uuid() WHERE number = 0"))
        wait_for(lambda: held.lost)
    with pytest.raises(LeaseLost, match="slot 0 is lost: another worker has it"):
        held.check()


class Broken:
    """A ledger that fails in a given way, a given number of times."""

    def __init__(self, error: Exception, times: int) -> None:
        self.error, self.times, self.calls = error, times, 0

    def renew(self, leases: Sequence[Lease]) -> dict[int, Asked]:
        self.calls += 1
        if self.calls <= self.times:
            raise self.error
        return {lease.slot.number: Asked() for lease in leases}

    def retake(self, lease: Lease) -> bool:
        return False


LEASED = Lease(1, Slot(0, 1, "default", ()), uuid4(), 1, None, 0)


def renewed(broken: Any, calls: int) -> HeldLease:
    held, late = HeldLease(LEASED), HeldLease(LEASED)
    with Heartbeat(broken, 0.01) as renewal:
        renewal.add(held)
        wait_for(lambda: broken.calls >= calls or held.error is not None)
        renewal.add(late)
    assert late.error is held.error  # a lease that comes after the end of the thread has its error too
    return held


def test_a_database_that_is_away_for_a_moment_is_survived() -> None:
    renewed(Broken(OperationalError("UPDATE", {}, Exception("away")), times=3), calls=5).check()


def test_a_renewal_does_not_die_unseen() -> None:
    with pytest.raises(ZeroDivisionError):
        renewed(Broken(ZeroDivisionError(), times=1), calls=99).check()


def test_trials_become_visible_in_the_order_of_their_ids(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Optuna's cache reads only ids above the highest that it has seen, so a lower one must never come later."""
    record, _ = register(engine)
    first, second = ledger(engine, record), ledger(engine, record)
    slow, quick = lease_of(first.lease()), lease_of(second.lease())
    drawn, go_on, done = threading.Event(), threading.Event(), threading.Event()
    ids: dict[int, int] = {}
    real = caviar.storage.trials.fence

    def hold(connection: Connection, lease: Lease, *also: Any, **values: object) -> None:
        if lease is slow:  # it has drawn its id, and does not commit yet
            drawn.set()
            go_on.wait(20)
        real(connection, lease, *also, **values)

    def begin(lease: Lease) -> None:
        own = make_engine(engine.url)
        ids[lease.slot.number] = log(own, record).begin(lease, PARAMETERS, {})
        own.dispose()
        if lease is quick:
            done.set()

    monkeypatch.setattr(caviar.storage.trials, "fence", hold)
    threads = [threading.Thread(target=begin, args=(lease,)) for lease in (slow, quick)]
    threads[0].start()
    assert drawn.wait(20)
    threads[1].start()
    assert not done.wait(0.7)  # the second waits for the first, instead of being seen before it
    go_on.set()
    for thread in threads:
        thread.join(20)
    assert ids[slow.slot.number] < ids[quick.slot.number]


def test_a_study_that_is_deleted_takes_nobodys_lease_by_surprise(engine: Engine) -> None:
    from caviar.storage.definitions import delete_study
    from caviar.storage.errors import StudyInUse

    record, _ = register(engine)
    who: Ledger = ledger(engine, record)
    lease = lease_of(who.lease())
    with pytest.raises(StudyInUse, match="stop the workers"):
        delete_study(engine, record)
    with engine.begin() as connection:
        connection.execute(text("UPDATE caviar.slot SET expires_at = now() - interval '1 s' WHERE number = 0"))
    delete_study(engine, record)
    with pytest.raises(LeaseLost):
        log(engine, record).begin(lease, PARAMETERS, {})
