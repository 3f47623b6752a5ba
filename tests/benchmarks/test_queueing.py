"""The simulation behind benchmarks/scale.py: its queue is one of queueing theory, and the same seed gives the same."""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def queueing(root: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(root / "benchmarks")
    return pytest.importorskip("queueing")


@pytest.mark.parametrize(("cores", "utilisation"), [(1, 0.5), (8, 0.8)])
def test_waits_are_those_of_erlangs_formula(queueing: Any, cores: int, utilisation: float) -> None:
    simulated, formula = queueing.check(cores, utilisation)
    error = statistics.stdev(simulated) / len(simulated) ** 0.5
    assert abs(statistics.mean(simulated) - formula) < 4 * error
    assert error < 0.05 * formula


def test_what_locks_is_served_one_by_one(queueing: Any) -> None:
    simulation, ends = queueing.Simulation(8, 0), []

    def process() -> Any:
        yield queueing.Transaction(1e-9, 2.0, lock=True)
        ends.append(round(simulation.now, 3))

    for _ in range(3):
        simulation.start(process())
    simulation.run(lambda: False)
    assert ends == [2.0, 4.0, 6.0]
    assert simulation.held == pytest.approx(6.0)
