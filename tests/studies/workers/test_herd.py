"""What many workers do at the same moment is spread, and what each does costs the less often the more there are."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import Engine, event

from caviar.storage.history import History
from caviar.studies.workers import worker as worker_module
from caviar.studies.workers.heartbeat import Heartbeat
from caviar.studies.workers.local.supervisor import look_seconds
from tests.helpers.workers import register, worker


def test_all_commands_together_look_at_a_study_as_often_however_many_there_are() -> None:
    assert look_seconds(0) == look_seconds(1) == look_seconds(10) == 0.5
    for workers in (20, 100, 500):
        looks = sum(1 / look_seconds(workers) for _ in range(workers))
        assert 15 < looks < 27
    assert look_seconds(10**6) < 40  # it is looked at even so
    assert len({look_seconds(100) for _ in range(20)}) > 15


class Waited(threading.Event):
    """Says for how long it was waited, and ends the wait."""

    def __init__(self, times: int) -> None:
        super().__init__()
        self.left, self.waits = times, list[float]()

    def wait(self, timeout: float | None = None) -> bool:
        self.waits.append(timeout or 0.0)
        self.left -= 1
        return self.left <= 0


def test_leases_that_began_at_the_same_moment_are_renewed_at_different_ones() -> None:
    first = list[float]()
    for _ in range(50):
        beat = Heartbeat(SimpleNamespace(renew=dict, retake=bool), 15.0)  # type: ignore[arg-type]
        beat._over = waited = Waited(3)
        with beat:
            beat._thread.join(60)
        assert waited.waits[1:] == [15.0, 15.0]
        first.append(waited.waits[0])
    assert max(first) <= 15
    assert min(first) < 5 < 10 < max(first)


def test_who_waits_for_the_last_trials_asks_ever_less_often_and_leaves_at_once(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    record, study = register(engine, budget=3)
    holder, waiter = worker(engine, record, study), worker(engine, record, study, lease_seconds=60)
    assert all(holder.context.ledger.lease() for _ in range(3))
    waits = list[float]()

    def sleep(seconds: float) -> None:
        waits[-1] += seconds
        now[0] += seconds
        if len(waits) == 12:
            waiter.context.pulse.leave()

    now = [100.0]
    monkeypatch.setattr(worker_module, "time", SimpleNamespace(monotonic=lambda: now[0], sleep=sleep))
    real = waiter._wait

    def wait(seconds: float) -> None:
        waits.append(0.0)
        real(seconds)

    monkeypatch.setattr(waiter, "_wait", wait)
    waiter.run()
    assert waits[0] < 0.7
    assert all(7.4 < seconds < 12.6 for seconds in waits[9:11]), waits
    assert waits[9] != waits[10]
    assert waits[11] <= 0.2  # in the middle of a wait


@pytest.mark.parametrize(("running", "least", "most"), [(0, 36, 60), (10**6, 3, 9)])
def test_the_more_trials_run_the_less_often_a_worker_reads_them(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, running: int, least: int, most: int
) -> None:
    monkeypatch.setattr("caviar.studies.workers.trainer._REFRESH_SECONDS", 0)
    monkeypatch.setattr(History, "running", property(lambda self: running))
    record, study = register(engine, epochs=12, budget=3, pruner="none", strategy="random")
    readings = list[Any]()

    @event.listens_for(engine, "before_cursor_execute")
    def count(conn: Any, cursor: Any, statement: str, *rest: Any) -> None:
        if "FROM public.trials t LEFT JOIN caviar.slot s" in statement and ":seen" not in statement:
            readings.append(statement)

    worker(engine, record, study, lease_seconds=7200, renew_seconds=3600).run()
    assert least <= len(readings) <= most
