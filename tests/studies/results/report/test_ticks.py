"""Ticks of the axes of hyperparameters: values that exist, as a person writes them."""

from __future__ import annotations

import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from caviar.studies.results.report.ticks import ticks
from caviar.studies.search.optuna_space import OptunaScale
from caviar.studies.space.base import BaseScale
from caviar.studies.space.scales import Choice, Grid, Linear, Log, LogOneMinus, PowersOfTwo


@pytest.mark.parametrize(
    ("scale", "expected"),
    [
        (PowersOfTwo(16, 256, default=64), "16 32 64 128 256"),
        (Grid(2, 3, 4, default=2), "2 3 4"),
        (Grid(*(i * i for i in range(9)), default=4), "0 4 16 36 64"),  # round numbers are not on it
        (LogOneMinus(0.9, 0.999, default=0.9), "0.9 0.97 0.99 0.997 0.999"),
        (LogOneMinus(0.9, 0.9999, default=0.9), "0.9 0.99 0.999 0.9999"),
        (Log(1e-4, 0.1, default=0.0, or_zero=True), "0 0.0001 0.001 0.01 0.1"),
        (Log(1e-5, 1, default=0.1), "1e-5 0.0001 0.001 0.01 0.1 1"),
        (Linear(50, 100, default=64), "50 60 70 80 90 100"),
        (Linear(0.0, 0.5, default=0.1), "0 0.1 0.2 0.3 0.4 0.5"),
        (Choice("relu", "a_function_of_ones_own", default="relu"), "relu a_function_of…"),
        (OptunaScale(IntDistribution(1, 1000, log=True)), "1 10 100 1000"),
        (OptunaScale(FloatDistribution(0.3, 0.3)), "0.3"),
        (OptunaScale(CategoricalDistribution([True, False])), "True False"),
    ],
    ids=str,
)
def test_the_ticks_are_values_that_exist(scale: BaseScale, expected: str) -> None:
    found = ticks(scale)
    assert " ".join(text for _, text in found) == expected
    places = [place for place, _ in found]
    assert places == sorted(places)
    assert all(0 <= place <= 1 for place in places)


def test_a_long_list_has_few_ticks() -> None:
    assert 3 <= len(ticks(PowersOfTwo(1, 2**20, default=2))) <= 7
    assert 3 <= len(ticks(Log(1e-12, 1, default=1e-3))) <= 7
    assert 3 <= len(ticks(Log(0.02, 0.03, default=0.02))) <= 11
