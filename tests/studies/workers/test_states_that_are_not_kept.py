"""A state that nothing can hold is not lost without a word: `run`, `status` and `doctor` say so, and what to do."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from sqlalchemy import Engine
from sqlalchemy.engine import URL

import caviar
from caviar.storage.checkpoints import CheckpointStore, files_here
from caviar.storage.embedded import is_server_of
from caviar.storage.records import StudyRecord
from caviar.storage.settings import read_settings
from caviar.studies.api.session import settings_of
from caviar.studies.cli import run
from caviar.studies.lifecycle.manager import extend_study, progress
from caviar.studies.workers.local import events
from tests.helpers.roles import execute
from tests.helpers.studies import small_study
from tests.helpers.workers import ledger, register, worker

TOO_LARGE = "is too large for the database"


@pytest.fixture
def unkept(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> StudyRecord:
    """An unfinished study, the states of whose first trials were too large for the database."""
    monkeypatch.setenv("CAVIAR_DATABASE_URL", engine.url.render_as_string(hide_password=False))
    monkeypatch.setattr("caviar.storage.checkpoints.CHECKPOINT", 1000)
    record, study = register(engine, epochs=2, budget=4)
    worker(engine, record, study).run()
    return extend_study(engine, record, 6)


def test_status_and_doctor_say_so_and_what_to_do(unkept: StudyRecord, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["status", "small"]) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "states are not kept: an interrupted trial begins again, and the winner is trained once more" in told
    assert "set CAVIAR_CHECKPOINTS=file:///shared/folder" in told
    assert run(["status", "small", "--json"]) == 0
    assert TOO_LARGE in json.loads(capsys.readouterr().out)["unkept"]
    assert run(["doctor", "--json"]) == 0
    (found,) = [f for f in json.loads(capsys.readouterr().out)["findings"] if f["what"] == "checkpoints"]
    assert found["level"] == "warning"
    assert "states of 'small' are not kept: a checkpoint of" in found["told"]


def test_nothing_is_said_any_more_once_states_are_files_or_none_is_needed(
    engine: Engine, unkept: StudyRecord, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert progress(engine, unkept).unkept is not None
    execute(engine, "UPDATE caviar.slot SET state = 'done'")
    assert progress(engine, unkept).unkept is None
    execute(engine, "UPDATE caviar.slot SET state = 'open' WHERE trial_id IS NULL")
    assert progress(engine, unkept).unkept is not None
    monkeypatch.setenv("CAVIAR_CHECKPOINTS", f"file://{tmp_path}/shared")
    store, lease = CheckpointStore(engine, unkept, files_here(engine)), ledger(engine, unkept).lease()
    assert lease is not None
    store.save(lease, store.stage(lease, 1, b"x" * 2000))
    assert progress(engine, unkept).unkept is None


@pytest.mark.slow
def test_a_run_says_so_at_the_first_time_and_that_the_winner_is_trained_once_more(engine: Engine) -> None:
    seen = list[events.RunEvent]()
    tiers = ({"learning_rate": caviar.Log(1e-4, 1, default=0.1)},)
    large = small_study(epochs=1, budget=2, tiers=tiers, fixed={"hidden_units": 3000, "momentum": 0.9})  # 2 x 34 MB
    result = caviar.run(large, database=engine, on_event=seen.append)
    (said,) = [e for e in seen if isinstance(e, events.StatesNotKept)]
    assert TOO_LARGE in said.reason
    assert result.winner is not None
    assert result.winner.test is not None
    assert [e for e in seen if isinstance(e, events.WinnerTrainedAgain)] == [
        events.WinnerTrainedAgain(result.winner.trial, 1)
    ]


def test_states_of_the_built_in_server_are_files_of_this_user(engine: Engine) -> None:
    home = Path("/home/a_user/.caviar")  # a path short enough for a socket; nothing is written there
    own = f"file://{home}/checkpoints"
    assert read_settings(environ={"CAVIAR_HOME": str(home)}).checkpoints == own
    there = {"CAVIAR_HOME": str(home), "CAVIAR_CHECKPOINTS": "file:///elsewhere"}
    assert read_settings(environ=there).checkpoints == "file:///elsewhere"
    assert read_settings("postgresql://host/db", {"CAVIAR_HOME": str(home)}).checkpoints is None
    assert settings_of(engine).checkpoints is None  # of another home
    socket = URL.create("postgresql+psycopg2", query={"host": str(home / "postgres" / "socket")})
    assert is_server_of(socket, home)
    assert not is_server_of(socket, Path("/home/another/.caviar"))
    assert not is_server_of(engine.url, home)
    assert read_settings(socket.render_as_string(), {"CAVIAR_HOME": str(home)}).checkpoints == own
