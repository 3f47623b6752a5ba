"""Checkpoints that cannot be written, are cut short, or come from another version."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from sqlalchemy import text
from sqlalchemy.engine import URL

from caviar.models import checkpoint
from tests.chaos.scene import Row, Scene

Report = Callable[[Row], None]


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk with no room for a second checkpoint."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("this machine lets no tmpfs be mounted")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


def interrupt(scene: Scene) -> None:
    """Let both workers of the only machine give their trials back, with a checkpoint each, and leave."""
    scene.wait_until(lambda: len(scene.at_work()) == 2)
    scene.note_hit()
    scene.machines[-1].terminate()
    assert scene.machines[-1].wait(60) == 0, scene.said()


@pytest.mark.slow
@pytest.mark.chaos
def test_a_full_disk_for_checkpoints(
    tiny_disk: Path, database_url: URL, new_scene: Callable[..., Scene], report: Report
) -> None:
    (tiny_disk / "filling").write_bytes(b"x" * 60_000)
    scene = new_scene(database_url, environ={"CAVIAR_CHECKPOINTS": f"file://{tiny_disk}/checkpoints"})
    scene.begin(3, epochs=60)
    scene.start(2)
    interrupt(scene)
    told = scene.rows("SELECT detail->>'reason' AS reason FROM caviar.event WHERE kind = 'checkpoint not written'")
    assert told
    assert all("No space left on device" in row.reason for row in told)
    assert not scene.rows("SELECT 1 FROM caviar.checkpoint")
    scene.start(2)
    scene.finish()
    assert sorted(p.name for p in tiny_disk.rglob("*") if p.is_file()) == ["filling"]  # nothing half-written
    report(scene.audit("a full disk for checkpoints", len(told)))


@pytest.mark.slow
@pytest.mark.chaos
@pytest.mark.parametrize("where", ["database", "files"])
def test_damaged_checkpoints_and_those_of_another_version(
    where: str, tmp_path: Path, database_url: URL, new_scene: Callable[..., Scene], report: Report,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    folder = tmp_path / "checkpoints"
    scene = new_scene(database_url, environ={"CAVIAR_CHECKPOINTS": f"file://{folder}"} if where == "files" else {})
    scene.begin(3, epochs=60)
    scene.start(2)
    interrupt(scene)
    monkeypatch.setattr(checkpoint, "_VERSION", 99)
    newer = checkpoint.to_bytes({"epoch": torch.tensor(3)})
    with scene.engine.begin() as connection:
        slots = list(connection.scalars(text("SELECT slot FROM caviar.checkpoint ORDER BY slot")))
        assert len(slots) == 2
        if where == "files":
            for slot in slots:
                (file,) = folder.rglob(f"{slot}-*.checkpoint")
                file.write_bytes(file.read_bytes()[:1000])
        else:
            cut = "UPDATE caviar.checkpoint SET state = substring(state FROM 1 FOR 1000) WHERE slot = :slot"
            connection.execute(text(cut), {"slot": slots[0]})
            other = "UPDATE caviar.checkpoint SET state = :new, digest = encode(sha256(:new), 'hex') WHERE slot = :slot"
            connection.execute(text(other), {"slot": slots[1], "new": newer})
    scene.start(2)
    scene.finish()
    told = scene.rows("SELECT slot, detail->>'reason' AS reason FROM caviar.event WHERE kind = 'checkpoint refused' "
                      "ORDER BY slot")  # fmt: skip
    assert [row.slot for row in told] == slots
    assert "does not match its digest" in told[0].reason
    assert ("of another version" if where == "database" else "digest") in told[1].reason
    if where == "files":
        kept = scene.rows("SELECT address FROM caviar.checkpoint")  # the winner's
        assert sorted(f"file://{file}" for file in folder.rglob("*.checkpoint")) == sorted(row.address for row in kept)
    report(scene.audit(f"truncated and foreign checkpoints in {'the database' if where == 'database' else where}", 2))
