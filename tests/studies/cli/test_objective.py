"""An Optuna script that nobody changed, run by the command in a folder of its own."""

from __future__ import annotations

import json
import os
import signal
from functools import partial
from pathlib import Path
from typing import Any

import optuna
import pytest
from sqlalchemy import Engine
from sqlalchemy.engine import URL

from caviar.storage.curves import read_curves
from caviar.storage.definitions import load_study
from caviar.storage.history import read_frozen_trials
from caviar.storage.status import read_trials
from tests.helpers.command import Caviar, rows, until

# After pytorch/pytorch_simple.py of optuna-examples, whose images are random numbers here.
SCRIPT = """
import optuna
import torch
import torch.nn as nn
import torch.nn.functional as F
import torch.optim as optim
from optuna.trial import TrialState

DEVICE = torch.device("cpu")
CLASSES = 4
EPOCHS = 5


def define_model(trial):
    # We optimize the number of layers, hidden units and dropout ratio in each layer.
    n_layers = trial.suggest_int("n_layers", 1, 3)
    layers = []

    in_features = 16
    for i in range(n_layers):
        out_features = trial.suggest_int("n_units_l{}".format(i), 4, 32)
        layers.append(nn.Linear(in_features, out_features))
        layers.append(nn.ReLU())
        p = trial.suggest_float("dropout_l{}".format(i), 0.0, 0.5)
        layers.append(nn.Dropout(p))

        in_features = out_features
    layers.append(nn.Linear(in_features, CLASSES))
    layers.append(nn.LogSoftmax(dim=1))

    return nn.Sequential(*layers)


def get_data():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(640, 16, generator=generator)
    y = x.reshape(-1, CLASSES, 4).sum(2).argmax(1)
    return (x[:480].split(32), y[:480].split(32)), (x[480:], y[480:])


def objective(trial):
    # Generate the model.
    model = define_model(trial).to(DEVICE)

    # Generate the optimizers.
    optimizer_name = trial.suggest_categorical("optimizer", ["Adam", "RMSprop", "SGD"])
    lr = trial.suggest_float("lr", 1e-5, 1e-1, log=True)
    optimizer = getattr(optim, optimizer_name)(model.parameters(), lr=lr)

    # Get the dataset.
    train_loader, (valid_x, valid_y) = get_data()

    # Training of the model.
    for epoch in range(EPOCHS):
        model.train()
        for data, target in zip(*train_loader):
            optimizer.zero_grad()
            output = model(data)
            loss = F.nll_loss(output, target)
            loss.backward()
            optimizer.step()

        # Validation of the model.
        model.eval()
        with torch.no_grad():
            accuracy = (model(valid_x).argmax(dim=1) == valid_y).float().mean().item()

        trial.report(accuracy, epoch)

        # Handle pruning based on the intermediate value.
        if trial.should_prune():
            raise optuna.exceptions.TrialPruned()

    return accuracy


if __name__ == "__main__":
    study = optuna.create_study(direction="maximize")
    study.optimize(objective, n_trials=100, timeout=600)
"""
STUDY = """
from caviar import Study

STUDY = Study(
    name="calm", objective="pytorch_simple:objective", direction="maximize", budget=30,
    tiers=[["lr"], ["n_layers", "optimizer", "lrr"]],
)
"""


@pytest.fixture
def caviar_there(caviar: list[str], database_url: URL, tmp_path: Path) -> Caviar:
    (tmp_path / "pytorch_simple.py").write_text(SCRIPT)
    (tmp_path / "tune.py").write_text(STUDY)
    return Caviar(caviar, database_url, tmp_path)


EPOCHS = "SELECT count(*) FROM caviar.epoch JOIN caviar.study USING (study_id) WHERE name = 'wild'"


def has_more(engine: Engine, epochs: int) -> bool:
    return bool(rows(engine, EPOCHS) > epochs)


def outcome(engine: Engine, name: str) -> list[Any]:
    record = load_study(engine, name)
    curves = read_curves(engine, record.study_id)
    trials = read_frozen_trials(engine, record.optuna_study_id)
    return [(t.number, t.state, t.params, t.value, [dict(e.metrics) for e in curves[t.number]]) for t in trials]


@pytest.mark.slow
def test_an_unchanged_script_whose_processes_are_killed(caviar_there: Caviar, engine: Engine) -> None:
    said = caviar_there.run("run", "tune.py", "--workers", "1")
    assert "calm is complete: 30 trials" in said
    assert "no trial suggested 'lrr', which a tier names; did you mean lr?" in said

    trained, killed = 0, 0
    while killed < 3:
        process = caviar_there.start("run", "tune.py", "--name", "wild", "--workers", "1")
        until(partial(has_more, engine, trained + 3))
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        trained, killed = rows(engine, EPOCHS), killed + 1
    caviar_there.run("run", "tune.py", "--name", "wild", "--workers", "1")

    wild = outcome(engine, "wild")
    assert [number for number, *_ in wild] == list(range(30))
    assert wild == outcome(engine, "calm")
    assert max(t.attempts for t in read_trials(engine, load_study(engine, "wild").study_id)) > 1
    theirs = optuna.load_study(study_name="wild", storage=engine.url.render_as_string(hide_password=False))
    assert len(theirs.trials) == 30
    assert all(trial.state.is_finished() for trial in theirs.trials)


@pytest.mark.slow
def test_what_is_shown_of_an_objective(caviar_there: Caviar) -> None:
    assert "all that it names" in caviar_there.run("plan", "tune.py")
    checked = caviar_there.run("check", "tune.py")
    assert "nothing is saved: an interrupted trial begins again" in checked
    caviar_there.run("run", "tune.py", "--budget", "24", "--workers", "2")
    named = [f"{name}{n}" for name in ("n_units_l", "dropout_l") for n in range(3)] + ["n_layers", "optimizer", "lr"]
    trials = json.loads(caviar_there.run("trials", "calm", "--json"))
    assert {name for trial in trials for name in trial["hyperparameters"]} <= set(named)
    assert {trial["hyperparameters"]["optimizer"] for trial in trials} <= {"Adam", "RMSprop", "SGD"}
    assert all(isinstance(trial["hyperparameters"]["n_layers"], int) for trial in trials)
    for command in ("trials", "status", "best", "report", "curves", "history"):
        said = caviar_there.run(command, "calm")
        assert "nan" not in said
        assert "optimizer" in said or command == "history"
    ranked = json.loads(caviar_there.run("importance", "calm", "--json"))["importances"]["hyperparameters"]
    assert {"lr", "n_layers", "optimizer"} <= {h["name"] for h in ranked}
    caviar_there.run("report", "calm", "-o", "calm.html")
    assert "dropout_l0" in (caviar_there.folder / "calm.html").read_text()
    caviar_there.run("export", "calm", "--to", "calm.csv")
    assert "n_units_l1" in (caviar_there.folder / "calm.csv").read_text().splitlines()[0]
    assert "trained again" in caviar_there.run("best", "calm", "--confirm", "2")
    refused = caviar_there.run("retune", "calm", "--name", "other", code=2)
    assert "cannot begin with the results of an earlier study" in refused
