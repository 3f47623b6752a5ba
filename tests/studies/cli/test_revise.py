"""A study file that changes, and a budget that grows: what the commands say, ask for and refuse."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, inspect, text

from caviar.storage.definitions import load_study
from caviar.storage.events import log_event, read_events
from caviar.storage.status import read_trials
from caviar.studies.cli import run
from caviar.studies.lifecycle.loader import select_study
from caviar.studies.lifecycle.manager import open_study, progress
from caviar.studies.lifecycle.provenance import provenance_of
from tests.helpers.workers import register, worker

FILE = """
from caviar.studies.definition import Study
from caviar.studies.space.scales import Choice, Grid, Linear, Log, LogOneMinus, PowersOfTwo

STUDY = Study(
    name="mine", model="{model}", data="digits", metric="{metric}", direction="{direction}", epochs={epochs},
    budget={budget}, pruner="none", strategy="random", fixed={fixed},
    tiers=({{"learning_rate": {rate}, "batch_size": PowersOfTwo(128, 256, default=256){more}}},),
)
"""


class File:
    """A user's study file, which can be written again."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "mine.py"
        self.write()

    def write(self, **fields: Any) -> str:
        values = {
            "model": "mlp", "metric": "accuracy", "direction": "maximize", "epochs": 2, "budget": 4, "fixed": "{}",
            "rate": "Log(1e-3, 1, default=0.1)", "more": "", **fields,
        }  # fmt: skip
        self.path.write_text(FILE.format(**values))
        return str(self.path)


@pytest.fixture
def file(tmp_path: Path) -> File:
    return File(tmp_path)


@pytest.fixture
def url(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> str:
    address = engine.url.render_as_string(hide_password=False)
    monkeypatch.setenv("CAVIAR_DATABASE_URL", address)
    return address


@pytest.fixture
def finished(engine: Engine, url: str, file: File) -> File:
    """The study of that file, all of whose trials are done."""
    study = select_study(str(file.path))
    record = open_study(engine, study, provenance_of(study, Path("nowhere")))
    worker(engine, record, study).run()
    return file


Said = Callable[..., str]


@pytest.fixture
def said(url: str, capsys: pytest.CaptureFixture[str]) -> Said:
    def say(*arguments: str) -> str:
        capsys.readouterr()
        assert run(list(arguments)) == 0
        return capsys.readouterr().out

    return say


@pytest.fixture
def refused(url: str, capsys: pytest.CaptureFixture[str]) -> Said:
    def refuse(*arguments: str) -> str:
        capsys.readouterr()
        assert run(list(arguments)) == 2
        told = capsys.readouterr()
        assert told.out == ""
        (line,) = told.err.splitlines()
        assert line.startswith("caviar: ")
        return line

    return refuse


def everything(engine: Engine) -> list[tuple[str, ...]]:
    """All rows of all tables."""
    with engine.connect() as connection:
        return sorted(
            (table, *(str(bytes(value) if isinstance(value, memoryview) else value) for value in row))
            for schema in ("public", "caviar")
            for table in inspect(engine).get_table_names(schema=schema)
            for row in connection.execute(text(f"SELECT * FROM {schema}.{table}"))
        )


def execute(engine: Engine, statement: str) -> None:
    with engine.begin() as connection:
        connection.execute(text(statement))


WIDER = {
    "rate": "Log(1e-4, 1, default=0.1)",
    "more": ", 'decay': Log(1e-3, 1, default=0, or_zero=True), 'momentum': LogOneMinus(0.5, 0.99, default=0.9)",
}


def test_a_changed_file_shows_the_difference_and_changes_nothing(finished: File, engine: Engine, refused: Said) -> None:
    before = everything(engine)
    line = refused("run", finished.write(**WIDER))
    assert (
        "a study 'mine' is in the database with another definition ("
        "learning_rate: 0.001 … 1, log, default 0.1 before, 0.0001 … 1, log, default 0.1 now; "
        "decay: new (0.001 … 1 or 0, log, default 0.0); 0.0 in all earlier trials; "
        "momentum: new (0.5 … 0.99, log of 1-β, default 0.9); 0.9 in all earlier trials)"
    ) in line
    assert "make this its new version with --accept" in line
    assert "caviar join mine" in line
    assert "--name mine-2" in line
    assert everything(engine) == before


def test_an_accepted_change_is_the_study_s_next_version(finished: File, engine: Engine, said: Said) -> None:
    before = json.loads(said("trials", "mine", "--json"))
    assert "mine is complete: 4 trials" in said("run", finished.write(**WIDER), "--accept")
    after = json.loads(said("trials", "mine", "--json"))
    for old, new in zip(before, after, strict=True):
        assert new["hyperparameters"] == {**old["hyperparameters"], "decay": 0.0, "momentum": 0.9}
        assert {**new, "hyperparameters": 0} == {**old, "hyperparameters": 0}
    assert load_study(engine, "mine").version == 2
    assert set(json.loads(said("best", "mine", "--json"))["hyperparameters"]) == set(after[0]["hyperparameters"])
    told = everything(engine)
    for same in (finished.write(**WIDER), finished.write(), "mine"):  # the new file, the old one, and by its name
        assert "mine is complete: 4 trials" in said("run", same)
    assert "mine is complete: 4 trials" in said("run", finished.write(), "--accept")
    assert everything(engine) == told


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"model": "cnn"}, "model: mlp before, cnn now"),
        (
            {"metric": "loss", "direction": "minimize"},
            "direction: maximize before, minimize now; metric: accuracy before, validation_loss now",
        ),
        ({"epochs": 3}, "epochs: 2 before, 3 now"),
        ({"budget": 3}, "'mine' has a budget of 4 trials, which can grow, but not shrink to 3: give 4 again, or"),
        ({"budget": 3, "epochs": 3}, "budget: 4 before, 3 now; a budget can grow, but not shrink"),
        ({"rate": "Log(1e-2, 1, default=0.1)"}, "0.01 … 1, log, default 0.1 now; not a wider range"),
        ({"fixed": "{'dropout': 0.3}"}, "dropout: fixed to 0.0 before, 0.3 now"),
        (
            {"budget": 5, "more": ", 'momentum': LogOneMinus(0.5, 0.99, default=0.8)"},
            "0.9 in all earlier trials, which",
        ),
    ],
)
def test_a_change_after_which_trials_are_not_comparable_is_refused_even_with_accept(
    finished: File, engine: Engine, refused: Said, fields: dict[str, Any], told: str
) -> None:
    before = everything(engine)
    for arguments in ([], ["--accept"]):
        line = refused("run", finished.write(**fields), *arguments)
        assert told in line
        assert "run this one under a new name: --name mine-2" in line
    assert everything(engine) == before


def test_a_smaller_budget_is_named_alone_though_the_file_has_other_code_by_it(
    finished: File, engine: Engine, said: Said, refused: Said
) -> None:
    said("extend", "mine", "--budget", "9")  # so that there is something to train, and code to be compared
    execute(engine, "UPDATE caviar.definition SET code = 'older code'")
    line = refused("run", finished.write(budget=3))
    assert "which can grow, but not shrink to 3" in line
    assert "code" not in line


def test_other_code_is_to_be_accepted_and_other_data_are_refused(finished: File, engine: Engine, refused: Said) -> None:
    execute(engine, "UPDATE caviar.definition SET code = 'older code'")
    line = refused("run", finished.write(budget=5))
    assert "(budget: 4 before, 5 now; code: Caviar's own changed)" in line
    assert "--accept" in line
    execute(engine, "UPDATE caviar.definition SET data = 'older data'")
    line = refused("run", finished.write(budget=5), "--accept")
    assert "data: older data before, " in line
    assert load_study(engine, "mine").version == 1


def test_another_major_version_of_optuna_is_refused(finished: File, engine: Engine, refused: Said) -> None:
    execute(engine, """UPDATE caviar.definition SET packages = '{"optuna": "3.6.1"}'""")
    line = refused("run", finished.write(budget=5), "--accept")
    assert "the study was begun with optuna 3.6.1, and this machine has " in line
    assert line.endswith("install optuna 3 here")
    assert len(read_trials(engine, load_study(engine, "mine").study_id)) == 4


def test_extend(finished: File, engine: Engine, said: Said, refused: Said) -> None:
    before = read_trials(engine, load_study(engine, "mine").study_id)
    assert said("extend", "mine", "--budget", "9") == (
        "'mine' has 9 trials now, of which 4 are done; go on with: caviar join mine\n"
    )
    record = load_study(engine, "mine")
    after = read_trials(engine, record.study_id)
    assert after[:4] == before
    assert [(t.slot.number, t.state) for t in after[4:]] == [(n, "open") for n in range(4, 9)]
    for budget in ("9", "1"):
        told = refused("extend", "mine", "--budget", budget)
        assert told == (
            "caviar: 'mine' has a budget of 9 trials already; give more than that, "
            "or end it early with: caviar stop mine"
        )
    assert "no study 'min' in the database; did you mean mine?" in refused("extend", "min", "--budget", "9")
    assert "--budget" in refused("extend", "mine")
    assert "greater than or equal to 1" in refused("extend", "mine", "--budget", "0")
    assert load_study(engine, "mine").version == 2
    said("stop", "mine")
    assert "go on with: caviar resume mine, and caviar join mine" in said("extend", "mine", "--budget", "10")


def test_a_smaller_budget_of_a_finished_study_has_nothing_to_stop(finished: File, refused: Said) -> None:
    finished.write()
    assert refused("extend", "mine", "--budget", "2") == (
        "caviar: 'mine' has a budget of 4 trials already; give more than that, "
        "or see what they came to with: caviar best mine"
    )


def test_a_study_is_extended_where_its_model_is_not(engine: Engine, said: Said) -> None:
    register(engine, model="nowhere:Net", fixed={"dropout": 0.1})
    assert "'small' has 9 trials now" in said("extend", "small", "--budget", "9")


def test_history_shows_versions_and_events(finished: File, engine: Engine, said: Said) -> None:
    said("run", finished.write(**WIDER), "--accept")
    said("extend", "mine", "--budget", "6")
    told = json.loads(said("history", "mine", "--json"))
    assert set(told) == {"versions", "events"}
    assert [set(v) for v in told["versions"]] == [
        {"version", "at", "changes", "definition", "packages", "code", "data", "files", "commit", "remote"}
    ] * 3
    assert [v["version"] for v in told["versions"]] == [1, 2, 3]
    assert [len(v["changes"]) for v in told["versions"]] == [0, 3, 1]
    assert told["versions"][2]["changes"] == ["budget: 4 before, 6 now"]
    assert [v["definition"]["budget"] for v in told["versions"]] == [4, 4, 6]
    assert len({v["code"] for v in told["versions"]}) == len({v["data"] for v in told["versions"]}) == 1
    assert len(told["versions"][0]["code"]) == 64
    assert all(set(e) == {"at", "kind", "trial", "detail"} for e in told["events"])
    assert [e["kind"] for e in told["events"]] == ["created", "definition changed", "definition changed"]
    assert told["events"][2]["detail"].pop("by")  # whoever runs the tests
    assert told["events"][2]["detail"] == {"version": 3, "changes": ["budget: 4 before, 6 now"]}
    lines = [line.strip() for line in said("history", "mine").splitlines()]
    assert lines[0].split() == ["version", "since", "what", "changed"]
    assert lines[1].startswith("1 ")
    assert lines[1].endswith("begun")
    assert any(line.startswith("3 ") and line.endswith("budget: 4 before, 6 now") for line in lines)
    assert any("definition changed" in line and "changes budget: 4 before, 6 now" in line for line in lines)


def test_history_shows_whatever_a_change_or_an_event_holds(engine: Engine, said: Said) -> None:
    record, _ = register(engine)
    with engine.begin() as connection:
        error = "KeyError: '[/relu]' of [red]shape[/red] [64, 10]"
        log_event(connection, record.study_id, "trial failed", slot=3, error=error, traceback="a long one")
    execute(engine, """UPDATE caviar.definition SET changes = '["x: one of [/a], [b]"]'""")
    shown = said("history", "small")
    assert f"error {error}" in shown
    assert "x: one of [/a], [b]" in shown
    assert "a long one" not in shown
    told = json.loads(said("history", "small", "--json"))["events"][-1]
    assert (told["kind"], told["trial"]) == ("trial failed", 3)
    assert told["detail"] == {"error": error, "traceback": "a long one"}


def test_a_misspelt_study_of_the_database_is_offered_as_one_of_the_catalog_is(finished: File, refused: Said) -> None:
    finished.write()
    for command in ("run", "plan"):
        assert "no study 'mime'; did you mean mine?" in refused(command, "mime")
        assert "no study 'digitz'; did you mean digits?" in refused(command, "digitz")


def test_history_of_a_study_that_is_not_there(refused: Said) -> None:
    assert "no study 'mine' in the database" in refused("history", "mine")


@pytest.mark.parametrize("command", ["extend small --budget 9", "history small", "status small"])
def test_looking_and_extending_load_no_torch(engine: Engine, url: str, root: Path, command: str) -> None:
    register(engine)
    code = f"import sys\nfrom caviar.studies.cli import run\nassert run({command.split()!r}) == 0\n"
    code += "assert not {'torch', 'optuna'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=root, check=True, capture_output=True)


@pytest.mark.slow
def test_a_study_that_grows_is_trained_to_its_end(engine: Engine, file: File, said: Said, refused: Said) -> None:
    assert "mine is complete: 4 trials" in said("run", file.write(), "--workers", "2")
    values = [t["hyperparameters"] for t in json.loads(said("trials", "mine", "--json"))]
    assert "--accept" in refused("run", file.write(budget=8, **WIDER))
    assert "mine is complete: 8 trials" in said("run", file.write(budget=8, **WIDER), "--accept", "--workers", "2")
    now = [t["hyperparameters"] for t in json.loads(said("trials", "mine", "--json"))]
    assert now[:4] == [{**v, "decay": 0.0, "momentum": 0.9} for v in values]
    assert len({v["momentum"] for v in now}) > 2
    assert "mine is complete: 8 trials" in said("run", file.write())


@pytest.mark.slow
def test_workers_take_changes_up_by_themselves(
    engine: Engine, url: str, file: File, caviar: list[str], said: Said
) -> None:
    after = select_study(file.write(epochs=60, budget=6, **WIDER))
    provenance = provenance_of(after, Path("nowhere"))
    process = subprocess.Popen(
        [*caviar, "run", file.write(epochs=60), "--workers", "2"], cwd=file.path.parent, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
    )  # fmt: skip
    try:
        _until(lambda: _leased(engine) == 2, process)
        said("extend", "mine", "--budget", "5")
        record = open_study(engine, after, provenance, accept=True)
        assert _leased(engine) == 2
        told, _ = process.communicate(timeout=120)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == 0, told
    assert "mine is complete: 6 trials" in told
    assert record.version == 3
    assert progress(engine, record).complete == 6
    trials = read_trials(engine, record.study_id)
    assert all(set(t.parameters) == set(after.distributions()) for t in trials)
    assert [t.attempts for t in trials] == [1] * 6
    assert [e.kind for e in read_events(engine, record.study_id)] == ["created", *["definition changed"] * 2]


def _leased(engine: Engine) -> int:
    with engine.connect() as connection:
        return connection.scalar(text("SELECT count(*) FROM caviar.slot WHERE state = 'leased'")) or 0


def _until(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.02)
