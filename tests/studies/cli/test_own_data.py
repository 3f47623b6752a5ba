"""Data and networks of the user's own, in the folder of the study file, through the commands of a user."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine
from sqlalchemy.engine import URL

from caviar.storage.definitions import load_study, study_names
from caviar.studies.cli import run
from caviar.studies.lifecycle.manager import progress

DATA = """
from pathlib import Path

import torch

def load():
    print("loading")
    with (Path(__file__).parent / "loads").open("a") as log:
        log.write("x")
    x = torch.randn(300, 4)
    y = (x.sum(1) > 0).long() + (x[:, 0] > 1).long()
    return (x[:200], y[:200]), (x[200:250], y[200:250]), (x[250:], y[250:])
"""
NET = """
from torch import nn

class Net(nn.Module):
    def __init__(self, units, sample, outputs):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(*sample, units), nn.Tanh(), nn.Linear(units, outputs))

    def forward(self, x):
        return self.layers(x)
"""
STUDY = """
from caviar import Log, Linear, Study

STUDY = Study(
    name="own", model="my_net:Net", data="my_data:load", epochs=3, budget=6, seed=3,
    tiers=({"learning_rate": Log(1e-3, 1, default=0.1)}, {"units": Linear(4, 9, default=8)}),
)
"""

Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "project"
    made.mkdir()
    for name, content in (("my_data", DATA), ("my_net", NET), ("study", STUDY)):
        (made / f"{name}.py").write_text(content)
    return made


@pytest.fixture
def command(caviar: list[str], folder: Path, database_url: URL) -> Command:
    environment = {**os.environ, "CAVIAR_DATABASE_URL": database_url.render_as_string(hide_password=False)}

    def give(*words: str, cwd: Path = folder) -> subprocess.CompletedProcess[str]:
        return subprocess.run([*caviar, *words], cwd=cwd, env=environment, capture_output=True, text=True, check=False)

    return give


@pytest.fixture
def here(folder: Path, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder, in which this process stands."""
    monkeypatch.setenv("CAVIAR_DATABASE_URL", engine.url.render_as_string(hide_password=False))
    monkeypatch.chdir(folder)
    return folder


def document(command: Command, *words: str, **options: Any) -> Any:
    return json.loads(command(*words, "--json", **options).stdout)


@pytest.mark.slow
def test_a_study_of_ones_own_data_and_network_is_run_and_its_winner_works_elsewhere(
    command: Command, folder: Path, engine: Engine, tmp_path: Path
) -> None:
    done = command("run", "study.py", "--workers", "2")
    assert done.returncode == 0, done.stderr
    assert "loading" not in done.stdout
    assert (folder / "loads").read_text() == "xxxx"  # the check, each worker, and the test of the winner
    best = document(command, "best", "own")
    assert best["metrics"]["accuracy"] > 0.6
    assert best["test"]["accuracy"] > 0.5
    digest = load_study(engine, "own").provenance.data
    assert digest is not None
    assert len(digest) == 64

    assert command("best", "own", "--save", str(tmp_path / "winner")).returncode == 0
    config = json.loads((tmp_path / "winner" / "config.json").read_text())
    assert (config["sample"], config["outputs"]) == ([4], 3)

    (folder / "my_data.py").write_text(DATA.replace("randn(300", "randn(301"))
    sizes = json.loads(command("report", "own", "--json").stdout)["study"]["sizes"]
    assert sizes == {"training": 200, "validation": 50, "test": 50}
    again = command("run", "study.py", "--budget", "8")
    assert again.returncode == 2
    assert "data: " in again.stderr
    assert "--name own-2" in again.stderr


@pytest.mark.slow
def test_another_machine_with_other_data_is_refused(command: Command, folder: Path, engine: Engine) -> None:
    (folder / "my_data.py").write_text(DATA + 'N = int((Path(__file__).parent / "n").read_text())\n')
    (folder / "my_data.py").write_text(
        (folder / "my_data.py").read_text().replace("    return", "    x[0] += N\n    return")
    )
    (folder / "n").write_text("0")
    assert command("run", "study.py", "--budget", "2").returncode == 0
    assert command("extend", "own", "--budget", "4").returncode == 0
    (folder / "n").write_text("1")  # the same code, another file
    refused = command("join", "own", "--workers", "1")
    assert refused.returncode == 2
    assert "not the same here as where 'own' was begun: data;" in refused.stderr
    (folder / "n").write_text("0")
    joined = command("join", "own", "--workers", "1")
    assert joined.returncode == 0, joined.stderr


MEASURES = """
import torch

def load():
    x = torch.randn(300, 4)
    y = x.sum(1) + 0.1 * torch.randn(300)
    return (x[:200], y[:200]), (x[200:], y[200:])

def huber(outputs, y):
    assert outputs.shape == y.shape
    return torch.nn.functional.huber_loss(outputs, y, delta=2.0)

def rmse(outputs, y):
    return (outputs - y).square().mean().sqrt()

class Flat(torch.nn.Module):
    def __init__(self, sample, outputs, hidden_units=8):
        super().__init__()
        self.layer = torch.nn.Linear(*sample, outputs)

    def forward(self, x):
        return self.layer(x).squeeze()
"""
REGRESSION = """
from caviar import Log, Linear, Study

STUDY = Study(
    name="own", model="mlp", data="my_data:load", loss="my_data:huber", metrics={"rmse": "my_data:rmse"},
    metric="rmse", direction="minimize", epochs=4, budget=6, seed=3, fixed={"batch_size": 32},
    tiers=({"learning_rate": Log(1e-3, 0.3, default=0.03)}, {"hidden_units": Linear(4, 9, default=8)}),
)
"""


@pytest.mark.slow
def test_a_regression_with_a_loss_and_a_metric_of_ones_own_is_searched_and_babysat(
    command: Command, folder: Path, engine: Engine, tmp_path: Path
) -> None:
    (folder / "my_data.py").write_text(MEASURES)
    (folder / "study.py").write_text(REGRESSION)
    done = command("run", "study.py", "--cohort", "2")
    assert done.returncode == 0, done.stderr
    best = document(command, "best", "own")
    assert best["metric"] == "rmse"
    assert 0 < best["value"] < 1.5
    assert set(best["metrics"]) == {"training_loss", "validation_loss", "rmse", "learning_rate"}
    assert best["test"] == {}  # there is no such part
    assert "the data have no test part" in command("best", "own").stdout
    assert command("run", "study.py").returncode == 0
    confirmed = command("best", "own", "--confirm", "2")
    assert confirmed.returncode == 0, confirmed.stderr
    assert command("report", "own").returncode == 0
    assert command("best", "own", "--save", str(tmp_path / "winner")).returncode == 0
    loaded = subprocess.run(
        [sys.executable, tmp_path / "winner" / "load.py"], cwd=folder, capture_output=True, text=True, check=False
    )
    assert loaded.returncode == 0, loaded.stderr
    assert math.isfinite(float(loaded.stdout.removeprefix("value ")))

    started = command("panda", "start", "baby", "--study", "study.py")
    assert started.returncode == 0, started.stderr
    assert command("panda", "nudge", "baby", "learning_rate=0.01").returncode == 0
    trained = command("panda", "train", "baby", "--days", "2")
    assert trained.returncode == 0, trained.stderr
    log = document(command, "panda", "log", "baby")
    assert [day["day"] for day in log["days"]] == [0, 1, 2]
    assert log["metric"] == "rmse"

    (folder / "my_data.py").write_text(MEASURES.replace("delta=2.0", "delta=1.0"))
    again = command("run", "study.py", "--budget", "8")
    assert again.returncode == 2
    assert "my_data.py changed" in again.stderr


@pytest.mark.parametrize(
    ("file", "before", "after", "message"),
    [
        ("my_data", "def huber", "def hubert", "no function at 'my_data:huber'"),
        ("my_data", "(outputs, y, delta=2.0)", "(outputs, y, reduction='none')", "the loss returns a tensor of shape"),
        ("my_data", "return torch.nn.functional", "return 1.0; torch.nn.functional", "the loss returns a float"),
        ("my_data", "delta=2.0)", "delta=2.0).detach()", "the loss has no gradient"),
        ("study", 'model="mlp"', 'model="my_data:Flat"', "the network returns (8,) where the targets are (8, 1)"),
        ("my_data", "delta=2.0", "delta='a'", "the defaults cannot be trained: "),
        ("my_data", "assert outputs.shape == y.shape", "1 / 0", "the defaults cannot be trained: ZeroDivisionError"),
        ("my_data", ".mean().sqrt()", "", "the metric 'rmse' is tensor("),
        ("my_data", "(outputs - y).sq", "outputs.sqare", "the metric 'rmse' cannot be measured: AttributeError"),
        ("study", '"my_data:rmse"', '"f1_scor"', "torchmetrics.functional has no 'f1_scor'; did you mean f1_score"),
        ("study", '"my_data:rmse"', '"f1_score("', "the metric 'rmse': 'f1_score(' is no metric; give the path"),
        ("study", '{"rmse": ', '{"accuracy": ', "'accuracy' is what a model's training measures by itself"),
        ("study", 'metric="rmse"', 'metric="mae"', "does not measure 'mae'; metric can be accuracy, validation_loss"),
        ("study", 'metric="rmse", direction="minimize",', "", "'accuracy' is not measured on these data; there are:"),
        ("study", 'loss="my_data:huber"', 'loss="huber"', "loss is 'huber'; give the path of a function"),
        (
            "study",
            'loss="my_data:huber"',
            "loss='torch.nn:L1Loss'",
            "'torch.nn:L1Loss' is a class; give a function of outputs",
        ),
    ],
)
def test_a_loss_or_metric_that_is_wrong_is_one_line(
    here: Path,
    engine: Engine,
    capsys: pytest.CaptureFixture[str],
    file: str,
    before: str,
    after: str,
    message: str,
) -> None:
    (here / "my_data.py").write_text(MEASURES)
    (here / "study.py").write_text(REGRESSION)
    path = here / f"{file}.py"
    assert before in path.read_text()
    path.write_text(path.read_text().replace(before, after))
    assert run(["run", "study.py"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert message in lines[-1]
    assert len(lines) == 1
    assert study_names(engine) == []


@pytest.mark.parametrize(
    ("file", "before", "after", "message"),
    [
        (
            "my_data",
            "return (x[:200]",
            "return (x[:100]",
            "part of 'my_data:load' has x of shape (100, 4)",
        ),
        ("my_data", "def load", "def lode", "no function at 'my_data:load'"),
        ("study", "my_data:load", "my_date:load", "No module named 'my_date'; give the command in the folder"),
        ("my_data", "import torch", "import torsh", "no function at 'my_data:load': ModuleNotFoundError"),
        (
            "my_net",
            "def __init__(self, units,",
            "def __init__(self, width, units,",
            "a value for 'width': search it",
        ),
        ("my_net", "units, sample", "width, sample", "model 'my_net:Net' needs a value for 'width'"),
        ("my_net", "*sample", "*smaple", "the defaults cannot be trained: NameError"),
    ],
)
def test_whatever_is_wrong_is_one_line_before_anything_is_written(
    here: Path,
    engine: Engine,
    capsys: pytest.CaptureFixture[str],
    file: str,
    before: str,
    after: str,
    message: str,
) -> None:
    path = here / f"{file}.py"
    path.write_text(path.read_text().replace(before, after))
    assert run(["run", "study.py"]) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line not in ("", "loading")]
    assert message in lines[-1]
    assert len(lines) == 1
    assert study_names(engine) == []


@pytest.mark.slow
def test_data_that_are_others_each_time_train_nothing(command: Command, folder: Path, engine: Engine) -> None:
    (folder / "my_data.py").write_text(
        DATA.replace("x = torch.randn(300, 4)", "x = torch.randn(300, 4) + time.time() % 1")
    )
    (folder / "my_data.py").write_text("import time\n" + (folder / "my_data.py").read_text())
    done = command("run", "study.py")
    assert done.returncode == 1
    assert "its function has to return the same each time" in done.stderr
    assert progress(engine, load_study(engine, "own")).done == 0
