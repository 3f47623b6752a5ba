"""Figures on `digits`: strategies over several seeds.

    python benchmarks/digits.py [--seeds 10] [--budget 40] [--workers 2] [--strategies tiered,random]
                                [--short]

All searches share a new server, the strategies interleaved seed by seed. Prints a table and writes
benchmarks/results/digits.json with hardware, versions, seeds, n and spread; its short form digits-short.json.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
from typing import Any

from machine import write
from sqlalchemy import Engine

import caviar


def search(strategy: str, seed: int, budget: int, workers: int, database: Engine) -> dict[str, Any]:
    """Run one search, and return its winner and its cost."""
    result = caviar.run(
        "digits", name=f"{strategy}-{seed}", strategy=strategy, seed=seed, budget=budget, workers=workers,
        database=database,
    )  # fmt: skip
    assert result.winner is not None
    assert result.winner.test is not None
    return {
        "strategy": strategy, "seed": seed, "seconds": result.seconds, "trial": result.winner.trial,
        "validation": result.winner.metrics["accuracy"], "test": result.winner.test["accuracy"],
        "epochs": result.status.epochs.trained, "hyperparameters": dict(result.winner.hyperparameters),
    }  # fmt: skip


def mean_and_spread(values: list[float], digits: int = 4) -> str:
    spread = statistics.stdev(values) if len(values) > 1 else 0.0
    return f"{statistics.mean(values):.{digits}f} ± {spread:.{digits}f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--budget", type=int, default=40)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--strategies", default="tiered,random")
    parser.add_argument("--short", action="store_true", help="2 seeds")
    options = parser.parse_args()
    if options.short:
        options.seeds = 2
    strategies = options.strategies.split(",")
    rows = []
    with tempfile.TemporaryDirectory() as home:
        os.environ["CAVIAR_HOME"] = home  # the workers' too
        os.environ.pop("CAVIAR_DATABASE_URL", None)
        with caviar.connect() as database:
            for seed in range(options.seeds):
                for strategy in strategies:
                    rows.append(search(strategy, seed, options.budget, options.workers, database))
                    print(f"{strategy} seed {seed}: validation {rows[-1]['validation']:.4f}, "
                          f"test {rows[-1]['test']:.4f}, {rows[-1]['seconds']:.0f} s", flush=True)  # fmt: skip
    print(f"\nmean ± standard deviation over {options.seeds} seeds, {options.budget} trials, {options.workers} workers")
    print(f"{'strategy':<10} {'validation':<18} {'test':<18} {'epochs':<16} seconds")
    for strategy in strategies:
        own = [row for row in rows if row["strategy"] == strategy]
        validation, test = (mean_and_spread([row[part] for row in own]) for part in ("validation", "test"))
        epochs, seconds = (mean_and_spread([row[part] for row in own], 0) for part in ("epochs", "seconds"))
        print(f"{strategy:<10} {validation:<18} {test:<18} {epochs:<16} {seconds}")
    write("digits", options, runs=rows)


if __name__ == "__main__":
    main()
