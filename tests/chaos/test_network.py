"""Two hosts and a database; the cable of one is pulled for longer than its lease, and mended."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator

import pytest

from tests.chaos.network import Host, why_not
from tests.chaos.scene import Row, Scene
from tests.chaos.server import Server

Report = Callable[[Row], None]


@pytest.fixture
def hosts() -> Iterator[list[Host]]:
    reason = why_not()
    if reason:
        pytest.skip(reason)
    made = [Host(f"cv{os.getpid() % 100000}{letter}", 10 + number) for number, letter in enumerate("ab")]
    try:
        yield [host.make() for host in made]
    finally:
        for host in made:
            host.remove()


@pytest.mark.slow
def test_a_cable_that_is_pulled_and_mended(
    hosts: list[Host], new_server: Callable[..., Server], new_scene: Callable[..., Scene], report: Report
) -> None:
    server = new_server(listen="*")
    scene = new_scene(server.url(), lease=3.0)
    scene.begin(9, epochs=60)
    for host in hosts:
        scene.start(2, url=server.url(host.database), prefix=host.prefix)
    scene.wait_until(lambda: len(scene.at_work()) == 4)
    cut, _ = hosts
    machine = scene.machines[0]
    of_cut = {
        row.pid for row in scene.at_work() if os.getpgid(row.pid) == machine.pid or _is_child(row.pid, machine.pid)
    }
    held = [row.number for row in scene.at_work() if row.pid in of_cut]
    assert held
    scene.note_hit()
    cut.cut()
    began = time.monotonic()

    def taken() -> bool:
        found = scene.rows("SELECT w.pid, s.state FROM caviar.slot s JOIN caviar.worker w USING (worker_id) "
                           "WHERE s.number = ANY(:held)", held=held)  # fmt: skip
        return all(row.state == "done" or (row.state == "leased" and row.pid not in of_cut) for row in found)

    scene.wait_until(taken)
    scene.slowest = max(scene.slowest, time.monotonic() - began)
    time.sleep(max(0.0, began + 3 * scene.lease - time.monotonic()))
    assert machine.poll() is None, scene.said()
    cut.mend()
    scene.finish()
    assert [m.returncode for m in scene.machines] == [0, 0], scene.said()
    report(scene.audit("a host cut off for longer than its lease, then mended", 1))


def _is_child(pid: int, ancestor: int) -> bool:
    """Say whether a process descends from another one."""
    while pid > 1:
        with open(f"/proc/{pid}/stat") as file:
            pid = int(file.read().rpartition(")")[2].split()[1])
        if pid == ancestor:
            return True
    return False
