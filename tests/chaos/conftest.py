"""Scenes for the chaos suite, and its report: `make chaos` writes it down, and prints it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.scene import Row, Scene
from tests.chaos.server import Server


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let these take long: 200 faults one upon another are minutes on a quiet machine, and many on a busy one."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.timeout(3600))


@pytest.fixture
def new_server() -> Iterator[Callable[..., Server]]:
    made: list[Server] = []

    def make(**options: Any) -> Server:
        made.append(Server(**options))
        return made[-1]

    yield make
    for server in made:
        server.remove()


@pytest.fixture
def new_scene(tmp_path: Path) -> Iterator[Callable[..., Scene]]:
    made: list[Scene] = []

    def make(*arguments: Any, **options: Any) -> Scene:
        made.append(Scene(*arguments, folder=tmp_path, **options))
        return made[-1]

    yield make
    for scene in made:
        scene.close()


@pytest.fixture
def report(record_property: Callable[[str, Any], None]) -> Callable[[Row], None]:
    """Note what a fault did; with the test's own report it comes from whichever process runs the test."""
    return lambda row: record_property("fault", vars(row))


def _together(rows: list[Row]) -> Row:
    """Return one row for a fault that several tests have seen."""
    counts = {
        name: sum(getattr(row, name) for row in rows)
        for name in ("injected", "lost", "doubled", "overshoot", "interrupted")
    }
    return Row(fault=rows[0].fault, slowest=max(row.slowest for row in rows), **counts)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    rows = [
        Row(**row)
        for passed in terminalreporter.stats.get("passed", ())
        for name, row in passed.user_properties
        if name == "fault" and passed.when == "call"
    ]
    if not rows:
        return
    rows = [_together([row for row in rows if row.fault == fault]) for fault in sorted({row.fault for row in rows})]
    terminalreporter.section("faults")
    line = "{:<58} {:>8} {:>5} {:>8} {:>10} {:>12} {:>18}"
    terminalreporter.write_line(
        line.format("fault", "injected", "lost", "doubled", "overshoot", "interrupted", "slowest recovery")
    )
    for r in rows:
        told = (r.fault, r.injected, r.lost, r.doubled, r.overshoot, r.interrupted, f"{r.slowest:.1f} s")
        terminalreporter.write_line(line.format(*told))
    path = os.environ.get("CHAOS_REPORT")
    if path:
        lines = ",\n".join(f" {json.dumps(vars(row))}" for row in rows)
        Path(path).write_text(f"[\n{lines}\n]\n")
