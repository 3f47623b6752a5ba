"""A database that stays away: workers leave with what they have, and the next start goes on from there."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.chaos.scene import Row, Scene
from tests.chaos.server import Server


@pytest.mark.slow
def test_past_the_patience_nothing_is_lost(
    new_server: Callable[..., Server], new_scene: Callable[..., Scene], report: Callable[[Row], None], tmp_path: Path
) -> None:
    server = new_server()
    scene = new_scene(server.url(), patience=4, environ={"CAVIAR_HOME": str(tmp_path / "home")})
    scene.begin(4, epochs=100)
    scene.start(2)
    scene.wait_until(lambda: len(scene.at_work()) == 2)
    scene.note_hit()
    server.stop()
    assert scene.machines[0].wait(60) == os.EX_TEMPFAIL, scene.said()
    assert "the database was away for" in scene.said()
    assert "Traceback" not in scene.said()
    kept = list((tmp_path / "home" / "unsent").glob("*.state"))
    assert len(kept) == 2
    server.start()
    scene.start(2)
    scene.finish()
    told = scene.rows("SELECT slot FROM caviar.event WHERE kind LIKE 'went on from%'")
    assert len(told) == 2
    assert not list((tmp_path / "home" / "unsent").glob("*"))
    report(scene.audit("PostgreSQL away for longer than the patience", 1))
