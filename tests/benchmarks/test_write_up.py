"""The tables of benchmarks/search/README.md: what they say follows from the results."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def write_up(root: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(root / "benchmarks" / "search")
    return pytest.importorskip("write_up")


def row(method: str, regret: list[float], **tables: list[float]) -> dict[str, Any]:
    return {"method": method, "regret": regret, "tables": {n: [[mean, 0.1] for mean in m] for n, m in tables.items()}}


def test_ahead_are_those_with_a_lower_regret_as_it_is_printed(write_up: Any) -> None:
    rows = [
        row("random", [0.3, 0.2], car=[0.1, 0.20041], kc1=[0.2, 0.2]),
        row("tpe", [0.1, 0.3], car=[0.09, 0.3], kc1=[0.4, 0.1]),
        row("tiered", [0.2, 0.2], car=[0.2, 0.20049], kc1=[0.2, 0.3]),
    ]
    assert write_up.ahead({"budgets": [10, 20], "rows": rows}).splitlines() == [
        "| data set | 10 trials | 20 trials |",
        "| --- | --- | --- |",
        "| mean of all | tpe | nobody |",
        "| car | all 2 | nobody |",
        "| kc1 | nobody | all 2 |",
    ]
    rows.insert(0, row("gp", [0.15, 0.3], car=[0.3, 0.3], kc1=[0.3, 0.15]))
    assert "| mean of all | tpe, gp | nobody |" in write_up.ahead({"budgets": [10, 20], "rows": rows})
    assert "| car | tpe, random | nobody |" in write_up.ahead({"budgets": [10, 20], "rows": rows})


def test_luck_says_how_often_another_than_the_best_value_won_where_the_run_does(write_up: Any) -> None:
    mean = [0.1, 0.09, 0.15, 0.02, 0.9, 0.12]
    older, newer = write_up.luck({"rows": [{"trials": 20, "mean": mean, "interval": [0.01] * 6}]}), write_up.luck(
        {"rows": [{"trials": 10, "mean": [*mean, each, 0.1 * bool(each), -0.05 * bool(each)], "interval": [0.01] * 9}
                  for each in (0.2, 0.0)]}
    )  # fmt: skip
    assert older.splitlines()[0].endswith("| its interval holds in | and is ± |")
    assert older.splitlines()[2].endswith("| 90% | 0.120 |")
    assert newer.splitlines()[0].endswith("| and is ± | another won | and is better | by |")
    assert newer.splitlines()[2].endswith("| 90% | 0.120 | 20% | 50% | -0.250 |")
    assert newer.splitlines()[3].endswith("| 0.120 | 0% |  |  |")
