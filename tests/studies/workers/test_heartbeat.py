"""A lease lives as long as its worker, however long an epoch takes, and is told from others of its slot."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any
from unittest.mock import Mock
from uuid import uuid4

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import OperationalError

from caviar.storage.errors import LeaseLost
from caviar.storage.ledger import Ledger
from caviar.storage.records import Asked, Lease, LeaseKey, Slot
from caviar.studies.workers.heartbeat import Heartbeat
from caviar.studies.workers.lease import HeldLease, hear
from caviar.studies.workers.outbox import Outbox
from tests.helpers.epochs import measured
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

    def renew(self, leases: Sequence[Lease]) -> dict[LeaseKey, Asked]:
        self.calls += 1
        if self.calls <= self.times:
            raise self.error
        return {lease.key: Asked() for lease in leases}

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


class Nobody:
    """A ledger that takes no lease back."""

    def retake(self, lease: Lease) -> bool:
        return False


def two_leases_of_one_slot() -> tuple[HeldLease, HeldLease]:
    return HeldLease(LEASED), HeldLease(replace(LEASED, token=uuid4()))


def test_an_answer_is_for_the_lease_that_it_names_and_not_for_an_earlier_one_of_its_slot() -> None:
    old, new = two_leases_of_one_slot()
    hear(Nobody(), [old, new], lambda: {new.lease.key: Asked(kill=True)})
    assert (old.lost, new.lost) == (True, False)
    assert (old.requested, new.requested) == (Asked(), Asked(kill=True))


def test_epochs_of_two_leases_of_one_slot_wait_and_are_dropped_apart() -> None:
    old, new = two_leases_of_one_slot()
    outbox, epoch = Outbox(Mock()), measured(1, 0.5, 0.6, 0.7, 0.1, 0.01)
    for held in (new, old):
        outbox.add(held, epoch, 0.7)
    outbox.forget(old)
    assert (outbox.unwritten(old), outbox.unwritten(new)) == ([], [epoch])


@pytest.mark.parametrize("request_", [Asked("pause"), Asked("stop", at_once=True), Asked(kill=True)])
def test_of_answers_that_cross_each_other_none_hides_a_request(request_: Asked) -> None:
    held = HeldLease(LEASED)
    key = held.lease.key

    def slow() -> dict[LeaseKey, Asked]:  # an answer from before the request, which comes after it
        hear(Nobody(), [held], lambda: {key: request_})
        return {key: Asked()}

    hear(Nobody(), [held], slow)
    assert held.requested == request_
    hear(Nobody(), [held], lambda: {key: Asked()})  # sent later, it says that the request was taken back
    assert held.requested == Asked()
