"""What counts as a database that is away, for how long that is borne, and what ends the wait."""

from __future__ import annotations

import time

import psycopg2
import pytest
from psycopg2 import errors
from sqlalchemy.exc import DBAPIError, IntegrityError, InternalError, OperationalError, ProgrammingError

from caviar.storage import outage as outage_module
from caviar.storage.errors import DatabaseAway
from caviar.storage.outage import Outage, is_away, is_busy
from caviar.storage.stopped import Pauses

FULL = [0.25, 0.5, 1, 2, 4, 5, 5, 5]  # seconds of the pauses, on average
AWAY = OperationalError("SELECT", {}, psycopg2.OperationalError("connection refused"))


class Failing:
    """Fails a number of times, and then answers."""

    def __init__(self, times: int, error: Exception = AWAY) -> None:
        self.times, self.error, self.calls = times, error, 0

    def __call__(self) -> str:
        self.calls += 1
        if self.calls <= self.times:
            raise self.error
        return "answer"


def test_an_operation_is_done_again_until_it_goes_well() -> None:
    outage, operation = Outage(60), Failing(3)
    assert outage.insist(operation) == "answer"
    assert operation.calls == 4
    assert outage.seconds == 0


def test_patience_ends() -> None:
    started = time.monotonic()
    with pytest.raises(DatabaseAway, match=r"was away for \d s \(connection refused\); .* the same command"):
        Outage(0.6).insist(Failing(999))
    assert 0.6 <= time.monotonic() - started < 5


def test_time_in_which_the_process_is_stopped_is_not_taken_from_the_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    stopped = 0.0
    now = time.monotonic()
    monkeypatch.setattr(outage_module, "stopped_seconds", lambda: stopped)
    monkeypatch.setattr(outage_module.time, "monotonic", lambda: now)
    outage = Outage(60)
    outage.failed(AWAY)
    now, stopped = now + 3630, 3600.0
    outage.failed(AWAY)
    assert outage.seconds == 30
    now += 31
    with pytest.raises(DatabaseAway, match="was away for 61 s"):
        outage.failed(AWAY)


def test_the_pauses_of_a_process_are_what_lies_between_two_looks_beyond_some_seconds() -> None:
    now = 100.0
    pauses = Pauses(lambda: now)
    for step in (0.5, 4.0, 65.0, 0.5):
        now += step
        pauses.look()
    assert pauses.look() == 60.0


def test_many_that_lose_a_database_at_the_same_moment_do_not_try_again_at_the_same_moment() -> None:
    outages = [Outage(60) for _ in range(50)]
    for _ in range(6):
        for outage in outages:
            outage.failed(AWAY)
    pauses = [outage.pause for outage in outages]
    assert max(pauses) - min(pauses) > 2.5
    assert min(pauses) > 2


def test_a_hurry_ends_it_at_once() -> None:
    with pytest.raises(DatabaseAway):
        Outage(60, hurry=lambda: True).insist(Failing(999))


def test_pauses_grow_and_end_with_the_outage() -> None:
    outage = Outage(60)
    pauses = []
    for _ in range(8):
        outage.failed(AWAY)
        pauses.append(outage.pause)
    assert all(0.5 * full - 0.1 < pause <= 1.5 * full for pause, full in zip(pauses, FULL, strict=True)), pauses
    assert outage.over() >= 0
    assert outage.pause == 0
    outage.failed(AWAY)
    assert outage.pause <= 1.5 * FULL[0]


@pytest.mark.parametrize(
    "error",
    [
        ProgrammingError("SELECT", {}, errors.UndefinedTable("no such table")),
        IntegrityError("INSERT", {}, errors.UniqueViolation("twice")),
        ZeroDivisionError(),
    ],
)
def test_a_mistake_is_never_tried_again(error: Exception) -> None:
    operation = Failing(1, error)
    with pytest.raises(type(error)):
        Outage(60).insist(operation)
    assert operation.calls == 1


def test_a_mend_that_meets_an_outage_is_tried_again() -> None:
    mend, mistake = Failing(2), IntegrityError("INSERT", {}, errors.ForeignKeyViolation("no row"))
    outage = Outage(60, recover=lambda error: mend() == "answer")
    assert outage.insist(Failing(3, mistake)) == "answer"
    assert mend.calls == 3
    with pytest.raises(DatabaseAway):
        Outage(0, recover=lambda error: bool(Failing(1)())).insist(Failing(1, mistake))


@pytest.mark.parametrize(
    ("error", "away"),
    [
        (OperationalError("SELECT", {}, errors.AdminShutdown("terminating connection")), True),
        (OperationalError("SELECT", {}, errors.QueryCanceled("statement timeout")), True),
        (InternalError("UPDATE", {}, errors.ReadOnlySqlTransaction("a standby")), True),
        (InternalError("UPDATE", {}, errors.InvalidTransactionState("a mistake")), False),
        (ValueError(), False),
    ],
)
def test_what_is_away(error: Exception, away: bool) -> None:
    assert is_away(error) is away


@pytest.mark.parametrize(
    ("words", "busy"),
    [
        ("FATAL:  sorry, too many clients already", True),
        ("FATAL:  remaining connection slots are reserved for roles with the SUPERUSER attribute", True),
        ("FATAL:  the database system is starting up", True),
        ("FATAL:  the database system is in recovery mode", True),
        ("FATAL:  terminating connection due to administrator command", True),
        ("connection refused", False),
        ('FATAL:  database "nowhere" does not exist', False),
    ],
)
def test_what_is_busy(words: str, busy: bool) -> None:
    assert is_busy(DBAPIError("SELECT", {}, psycopg2.OperationalError(words))) is busy
