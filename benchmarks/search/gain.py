"""The gain over the default: what is said of it, beside what is true, on tables of trained networks.

    python benchmarks/search/gain.py [--seeds 6] [--short]

For searches by `tiered`, after 20, 30, 60 and 100 trials: by how much the winner is expected to be better than the
default, by how much it truly is, the same by the values of their two trials, and how often the true gain is in the
stated 90 % interval. Gains are shares of the distance from the best configuration to a median one. Writes
benchmarks/results/gain.json.
"""

from __future__ import annotations

import argparse
import sys
from multiprocessing import Pool
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import numpy as np
import optuna
from machine import write
from methods import begin
from small_problems import of_table
from tables import DEVELOPMENT, UNSEEN

from caviar.studies.search.expectation import winner_of
from caviar.studies.search.gain import gain_over_default
from caviar.studies.search.surrogate import one_thread

BUDGETS = (20, 30, 60, 100)

Row = tuple[float, float, float, float, float]  # whether it holds, expected, true, by the values, half of the interval


def look(given: tuple[str, int]) -> list[Row]:
    """Search a table, and look at the gain after each number of trials; those without an interval are left out."""
    name, seed = given
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    problem = of_table(name, "own", seed)
    definition = problem.study(max(BUDGETS))
    study, rng = begin("tiered", definition), np.random.default_rng([seed, 3])
    regrets, rows = [], list[Row]()
    with one_thread():
        for count in range(1, definition.budget + 1):
            trial = study.ask(definition.distributions())
            values = definition.trained(trial.params)
            regrets.append(problem.regret(values))
            study.tell(trial, problem.train(values, rng))
            if count not in BUDGETS:
                continue
            trials = study.get_trials(deepcopy=False)
            winner = winner_of(definition, trials)
            assert winner is not None
            found = gain_over_default(definition, trials, winner.trial)
            if found is None or found.low is None or found.high is None:
                continue
            true = regrets[found.default] - regrets[winner.trial]
            single = (trials[found.default].value or 0.0) - (trials[winner.trial].value or 0.0)
            by, low, high = (value / problem.unit for value in (found.by, found.low, found.high))
            holds = low - 1e-9 <= true <= high + 1e-9
            rows.append((float(holds), by, true, single / problem.unit, (high - low) / 2))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=6)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--short", action="store_true", help="1 seed")
    options = parser.parse_args()
    seeds, rows = 1 if options.short else options.seeds, []
    print(f"{'':<28} looks  holds   expected   true     by values   ±")
    groups: dict[str, list[Row]] = {"all: development": [], "all: unseen": []}
    with Pool(options.processes) as pool:
        for name in (*DEVELOPMENT, *UNSEEN):
            found = [
                row for of_search in pool.map(look, [(name, seed) for seed in range(seeds)], 1) for row in of_search
            ]
            groups["all: development" if name in DEVELOPMENT else "all: unseen"] += found
            rows.append(_row(name, found))
    rows += [_row(name, found) for name, found in groups.items()]
    write("gain", options, n=seeds, rows=rows)


def _row(name: str, found: list[Row]) -> dict[str, object]:
    if not found:
        return {"name": name, "looks": 0}
    holds, expected, true, single, half = np.mean(found, axis=0).tolist()
    print(f"{name:<28} {len(found):>5}  {holds:>5.0%}   {expected:>8.3f}  {true:>6.3f}   {single:>8.3f}   {half:.3f}",
          flush=True)  # fmt: skip
    return {"name": name, "looks": len(found), "holds": holds, "expected": expected, "true": true, "values": single,
            "half": half}  # fmt: skip


if __name__ == "__main__":
    main()
