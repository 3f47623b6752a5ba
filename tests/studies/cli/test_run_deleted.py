"""`caviar run` when another Optuna program deletes its study."""

from __future__ import annotations

from pathlib import Path

import optuna
import pytest
from sqlalchemy import Engine

from tests.helpers.command import Caviar, rows, until


@pytest.mark.slow
def test_a_run_whose_study_is_deleted_with_optuna_ends_in_one_sentence(
    caviar: list[str], engine: Engine, tmp_path: Path
) -> None:
    command = Caviar(caviar, engine.url, tmp_path)
    process = command.start("run", command.study(epochs=500, pruner="none"))
    until(lambda: rows(engine, "SELECT count(*) FROM caviar.epoch") > 4)
    # Optuna's client gives up silently where a worker inserts an epoch meanwhile.
    command.run("pause", "mine")
    until(lambda: rows(engine, "SELECT count(*) FROM caviar.slot WHERE state = 'leased'") == 0)
    optuna.delete_study(study_name="mine", storage=engine.url.render_as_string(hide_password=False))
    printed, _ = process.communicate(timeout=240)
    assert process.returncode == 2, printed
    assert "the study 'mine' was deleted by another Optuna program" in printed
    assert "Traceback" not in printed
    again = command.run("run", command.study(epochs=500, pruner="none"), code=2)
    assert "caviar delete mine" in again
    assert "deleted 'mine'" in command.run("delete", "mine", "--yes")
    assert rows(engine, "SELECT count(*) FROM caviar.slot") == 0
