"""The figures of the README on `digits`: strategies over several seeds, each through the command line.

    python benchmarks/digits.py [--seeds 10] [--budget 40] [--workers 2] [--strategies tiered,random]
                                [--short]

Each search runs in an empty database of its own folder, the strategies interleaved seed by seed. Prints a table and
writes benchmarks/results/digits.json with hardware, versions, seeds, n and spread; its short form digits-short.json.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from machine import write

CAVIAR = str(Path(sys.executable).parent / "caviar")


def search(strategy: str, seed: int, budget: int, workers: int, home: str) -> dict[str, Any]:
    """Run one search and return its winner and its cost."""
    environ = {**os.environ, "CAVIAR_HOME": home}
    name = f"{strategy}-{seed}"
    started = time.perf_counter()
    subprocess.run(
        [CAVIAR, "run", "digits", "--name", name, "--strategy", strategy, "--seed", str(seed),
         "--budget", str(budget), "--workers", str(workers)],
        check=True, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    seconds = time.perf_counter() - started

    def ask(command: str) -> dict[str, Any]:
        said = subprocess.run([CAVIAR, command, name, "--json"], check=True, env=environ, capture_output=True)
        return json.loads(said.stdout)  # type: ignore[no-any-return]

    best, status = ask("best"), ask("status")
    return {
        "strategy": strategy, "seed": seed, "seconds": seconds, "trial": best["trial"],
        "validation": best["validation"]["accuracy"], "test": best["test"]["accuracy"],
        "epochs": status["epochs"]["trained"], "hyperparameters": best["hyperparameters"],
    }  # fmt: skip


def told(values: list[float], digits: int = 4) -> str:
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
        for seed in range(options.seeds):
            for strategy in strategies:
                rows.append(search(strategy, seed, options.budget, options.workers, home))
                print(f"{strategy} seed {seed}: validation {rows[-1]['validation']:.4f}, "
                      f"test {rows[-1]['test']:.4f}, {rows[-1]['seconds']:.0f} s", flush=True)  # fmt: skip
    print(f"\nmean ± standard deviation over {options.seeds} seeds, {options.budget} trials, {options.workers} workers")
    print(f"{'strategy':<10} {'validation':<18} {'test':<18} {'epochs':<16} seconds")
    for strategy in strategies:
        own = [row for row in rows if row["strategy"] == strategy]
        print(f"{strategy:<10} {told([r['validation'] for r in own]):<18} {told([r['test'] for r in own]):<18} "
              f"{told([r['epochs'] for r in own], 0):<16} {told([r['seconds'] for r in own], 0)}")  # fmt: skip
    write("digits", options, runs=rows)


if __name__ == "__main__":
    main()
