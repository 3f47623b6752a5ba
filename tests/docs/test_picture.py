"""docs/picture.py touches nobody's database, and ends where its run fails."""

from __future__ import annotations

import shutil
import subprocess
import sys
from importlib.util import module_from_spec, spec_from_file_location
from io import StringIO
from pathlib import Path
from types import ModuleType

import pytest
from rich.console import Console
from sqlalchemy import Engine

from caviar.storage.definitions import study_names
from caviar.studies.catalog.digits import STUDY
from caviar.studies.lifecycle.manager import open_study


@pytest.fixture
def picture(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    spec = spec_from_file_location("picture", root / "docs" / "picture.py")
    assert spec is not None
    assert spec.loader is not None
    made = module_from_spec(spec)
    spec.loader.exec_module(made)
    monkeypatch.setattr(made, "HERE", tmp_path)
    return made


@pytest.mark.timeout(100)
def test_a_run_that_fails_ends_it_and_does_not_know_the_users_database(
    picture: ModuleType, engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    caviar = tmp_path / "caviar"
    caviar.write_text(f"#!/bin/sh\nenv > {tmp_path / 'environ'}\nexit 3\n")
    caviar.chmod(0o755)
    monkeypatch.setattr(picture, "CAVIAR", caviar)
    monkeypatch.setattr(shutil, "which", lambda name: "chromium")
    monkeypatch.setattr(sys, "argv", ["picture.py"])
    monkeypatch.setenv("CAVIAR_DATABASE_URL", engine.url.render_as_string(hide_password=False))
    monkeypatch.setenv("CAVIAR_CHECKPOINTS", "bogus://x")
    monkeypatch.setenv("PGDATABASE", "theirs")
    with pytest.raises(SystemExit, match="ended with exit code 3"):
        picture.main()
    names = [line.partition("=")[0] for line in (tmp_path / "environ").read_text().splitlines()]
    assert [name for name in names if name.startswith(("CAVIAR_", "PG"))] == ["CAVIAR_HOME"]
    assert study_names(engine) == []
    assert not (tmp_path / "run.svg").exists()


@pytest.mark.timeout(60)
@pytest.mark.parametrize("code", [0, 1])  # 0 is that of a study that somebody stopped
def test_a_run_that_ends_in_the_middle_ends_it_too(picture: ModuleType, engine: Engine, code: int) -> None:
    open_study(engine, STUDY)
    command = [sys.executable, "-c", f"raise SystemExit({code})"]
    with (
        subprocess.Popen(command) as run,
        pytest.raises(SystemExit, match=f"ended with exit code {code} and no winner"),
    ):
        picture._watch(engine, Console(file=StringIO()), run)
