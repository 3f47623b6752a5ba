"""Luck: what is said of a search's winner, beside what is true of it, on tables of networks trained 4 or 5 times each.

    python benchmarks/search/noise.py [--seeds 20] [--unseen] [--short]

For searches by `tiered`: the regret of the configuration with the best value, and of the one that `caviar best` names;
how much better than its true mean each is said to be (the best value itself, and what `caviar best` expects), as a
share of the distance from the best of the table to a median configuration; how often the true mean lies in the 90 %
interval; and where another one than the best value won: in how many searches, in how many of these it is truly better,
and by how much on average. Uses the runs that benchmarks/search/run.py keeps. Writes benchmarks/results/noise.json.
"""

from __future__ import annotations

import argparse
import sys
from multiprocessing import Pool
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import numpy as np
from machine import write
from run import BUDGETS, keep, mean_and_interval, path_of, read, trials_planned
from simulate import trials_of
from tables import DEVELOPMENT, UNSEEN, load

from caviar.studies.search.expectation import winner_of


def _look(given: tuple[str, int, int]) -> tuple[float, ...]:
    name, seed, budget = given
    table = load(name)
    planned = trials_planned("tiered", budget)
    run, definition = read(name, "tiered", seed, planned, 1), table.study(planned, seed)
    found = winner_of(definition, trials_of(table, definition, run, budget))
    assert found is not None
    best, won = run.rows[int(np.argmin(run.losses[:budget]))], run.rows[found.trial]
    assert found.value is not None
    assert found.low is not None
    assert found.high is not None
    unit = float(np.median(table.means) - table.means.min())
    true = table.means[won]
    return (
        table.regret(best), table.regret(won), (table.means[best] - min(run.losses[:budget])) / unit,
        (true - found.value) / unit, float(found.low <= true <= found.high), (found.high - found.low) / 2 / unit,
        float(best != won), float(true < table.means[best]), (table.means[best] - true) / unit,
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--unseen", action="store_true", help="the tables that nothing was chosen by")
    parser.add_argument("--short", action="store_true", help="3 seeds")
    options = parser.parse_args()
    seeds = 3 if options.short else options.seeds
    tables = UNSEEN if options.unseen else DEVELOPMENT
    wanted = [(t, "tiered", s, trials_planned("tiered", b), 1) for t in tables for s in range(seeds) for b in BUDGETS]
    rows = []
    print("after        regret of           said to be better than it is        interval        another\n"
          "trials   best value   winner     best value   expected of the winner   holds   ±       won  better  by",
          flush=True)  # fmt: skip
    with Pool(2) as pool:
        keep(pool, [given for given in dict.fromkeys(wanted) if not path_of(*given).exists()])
        for budget in BUDGETS:
            looked = pool.map(_look, [(t, s, budget) for t in tables for s in range(seeds)])
            found = np.array(looked).reshape(len(tables), seeds, -1)
            mean, width = mean_and_interval(found.mean(0))
            told = [f"{m:.3f} ±{w:.3f}" for m, w in zip(mean, width, strict=True)]
            print(
                f"{budget:>6}   {told[0]}  {told[1]}   {told[2]}   {told[3]:>18} {mean[4]:>12.0%}   {mean[5]:.3f}"
                f"   {mean[6]:>6.0%} {mean[7] / max(mean[6], 1e-9):>10.0%} {mean[8] / max(mean[6], 1e-9):>8.3f}"
            )
            rows.append({"trials": budget, "mean": mean.tolist(), "interval": width.tolist(),
                         "tables": {t: found[i].mean(0).tolist() for i, t in enumerate(tables)}})  # fmt: skip
    columns = ("regret of the best value", "regret of the winner", "flattery of the best value",
               "flattery of what is expected", "interval holds", "half of the interval",
               "another won", "and is better", "by")  # fmt: skip
    write("noise-unseen" if options.unseen else "noise", options, columns=columns, n=seeds, rows=rows)


if __name__ == "__main__":
    main()
