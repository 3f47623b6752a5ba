"""A database that restarts, crashes, drops its connections, has none left, and is away for long."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

import psycopg2
import pytest
from sqlalchemy import text

from tests.chaos.scene import Row, Scene
from tests.chaos.server import Server

Report = Callable[[Row], None]
FAULTS = {
    "fast": "PostgreSQL restarted (fast)",
    "immediate": "PostgreSQL restarted (immediate)",
    "kill": "PostgreSQL killed with SIGKILL",
}


def begin(scene: Scene, budget: int, machines: int = 1, workers: int = 4, epochs: int = 20) -> None:
    scene.begin(budget, epochs)
    for _ in range(machines):
        scene.start(workers)
    scene.wait_until(lambda: len(scene.at_work()) >= machines * workers - 1)


def take_down(server: Server, how: str) -> None:
    if how == "kill":
        server.kill()
    else:
        server.stop(how)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("ways", "times"),
    [pytest.param(["kill"], 1, marks=pytest.mark.short), pytest.param(list(FAULTS), 5, marks=pytest.mark.chaos)],
)
def test_a_server_that_restarts(
    ways: list[str], times: int, new_server: Callable[..., Server], new_scene: Callable[..., Scene], report: Report
) -> None:
    server = new_server()
    scene = new_scene(server.url(), lease=6.0)
    begin(scene, budget=8 + 4 * times * len(ways), epochs=15)
    slowest = dict.fromkeys(ways, 0.0)
    for how in ways * times:
        scene.note_hit()
        take_down(server, how)
        time.sleep(0.5)
        server.start()
        slowest[how] = max(slowest[how], scene.recovered())
    scene.finish()
    assert [machine.returncode for machine in scene.machines] == [0], scene.said()
    row = scene.audit("", times)
    for how in ways:
        report(replace(row, fault=FAULTS[how], slowest=slowest[how]))


@pytest.mark.slow
@pytest.mark.parametrize(
    "seconds", [pytest.param(6, marks=pytest.mark.short), pytest.param(30, marks=pytest.mark.chaos)]
)
def test_a_server_that_is_away_for_longer_than_a_lease(
    seconds: int, new_server: Callable[..., Server], new_scene: Callable[..., Scene], report: Report
) -> None:
    server = new_server()
    scene = new_scene(server.url())
    begin(scene, budget=5, epochs=100)
    scene.note_hit()
    server.stop()
    time.sleep(seconds)
    server.start()
    scene.recovered()
    kept = scene.wait_until(lambda: scene.rows("SELECT 1 FROM caviar.event WHERE kind = 'database back'"))
    assert kept < 60
    scene.finish()
    assert [machine.returncode for machine in scene.machines] == [0], scene.said()
    epochs = scene.rows("SELECT max((detail->>'epochs')::int) FROM caviar.event WHERE kind = 'database back'")[0][0]
    assert epochs > 1  # the training went on meanwhile, however busy the machine is
    report(scene.audit(f"PostgreSQL away for {seconds} s, with leases of {scene.lease:.0f} s", 1))


@pytest.mark.slow
@pytest.mark.chaos
def test_a_server_that_is_there_and_does_not_answer(
    new_server: Callable[..., Server], new_scene: Callable[..., Scene], report: Report
) -> None:
    server = new_server()
    scene = new_scene(server.url())
    begin(scene, budget=6, machines=2, workers=2, epochs=60)
    scene.note_hit()
    server.freeze()
    time.sleep(8)
    server.freeze(thaw=True)
    scene.recovered()
    scene.note_hit()
    server.freeze()
    scene.machines[0].terminate()  # whoever is to leave does not wait for the server
    assert scene.machines[0].wait(45) in (0, 75), scene.said()
    server.freeze(thaw=True)
    scene.recovered()
    scene.finish()
    report(scene.audit("PostgreSQL frozen for 8 s, and while a host leaves", 2))


@pytest.mark.slow
@pytest.mark.chaos
def test_backends_that_are_terminated_one_by_one(
    new_server: Callable[..., Server], new_scene: Callable[..., Scene], report: Report
) -> None:
    server = new_server()
    scene = new_scene(server.url(), lease=6.0)
    begin(scene, budget=16)
    ended = 0
    for _ in range(15):
        found = scene.rows("SELECT pid FROM pg_stat_activity WHERE application_name = 'caviar' "
                           "AND pid <> pg_backend_pid() ORDER BY random()")  # fmt: skip
        scene.note_hit()
        if found:
            ended += bool(scene.rows("SELECT pg_terminate_backend(:pid)", pid=found[0][0])[0][0])
        time.sleep(0.2)
    scene.recovered()
    scene.finish()
    assert ended >= 10
    assert [machine.returncode for machine in scene.machines] == [0], scene.said()
    report(scene.audit("backends terminated one by one", ended))


@pytest.mark.slow
@pytest.mark.chaos
def test_connections_that_are_all_taken(
    new_server: Callable[..., Server], new_scene: Callable[..., Scene], report: Report
) -> None:
    server = new_server(connections=14)
    scene = new_scene(server.url(), lease=6.0)
    begin(scene, budget=16)
    address = server.url().render_as_string(hide_password=False).replace("+psycopg2", "")
    hogs = []
    scene.note_hit()
    with scene.engine.connect() as connection:
        connection.execute(text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                                "WHERE application_name = 'caviar' AND pid <> pg_backend_pid()"))  # fmt: skip
        while len(hogs) < 14:  # whoever is quicker than the workers has their connections
            try:
                hogs.append(psycopg2.connect(address))
            except psycopg2.OperationalError:
                break
    scene.start(2)  # and one that finds none from the start
    time.sleep(5)
    for hog in hogs:
        hog.close()
    scene.recovered()
    scene.finish()
    assert [machine.returncode for machine in scene.machines] == [0, 0], scene.said()
    report(scene.audit("connections exhausted for 5 s", 1))
