"""`caviar init`: its files can be used as they are, and nothing is overwritten."""

from __future__ import annotations

import ast
import importlib.util
import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

import caviar
from caviar.studies.cli import run
from caviar.studies.lifecycle.loader import select_study
from caviar.studies.way import Way

FILES = [".env.example", "CAVIAR.md", "tune.py"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The working directory, in which `tune` is another module in each test."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    sys.modules.pop("tune", None)
    yield tmp_path
    sys.modules.pop("tune", None)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("way", Way)
def test_the_study_that_is_written_is_one(folder: Path, way: Way) -> None:
    if way is Way.OBJECTIVE and importlib.util.find_spec("caviar.studies.workers.user.objective") is None:
        ast.parse(caviar.init(way=way).study.read_text())
        pytest.skip("objectives are not there yet")
    project = caviar.init(way=way, name="shop", budget=12)
    assert names(folder) == FILES
    study = select_study(str(project.study))
    assert (study.way, study.name, study.budget) == (way, "shop", 12)
    text = project.page.read_text()
    assert "caviar run tune.py" in text
    assert "FILE" not in text + project.study.read_text()
    assert "@" not in project.study.read_text()


@pytest.mark.parametrize(
    "options",
    [
        {"way": "train", "metric": "rmse"},
        {"way": "train", "metric": "training_loss"},
        {"way": "train", "metric": "top_accuracy", "file": "shop_tune.py"},
        {"way": "command", "metric": "val/rmse", "command": 'sh -c "echo \\"{args}\\" @STUDY@"'},
        {"way": "model", "metric": "loss", "data": "mnist"},
    ],
)
def test_what_is_chosen_stands_in_it(folder: Path, options: dict[str, str]) -> None:
    study = select_study(str(caviar.init(**options).study))  # type: ignore[arg-type]
    for name in ("command", "data"):
        if name in options:
            assert getattr(study, name) == options[name]
    assert study.metric in (options["metric"], "validation_loss")
    assert study.direction == ("maximize" if "accuracy" in options["metric"] else "minimize")


@pytest.mark.parametrize(("way", "metric"), [("train", "rmse"), ("model", "accuracy")])
def test_it_runs_as_it_is(folder: Path, engine: Engine, way: str, metric: str) -> None:
    project = caviar.init(way=way, metric=metric, budget=3, epochs=2)
    result = caviar.run(project.study, database=engine)
    assert result.status.done == 3
    assert result.status.failed == 0
    assert result.winner is not None


@pytest.mark.parametrize("there", FILES)
def test_nothing_is_overwritten_or_half_written(folder: Path, there: str, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / there).write_text("mine")
    assert run(["init", "--way", "train"]) == 2
    assert f"{there} is there already, and nothing was written" in capsys.readouterr().err
    assert names(folder) == [there]
    assert (folder / there).read_text() == "mine"


def test_what_cannot_be_written_leaves_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Path.open

    def full(path: Path, *words: str, **more: str) -> object:
        if path.name == "CAVIAR.md":
            raise OSError(28, "No space left on device", str(path))
        return real(path, *words, **more)  # type: ignore[call-overload]

    monkeypatch.setattr(Path, "open", full)
    with pytest.raises(caviar.OutputError, match=r"CAVIAR\.md cannot be written: No space left on device"):
        caviar.init()
    assert names(folder) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--way", "magic"], "--way magic: give model, train, objective, command"),
        (["--way", "train", "--file", "my tune.py"], "a name that Python can import"),
        (["--way", "train", "--file", "../tune.py"], "a name that Python can import"),
        (["--way", "train", "--name", "a b"], "--name a b: give letters"),
        (["--way", "train", "--metric", "lambda"], "takes as a keyword"),
        (["--way", "train", "--direction", "up"], "give maximize or minimize"),
        (["--way", "train", "--budget", "2"], "--budget 2: give 3 to 100,000"),
        (["--way", "train", "--epochs", "0"], "--epochs 0: give 1 to"),
        (["--way", "model", "--metric", "rmse"], "rmse"),
        (["--way", "command", "--command", " "], "--command is empty"),
        ([], "say how a trial is trained: --way train, objective, command, model"),
    ],
)
def test_bad_input(folder: Path, capsys: pytest.CaptureFixture[str], options: list[str], message: str) -> None:
    assert run(["init", *options]) == 2
    assert message in capsys.readouterr().err
    assert names(folder) == []


def test_a_folder_is_made_and_gives_the_study_its_name(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["init", "my shop!", "--way", "train"]) == 0
    assert "next: cd 'my shop!' && caviar plan tune.py" in capsys.readouterr().out
    assert 'name="my-shop"' in (folder / "my shop!" / "tune.py").read_text()


def test_in_a_terminal_it_asks(folder: Path, caviar: list[str]) -> None:
    ours, theirs = pty.openpty()
    process = subprocess.Popen([*caviar, "init"], cwd=folder, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    os.write(ours, b"command\nprices\nrmse\n\n12\n")
    assert process.wait(60) == 0
    os.close(ours)
    text = (folder / "tune.py").read_text()
    for line in ('name="prices"', 'metric="rmse"', 'direction="minimize"', "budget=12", "command="):
        assert line in text
