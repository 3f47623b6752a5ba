"""Small studies and values that several tests use."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from caviar.studies.definition import Study
from caviar.studies.space.scales import Choice, Grid, Linear, Log, LogOneMinus, PowersOfTwo

TIERS = (
    {"learning_rate": Log(1e-4, 1, default=0.1)},
    {
        "momentum": LogOneMinus(0.9, 0.999, default=0.9),
        "hidden_units": Linear(50, 100, default=64),
        "batch_size": PowersOfTwo(64, 512, default=256),
    },
    {"layers": Grid(2, 3, 4, default=2), "decay": Log(1e-3, 1, default=0, or_zero=True)},
)
ALL_SCALES = [
    Log(1e-4, 1, default=0.1),
    Log(1e-3, 1, default=0, or_zero=True),
    LogOneMinus(0.9, 0.999, default=0.9),
    Linear(50, 100, default=64),
    Linear(0.0, 0.5, default=0.1),
    PowersOfTwo(16, 512, default=64),
    Grid(2, 3, 4, default=2),
    Grid(1, 2, 4, default=1),
    Choice("relu", "gelu", default="relu"),
]


def small_study(**fields: Any) -> Study:
    """A study of digits that trains in a moment: large batches, few epochs."""
    values = {"name": "small", "model": "mlp", "data": "digits", "epochs": 2, "budget": 8, "tiers": TIERS, **fields}
    return Study(**values)


def write_study(file: Path, study: Study) -> str:
    """Write a study's definition as a user does, for a process that has no `tests` to import from; return its path."""
    scales = sorted({type(scale).__name__ for scale in study.scales().values()})
    file.write_text(f"from caviar import {', '.join(['Study', *scales])}\n\nSTUDY = {study!r}\n")
    return str(file)


def skip_without_package(strategy: str) -> None:
    """Skip a test of one of Optuna's samplers where what it needs is not installed."""
    if "CmaEs" in strategy:
        pytest.importorskip("cmaes")
