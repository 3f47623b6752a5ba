"""Which pruner wastes least: the regret of samplers and pruners after so many epochs, on real learning curves.

    python benchmarks/search/pruning.py [--seeds 20] [--beside 1,8] [--data-dir DIR] [--short]

The curves are those of benchmarks/search/curves.py, which are made where they are not there yet (about 15 minutes on 2
cores). Regret: how far the last accuracy of the configuration that is the best known is from the best one's; 1 is where
a median configuration is. `--beside 8`: eight trials side by side, as a cohort trains them. Prints a table and writes
benchmarks/results/pruning.json.
"""

from __future__ import annotations

import argparse
import sys
from multiprocessing import Pool
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import numpy as np
import optuna
from curves import DATA, load_curves, make_missing
from epochs import search
from machine import write

from caviar.studies.api.session import data_folder

CHECKS = (135, 270, 540)
METHODS = ("random+default", "tpe+default", "tiered")
PRUNERS = ("none", "median", "halving", "hyperband", "pace")


def _run(given: tuple[str, str, str, int, int]) -> list[tuple[float, int]]:
    name, method, pruner, seed, beside = given
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    curves = load_curves(name)
    return [(curves.regret(row), trials) for row, trials in search(curves, method, pruner, seed, CHECKS, beside)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--beside", default="1,8", help="trials side by side; several, separated by commas")
    parser.add_argument("--data-dir", type=Path, default=data_folder(None), help="the folder that has MNIST/raw")
    parser.add_argument("--short", action="store_true", help="3 seeds")
    options = parser.parse_args()
    seeds = 3 if options.short else options.seeds
    make_missing(options.data_dir)
    rows = []
    with Pool(2) as pool:
        for beside in map(int, options.beside.split(",")):
            print(f"\n{beside} beside one another" if beside > 1 else "one after the other")
            print(f"{'':<28}" + "".join(f"{check:>9} epochs" for check in CHECKS) + "   trials begun", flush=True)
            for method in METHODS:
                for pruner in PRUNERS:
                    wanted = [(name, method, pruner, seed, beside) for name in DATA for seed in range(seeds)]
                    found = np.array(pool.map(_run, wanted, chunksize=1)).reshape(len(DATA), seeds, len(CHECKS), 2)
                    regret, trials = found[..., 0], found[..., 1]
                    per_seed = regret.mean(0)
                    mean, width = per_seed.mean(0), 1.96 * per_seed.std(0, ddof=1) / np.sqrt(seeds)
                    print(f"{method:<16}{pruner:<12}"
                          + "".join(f"{m:>9.4f} ±{w:.3f}" for m, w in zip(mean, width, strict=True))
                          + f"   {trials[..., -1].mean():>6.0f}", flush=True)  # fmt: skip
                    rows.append({
                        "method": method, "pruner": pruner, "beside": beside, "regret": mean.tolist(),
                        "interval": width.tolist(), "trials": trials.mean((0, 1)).tolist(),
                        "data": {name: regret[i].mean(0).tolist() for i, name in enumerate(DATA)},
                    })  # fmt: skip
    write("pruning", options, epochs=CHECKS, n=seeds, rows=rows)


if __name__ == "__main__":
    main()
