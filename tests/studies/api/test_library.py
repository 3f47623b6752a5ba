"""The library on a real PostgreSQL: each function returns what its command prints, or raises an error of the tree."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

import caviar
from caviar.studies.cli import run as run_command
from caviar.studies.results.conclusion import conclude
from caviar.studies.results.formatting import to_json
from tests.helpers.studies import small_study
from tests.helpers.workers import register, worker

SCRIPT = """
import sys
import caviar
from caviar import Log, Study

print("the script runs")
STUDY = Study(name="scripted", model="mlp", data="digits", epochs={epochs}, budget={budget}, pruner="none",
              tiers=[{{"learning_rate": Log(1e-3, 1, default=0.1)}}])

def show(event):
    if isinstance(event, caviar.Progressed) and event.snapshot.progress.epochs_trained:
        print("epochs are trained", flush=True)

result = caviar.run(STUDY, workers=2, cohort=1, on_event=show)
print("winner", result.winner.trial, result.status.complete, result.is_done)
"""


@pytest.fixture
def printed(engine: Engine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Any]:
    """Runs a command with --json, and returns the document that it prints."""
    monkeypatch.setenv("CAVIAR_DATABASE_URL", engine.url.render_as_string(hide_password=False))

    def run(*arguments: str) -> Any:
        assert run_command([*arguments, "--json"]) == 0
        return json.loads(capsys.readouterr().out)

    return run


@pytest.fixture
def finished(engine: Engine) -> None:
    record, study = register(engine, epochs=3, budget=12)
    worker(engine, record, study).run()
    conclude(engine, record, Path("nowhere"))


def test_what_a_function_returns_is_what_its_command_prints(finished: None, printed: Callable[..., Any]) -> None:
    returned = {
        ("plan", "digits"): caviar.plan("digits"),
        ("ls",): {"catalog": caviar.catalog(), "studies": caviar.list_studies()},
        ("status", "small"): caviar.status("small"),
        ("trials", "small"): caviar.trials("small"),
        ("best", "small"): caviar.best("small"),
        ("curves", "small", "--top", "3"): caviar.curves("small", top=3),
        ("history", "small"): caviar.history("small"),
    }
    for words, value in returned.items():
        assert printed(*words) == to_json(value), words
    workers = caviar.workers("small", include_ended=True)
    assert [(w.study, w.state, w.trials) for w in workers] == [("small", "ended", ())]
    assert {w["state"] for w in printed("workers", "small", "--all")} == {"ended"}
    report = to_json(caviar.report("small"))
    assert {**printed("report", "small"), "now": 0} == {**report, "now": 0}


def test_an_engine_serves_for_several_calls_and_stays_open(finished: None, engine: Engine) -> None:
    with caviar.connect(engine) as database:
        assert database is engine
        assert [s.name for s in caviar.list_studies(database=database)] == ["small"]
        assert caviar.status("small", database=database).state == caviar.StudyState.DONE
    address = engine.url.render_as_string(hide_password=False)
    winner = caviar.best("small", database=address)
    assert winner is not None
    assert winner.trial == caviar.status("small", database=engine).best.trial  # type: ignore[union-attr]


def test_a_study_is_steered(engine: Engine) -> None:
    register(engine)
    assert caviar.pause("small", database=engine) == caviar.ControlChange(True, False, 0, False)
    assert not caviar.pause("small", database=engine).changed
    assert caviar.status("small", database=engine).state == "paused"
    assert caviar.stop("small", now=True, database=engine).changed
    assert caviar.status("small", database=engine).state == "stopped"
    assert caviar.resume("small", database=engine).changed
    assert caviar.extend("small", 12, database=engine).budget == 12
    assert next(caviar.watch("small", database=engine)).study.budget == 12
    with pytest.raises(caviar.NotComparable):
        caviar.extend("small", 12, database=engine)
    with pytest.raises(caviar.CaviarError, match="has not begun"):
        caviar.kill("small", 3, database=engine)
    caviar.delete("small", database=engine)
    with pytest.raises(caviar.StudyNotFound):
        caviar.status("small", database=engine)


def test_a_study_is_retuned(finished: None, engine: Engine) -> None:
    new = caviar.retune("small", "again", widen=["learning_rate"], database=engine)
    assert (new.name, new.seed, len(new.prior)) == ("again", 1, 12)
    assert caviar.status("again", database=engine).open == 12
    with pytest.raises(caviar.DefinitionError, match="there is a study 'again' already"):
        caviar.retune("small", "again", database=engine)


def test_the_winner_is_confirmed_and_saved(finished: None, engine: Engine, tmp_path: Path) -> None:
    heard: list[caviar.Retraining] = []
    winner = caviar.confirm("small", 2, on_progress=heard.append, database=engine)
    assert winner is not None
    assert winner.confirmation is not None
    assert len(winner.confirmation.winner_values) == 2
    assert (heard[0].done, heard[0].total, heard[-1].done) == (0, 4, 4)
    assert caviar.save("small", tmp_path / "model", database=engine) == winner
    assert (tmp_path / "model" / "model.pt").exists()
    with pytest.raises(caviar.NothingToDo):
        caviar.save("small", tmp_path / "model", database=engine)
    with pytest.raises(caviar.OptionError):
        caviar.confirm("small", 1, database=engine)


def test_tables_and_roles(engine: Engine) -> None:
    version = caviar.schema_version(database=engine)
    assert version.database == version.program == caviar.upgrade_database(database=engine)
    assert version.state.value == "current"
    with pytest.raises(caviar.DatabaseError):
        caviar.grant_worker("nobody_of_that_name", database=engine)


def test_data_sets(tmp_path: Path) -> None:
    here = {data.name: data.is_here for data in caviar.data_sets(data_dir=tmp_path)}
    assert here["digits"]
    assert not here["mnist"]
    assert not caviar.fetch_data("digits", data_dir=tmp_path)
    assert caviar.data_folder(tmp_path) == tmp_path


def test_run_from_a_thread_reports_its_events(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAVIAR_DATABASE_URL", engine.url.render_as_string(hide_password=False))
    study, heard, results = small_study(budget=4, strategy="classic"), list[object](), list[caviar.RunResult]()
    thread = threading.Thread(target=lambda: results.append(caviar.run(study, on_event=heard.append)))
    thread.start()
    thread.join(240)
    assert results[0].is_done
    assert results[0].winner == caviar.best("small")
    assert results[0].status == caviar.status("small")
    kinds = [type(event) for event in heard]
    for kind in (caviar.events.CheckBegan, caviar.events.WorkersStarted, caviar.events.WorkersEnded):
        assert kinds.count(kind) == 1
    last = [event for event in heard if isinstance(event, caviar.Progressed)][-1]
    assert (last.study.name, last.snapshot.progress.done) == ("small", 4)
    # it is done, so that the same call finds nothing to do, and returns the same
    again = caviar.run(study)
    assert (again.winner, again.status) == (results[0].winner, results[0].status)
    joined = caviar.join("small")
    assert (joined.winner, joined.is_done) == (results[0].winner, True)


def test_a_listener_that_raises_ends_the_run_and_its_workers(engine: Engine) -> None:
    def listener(event: object) -> None:
        if isinstance(event, caviar.Progressed) and event.snapshot.progress.epochs_trained:
            raise ValueError("enough")

    with pytest.raises(ValueError, match="enough"):
        caviar.run(small_study(epochs=500, pruner="none"), cohort=1, on_event=listener, grace=0, database=engine)
    assert caviar.status("small", database=engine).leased == 0


def start_script(folder: Path, engine: Engine, monkeypatch: pytest.MonkeyPatch, **fields: int) -> subprocess.Popen[str]:
    """Start the script with its output in files: the workers' fork server may hold a pipe open for long."""
    (folder / "tune.py").write_text(SCRIPT.format(**fields))
    monkeypatch.setenv("CAVIAR_DATABASE_URL", engine.url.render_as_string(hide_password=False))
    with (folder / "out").open("w") as out, (folder / "err").open("w") as err:
        return subprocess.Popen([sys.executable, "tune.py"], cwd=folder, text=True, stdout=out, stderr=err)


def test_run_from_a_script_without_a_main_guard(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = start_script(tmp_path, engine, monkeypatch, epochs=2, budget=4)
    assert process.wait(timeout=280) == 0, (tmp_path / "err").read_text()
    out = (tmp_path / "out").read_text()
    assert (tmp_path / "err").read_text() == ""
    assert out.count("the script runs") == 1  # and not once more in each worker
    winner = caviar.best("scripted")
    assert winner is not None
    assert out.splitlines()[-1] == f"winner {winner.trial} 4 True"


def test_ctrl_c_ends_a_script_gracefully(engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    process = start_script(tmp_path, engine, monkeypatch, epochs=100_000, budget=4)
    while "epochs are trained" not in (tmp_path / "out").read_text():
        assert process.poll() is None, (tmp_path / "err").read_text()
        time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=240) != 0
    assert (tmp_path / "err").read_text().splitlines()[-1] == "KeyboardInterrupt"
    status = caviar.status("scripted")
    assert (status.leased, status.failed) == (0, 0)
    assert status.epochs.trained > 0  # what was trained is kept
