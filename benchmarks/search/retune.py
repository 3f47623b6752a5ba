"""What an earlier study is worth: `tiered` with the prior that `caviar retune` gives it, beside without.

    python benchmarks/search/retune.py [--seeds 20] [--short]

The earlier study is one of 50 trials by `tiered` on another table of the same suite; or, to mislead, on the same table
upside down: there the worst configurations won. Both searches have 20 trials; regret is that of the configuration with
the best value so far, after 5 to 20 of them. Uses the runs that benchmarks/search/run.py keeps. Writes
benchmarks/results/retune.json.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from multiprocessing import Pool
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import numpy as np
import optuna
from machine import write
from run import keep, mean_and_interval, path_of, read, trials_planned
from simulate import regret_after, search, trials_of
from tables import DEVELOPMENT, Table, load

from caviar.studies.lifecycle.retune import retuned

KNOWN, TRIALS = 50, 20
CHECKS = (5, 7, 10, 12, 18, 20)
MISLEADING = "upside down"


def _upside_down(table: Table) -> Table:
    return replace(table, losses=table.losses.max() - table.losses)


def _run(given: tuple[str, str, int]) -> list[float]:
    """Return the regrets of a search that begins with what was learned of another table; or of nothing."""
    name, before, seed = given
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    table = load(name)
    definition = table.study(TRIALS, seed)
    if before:
        other = _upside_down(table) if before == MISLEADING else load(before)
        planned = trials_planned("tiered", KNOWN)
        earlier = other.study(planned, seed)
        run = (
            search(other, "tiered", seed, planned) if before == MISLEADING else read(before, "tiered", seed, planned, 1)
        )
        definition = retuned(earlier, trials_of(other, earlier, run, KNOWN), name=name, budget=TRIALS, seed=seed)
    run = search(table, "tiered", seed, TRIALS, definition=definition)
    return [regret_after(table, run, check) for check in CHECKS]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--short", action="store_true", help="2 seeds")
    options = parser.parse_args()
    seeds = 2 if options.short else options.seeds
    suites = [DEVELOPMENT[:4], DEVELOPMENT[4:]]
    pairs = [(t, other) for suite in suites for t in suite for other in suite if t != other]
    kinds = {
        "without": [(t, "") for t, _ in pairs],
        "with a related study": pairs,
        "without, once each": [(t, "") for t in DEVELOPMENT],
        "with a misleading one": [(t, MISLEADING) for t in DEVELOPMENT],
    }
    rows = []
    print(f"{'regret after':<24}" + "".join(f"{check:>7} trials  " for check in CHECKS), flush=True)
    with Pool(2) as pool:
        needed = [(t, "tiered", s, trials_planned("tiered", KNOWN), 1) for t in DEVELOPMENT for s in range(seeds)]
        keep(pool, [given for given in needed if not path_of(*given).exists()])
        for kind, of in kinds.items():
            found = np.array(pool.map(_run, [(*pair, seed) for pair in of for seed in range(seeds)], chunksize=1))
            mean, width = mean_and_interval(found.reshape(len(of), seeds, -1).mean(0))
            print(f"{kind:<24}" + "".join(f"{m:>7.3f} ±{w:.3f} " for m, w in zip(mean, width, strict=True)), flush=True)
            rows.append({"kind": kind, "regret": mean.tolist(), "interval": width.tolist()})
    write("retune", options, checks=CHECKS, n=seeds, pairs=pairs, rows=rows)


if __name__ == "__main__":
    main()
