"""Models that hang, leave the process, or crash it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy.engine import URL

from tests.chaos.scene import Row, Scene


@pytest.mark.slow
@pytest.mark.chaos
def test_models_that_hang_leave_and_crash(
    database_url: URL, new_scene: Callable[..., Scene], report: Callable[[Row], None], tmp_path: Path
) -> None:
    notes = tmp_path / "notes"
    notes.touch()
    scene = new_scene(database_url, environ={"CHAOS_NOTES": str(notes)})
    scene.begin(30, epochs=20, model="FickleNet")
    for _ in range(2):
        scene.start(2, "join", "chaos", "--gpus", "none", "--epoch-timeout", "3")
    scene.finish(600)
    times = Counter(line.partition("\t")[0] for line in notes.read_text().splitlines())
    assert times.total() >= 3
    row = scene.audit("", 0)
    for how, count in times.items():
        report(replace(row, fault=f"a model that decides to {how}", injected=count))
