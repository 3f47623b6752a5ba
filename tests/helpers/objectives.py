"""Objectives of Optuna's, as a user has them; a study names one by its path."""

from __future__ import annotations

import random
import warnings
from collections.abc import Callable
from typing import Any

import optuna
from sqlalchemy import Engine

from caviar.storage.records import StudyRecord
from caviar.studies.definition import Study
from caviar.studies.lifecycle.manager import open_study
from caviar.studies.workers.local.signals import Stop

SEEN: list[dict[str, Any]] = []  # the parameters of each call that came to its end, in that order
ACTIONS: list[Callable[[optuna.Trial], Any]] = []  # what `acting` does, in that order


def objective_study(named: str, **fields: Any) -> Study:
    """A study of an objective of this module."""
    values = {
        "name": "own",
        "objective": f"tests.helpers.objectives:{named}",
        "direction": "minimize",
        "budget": 6,
        "tiers": [["lr"]],
        "pruner": "none",
    }
    return Study(**{**values, **fields})


def register_objective(engine: Engine, objective: str, **fields: Any) -> tuple[StudyRecord, Study]:
    """Register a study of an objective of this module."""
    SEEN.clear()
    ACTIONS.clear()
    study = objective_study(objective, **fields)
    return open_study(engine, study), study


def conditional(trial: optuna.Trial) -> float:
    """Names and ranges that depend on earlier values, random numbers, and a report for each of three steps."""
    lr = trial.suggest_float("lr", 1e-5, 1e-1, log=True)
    layers = trial.suggest_int("layers", 1, 3)
    units = [trial.suggest_int(f"units_{i}", 4, 16) for i in range(layers)]
    width = trial.suggest_int("width", 1, max(units))
    optimizer = trial.suggest_categorical("optimizer", ["adam", "sgd", None])
    loss = abs(lr - 1e-3) * 10 + layers / 10 + width / 100 + (optimizer == "sgd") + random.random() / 1000
    for step in range(3):
        trial.report(loss + 1 / (step + 1), step)
        if trial.should_prune():
            raise optuna.TrialPruned
    trial.set_user_attr("width", width)
    SEEN.append(trial.params)
    return loss


def silent(trial: optuna.Trial) -> float:
    """Report nothing."""
    return (trial.suggest_float("lr", -1, 1) - 0.5) ** 2


def slow(trial: optuna.Trial) -> float:
    """Learn at the same pace in the first trial alone."""
    trial.suggest_float("lr", 0, 1)
    for step in range(8):
        trial.report((1 if trial.number else 0) + 1 / (step + 1), step)
        if trial.should_prune():
            raise optuna.TrialPruned
    return 0.5


def acting(trial: optuna.Trial) -> Any:
    """Suggest a learning rate, and do what the test asks for."""
    trial.suggest_float("lr", 0, 1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ACTIONS.pop(0)(trial) if ACTIONS else 0.5


class LeaveAfter(Stop):
    """A stop whose grace is over once it was looked at so many times."""

    def __init__(self, looks: int) -> None:
        super().__init__()
        self._looks = looks

    @property
    def overdue(self) -> bool:
        self._looks -= 1
        return self._looks < 0

    @property
    def asked(self) -> bool:
        return self._looks < 0
