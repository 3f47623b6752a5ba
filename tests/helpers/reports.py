"""Reports of trials that nobody trained, without a database."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from caviar.studies.results.report.records import (
    Cost,
    Report,
    ReportedHyperparameter,
    ReportedStudy,
    ReportedTrial,
)
from caviar.studies.results.summaries import StudyState
from caviar.studies.results.winner import Winner
from caviar.studies.search.noise import Basis, Noise
from caviar.studies.space.scales import Choice, Log, LogOneMinus

EPOCHS = 20
NOISE = Noise(0.016, Basis.MODEL)


HYPERPARAMETERS = (
    ReportedHyperparameter("learning_rate", 1, Log(1e-4, 1, default=0.1)),
    ReportedHyperparameter("momentum", 2, LogOneMinus(0.9, 0.999, default=0.9)),
    ReportedHyperparameter("activation", 3, Choice("a", "b", default="a")),
)


STUDY = ReportedStudy(
    "small", "mlp on digits", "mlp", "digits", "accuracy", "maximize", {}, EPOCHS, 0, 0, "tiered", "pace",
    StudyState.DONE, 0,
)  # fmt: skip


Curve = tuple[tuple[int, float], ...]


def trial(number: int, value: float, unit: float = 0.5, state: str = "complete", **fields: Any) -> ReportedTrial:
    rise = tuple((e, value * (1 - 0.3 * 0.5**e)) for e in range(1, (EPOCHS if state == "complete" else 4) + 1))
    made = {
        "trial": number, "tier": 1 + number % 3, "phase": "all", "state": state, "metric": "accuracy", "value": value,
        "violated": None, "epochs": len(rise), "seconds": 1.0, "attempts": 1, "worker": f"host:{number % 2}",
        "why_it_stopped": "finished", "optuna_number": number,
        "hyperparameters": {"learning_rate": 10 ** (4 * unit - 4), "momentum": 0.99 + number / 1e6, "activation": "a"},
        "units": {"learning_rate": unit, "momentum": 0.5, "activation": 0.25}, "began": float(number),
        "ended": float(number) + 2, "curve": rise, "zoom": None,
        "metrics": losses([0.5 / e for e, _ in rise], [0.6 / e for e, _ in rise])
        | {"accuracy": tuple(v for _, v in rise), "learning_rate": (0.1,) * len(rise)},
    }  # fmt: skip
    return ReportedTrial(**{**made, **fields})


def losses(training: Sequence[float], validation: Sequence[float]) -> dict[str, tuple[float, ...]]:
    """Both losses by name, for each epoch."""
    return {"training_loss": tuple(training), "validation_loss": tuple(validation)}


def trained_with(t: ReportedTrial, name: str, value: Any, unit: float) -> ReportedTrial:
    """The trial with another value of one hyperparameter."""
    return replace(t, hyperparameters={**t.hyperparameters, name: value}, units={**t.units, name: unit})


def curve(*values: float) -> Curve:
    return tuple(enumerate(values, start=1))


def won_by(t: ReportedTrial, **fields: Any) -> Winner:
    made = Winner(
        "small", t.trial, 1, "all", t.metric, t.value, None, t.hyperparameters, {"accuracy": t.value or 0.0}, None,
        True, None, t.epochs, (), noise=NOISE,
    )  # fmt: skip
    return replace(made, **fields)


def report(trials: Sequence[ReportedTrial], winner: int = 0, study: Any = None, **fields: Any) -> Report:
    made = Report(
        study=replace(STUDY, **{"budget": len(trials), **(study or {})}),
        hyperparameters=HYPERPARAMETERS,
        winner=won_by(trials[winner]),
        runner_up=1 - winner if len(trials) > 1 and winner < 2 else None,
        cost=Cost(len(trials), len(trials), 0, 0, 0, 0, 0, 0, 10, 20, 1.0, 9.0, 2, 1),
        trials=tuple(trials), importance=None, events=(), provenance=(), machines=("host (cpu)",), began="", now=99.0,
    )  # fmt: skip
    return replace(made, **fields)
