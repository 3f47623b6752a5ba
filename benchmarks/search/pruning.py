"""Which pruner wastes least, and how often one stops the winner: on real learning curves.

    python benchmarks/search/pruning.py [--seeds 20] [--draws 200] [--beside 1,8] [--curves FOLDER] [--data-dir DIR]
        [--processes 2] [--short]

The curves are those of benchmarks/search/curves.py, which are made where they are not there yet (about 15 minutes on 2
cores), and with `--curves` those of imagenet.py: with schedules of 20 to 100 epochs, as they were trained, and brought
to 30 and to 90 epochs. First, the regret of samplers and pruners after so many epochs: how far the last accuracy of the
configuration that is the best known is from the best one's; 1 is where a median configuration is. Then, of searches of
60 configurations that are drawn at random: the share in which the one that would have been the best is stopped early,
and the epochs that they took. `--beside 8`: eight trials side by side, as a cohort trains them. Prints tables, writes
benchmarks/results/pruning.json.
"""

from __future__ import annotations

import argparse
import sys
from functools import cache
from multiprocessing import Pool
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import numpy as np
import optuna
from curves import DATA, Curves, load_curves, make_missing
from epochs import drawn, known_after
from imagenet import NETWORKS, load_imagenet
from machine import write

from caviar.studies.api.session import data_folder

CHECKS = (135, 270, 540)
METHODS = ("random+default", "tpe+default", "tiered")
PRUNERS = ("none", "median", "halving", "hyperband", "pace")
TRIALS = 60
SCHEDULES = (None, 30, 90)
_AS_TRAINED = "20 to 100 epochs"


@cache
def _load(name: str, folder: Path | None) -> Curves:
    network, _, epochs = name.partition(", ")
    if network not in NETWORKS or folder is None:
        return load_curves(name)
    return load_imagenet(folder, network, None if epochs == _AS_TRAINED else int(epochs.removesuffix(" epochs")))


def _known(given: tuple[str, str, str, int, int]) -> list[tuple[float, int]]:
    name, method, pruner, seed, beside = given
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    curves = _load(name, None)
    return [(curves.regret(row), trials) for row, trials in known_after(curves, method, pruner, seed, CHECKS, beside)]


def _drawn(given: tuple[str, Path | None, str, int, int]) -> tuple[bool, int, float]:
    name, folder, pruner, seed, beside = given
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    curves = _load(name, folder)
    spent, trials = drawn(curves, pruner, seed, TRIALS, beside)
    ends = [curves.finals[one.row] for one in trials]
    best = max((end for end, one in zip(ends, trials, strict=True) if not one.pruned), default=0.0)
    return best < max(ends), spent, float(max(ends) - best)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--draws", type=int, default=200, help="searches of configurations that are drawn at random")
    parser.add_argument("--beside", default="1,8", help="trials side by side; several, separated by commas")
    parser.add_argument("--curves", type=Path, help="the folder that has the learning curves on ImageNet")
    parser.add_argument("--data-dir", type=Path, default=data_folder(None), help="the folder that has MNIST/raw")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--short", action="store_true", help="3 seeds, 10 draws")
    options = parser.parse_args()
    seeds, draws = (3, 10) if options.short else (options.seeds, options.draws)
    make_missing(options.data_dir)
    rows, winners = [], []
    with Pool(options.processes) as pool:
        for beside in map(int, options.beside.split(",")):
            print(f"\n{beside} beside one another" if beside > 1 else "one after the other")
            print(f"{'':<28}" + "".join(f"{check:>9} epochs" for check in CHECKS) + "   trials begun", flush=True)
            for method in METHODS:
                for pruner in PRUNERS:
                    wanted = [(name, method, pruner, seed, beside) for name in DATA for seed in range(seeds)]
                    found = np.array(pool.map(_known, wanted, chunksize=1)).reshape(len(DATA), seeds, len(CHECKS), 2)
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
            print(f"\n{'':<40}winner stopped   epochs   of those planned   accuracy lost", flush=True)
            lengths = [f"{epochs} epochs" if epochs else _AS_TRAINED for epochs in SCHEDULES]
            imagenet = [f"{network}, {length}" for network in NETWORKS for length in lengths] if options.curves else []
            for name in [*imagenet, *DATA]:
                planned = 0.0
                for pruner in PRUNERS:
                    runs = [(name, options.curves, pruner, seed, beside) for seed in range(draws)]
                    stopped, spent, lost = np.array(pool.map(_drawn, runs, chunksize=5)).mean(0).tolist()
                    planned = planned or spent
                    print(f"{name:<28}{pruner:<12}{stopped:>14.1%}{spent:>9.0f}{spent / planned:>19.1%}{lost:>16.4f}",
                          flush=True)  # fmt: skip
                    winners.append({
                        "curves": name, "pruner": pruner, "beside": beside, "stopped": stopped, "epochs": spent,
                        "share": spent / planned, "lost": lost,
                    })  # fmt: skip
    write("pruning", options, epochs=CHECKS, n=seeds, rows=rows, trials=TRIALS, draws=draws, winners=winners)


if __name__ == "__main__":
    main()
