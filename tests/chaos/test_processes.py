"""Workers that are killed, asked to leave, and frozen."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy.engine import URL

from tests.chaos.scene import LEASE, Row, Scene, chaos_study, send
from tests.helpers.studies import write_study

Report = Callable[[Row], None]
_SPARE = 16  # trials that are left while signals are sent: two for each worker
KILL, TERM = "kill -9 of a random worker every second", "SIGTERM to a random worker every second"


def disturb(scene: Scene, number: int, signals: int, machines: int, workers: int) -> None:
    """Send a signal to a worker, at most one each second, so many times; the study has work meanwhile."""
    sent, pending, next_one = 0, list[tuple[float, object, object]](), time.monotonic()
    while sent < signals or (pending and scene.left()):
        scene.keep_alive(machines, workers)
        if sent < signals and scene.left() < _SPARE:
            scene.extend(_SPARE)
        found = scene.at_work()
        if found and sent < signals and next_one <= time.monotonic():
            pid, worker_id, slot = found[0]
            if send(pid, number):
                sent += 1
                pending.append((time.monotonic(), slot, worker_id))
                next_one = time.monotonic() + 1
        held = {(row[2], row[1]) for row in scene.rows("SELECT 0, worker_id, number FROM caviar.slot "
                                                       "WHERE state IN ('leased', 'open')")}  # fmt: skip
        for entry in list(pending):
            if (entry[1], entry[2]) not in held:  # another worker has it, or it is done
                scene.slowest = max(scene.slowest, time.monotonic() - entry[0])
                pending.remove(entry)
        time.sleep(0.05)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "number", "signals", "cohort"),
    [
        pytest.param(KILL, signal.SIGKILL, 4, 1, marks=pytest.mark.short),
        pytest.param(KILL, signal.SIGKILL, 45, 1, marks=pytest.mark.chaos),
        pytest.param(f"{KILL}, cohorts of 4", signal.SIGKILL, 4, 4, marks=pytest.mark.short),
        pytest.param(f"{KILL}, cohorts of 4", signal.SIGKILL, 25, 4, marks=pytest.mark.chaos),
        pytest.param(TERM, signal.SIGTERM, 45, 1, marks=pytest.mark.chaos),
        pytest.param(f"{TERM}, cohorts of 4", signal.SIGTERM, 25, 4, marks=pytest.mark.chaos),
    ],
)
def test_workers_that_end(
    name: str, number: int, signals: int, cohort: int, database_url: URL, new_scene: Callable[..., Scene],
    report: Report,
) -> None:  # fmt: skip
    scene = new_scene(database_url, lease=6.0, cohort=cohort)  # a busy machine's workers keep it, too
    scene.begin(30 * cohort, epochs=20)
    for _ in range(4):
        scene.start(2)
    scene.wait_until(lambda: len(scene.at_work()) >= 6)
    disturb(scene, number, signals, machines=4, workers=2)
    scene.wait_until(lambda: scene.keep_alive(4, 2) or not scene.left())
    scene.finish()
    report(scene.audit(name, signals))


@pytest.mark.slow
def test_a_worker_frozen_past_its_lease_is_refused_and_goes_on_with_another_slot(
    database_url: URL, new_scene: Callable[..., Scene], report: Report
) -> None:
    scene = new_scene(database_url)
    scene.begin(12, epochs=40)
    for _ in range(2):
        scene.start(1)
    times = 3
    for _ in range(times):
        scene.wait_until(scene.at_work)
        pid, worker_id, slot = scene.at_work()[0]
        assert send(pid, signal.SIGSTOP)
        frozen = time.monotonic()

        def taken(slot: int = slot, worker_id: object = worker_id) -> bool:
            (row,) = scene.rows("SELECT worker_id, state FROM caviar.slot WHERE number = :n", n=slot)
            return row.worker_id != worker_id or row.state == "done"

        scene.wait_until(taken)
        took = time.monotonic() - frozen
        assert took > LEASE * 0.5  # nobody takes what is held
        scene.slowest = max(scene.slowest, took)
        assert send(pid, signal.SIGCONT)

        def elsewhere(slot: int = slot, worker_id: object = worker_id) -> bool:
            found = scene.rows("SELECT number FROM caviar.slot WHERE worker_id = :w AND number <> :n "
                               "AND number > :n", w=worker_id, n=slot)  # fmt: skip
            return bool(found) or not scene.left()

        scene.wait_until(elsewhere)
    scene.finish()
    told = scene.rows("SELECT count(*) FROM caviar.event WHERE kind = 'lease expired'")[0][0]
    assert told >= times
    report(scene.audit("a worker frozen past its lease, then continued", times))


@pytest.mark.slow
@pytest.mark.parametrize(("commands", "workers"), [pytest.param(4, 8, marks=pytest.mark.chaos)])
def test_workers_that_start_at_the_same_instant_on_an_empty_database(
    commands: int, workers: int, new_database: Callable[..., URL], new_scene: Callable[..., Scene],
    report: Report, tmp_path: Path,
) -> None:  # fmt: skip
    scene = new_scene(new_database(empty=True), lease=10)
    scene.study = chaos_study(48, 4)
    file = write_study(tmp_path / "chaos.py", scene.study)
    for _ in range(commands):
        scene.start(workers, "run", file)
    scene.wait_until(lambda: scene.rows("SELECT 1 FROM caviar.slot LIMIT 1"))
    scene.finish()
    assert [machine.returncode for machine in scene.machines] == [0] * commands, scene.said()
    assert scene.rows("SELECT count(*) FROM caviar.worker")[0][0] == commands * workers
    report(scene.audit(f"{commands * workers} workers start at once on an empty database", commands * workers))
