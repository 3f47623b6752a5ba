"""`TieredSampler` in plain Optuna programs, beside Optuna's own samplers: classical functions, and difficult spaces.

    python benchmarks/search/classical.py [--seeds 5] [--trials 60] [--short]

Prints the mean regret, the distance of the best value from the lowest one, of each sampler after so many trials, and
its mean rank on the functions. `tiered` has all parameters in one tier, `tiered 3` a third of them in each of three.
Writes benchmarks/results/classical.json.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Callable, Mapping
from multiprocessing import Pool
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import numpy as np
import optuna
from machine import write
from numpy.typing import NDArray
from optuna.samplers import BaseSampler, GPSampler, RandomSampler, TPESampler

from caviar import TieredSampler
from caviar.storage.history import is_sound
from caviar.studies.search.surrogate import one_thread

Vector = NDArray[np.float64]
Objective = Callable[[optuna.Trial], float]


def _on(count: int, low: float, high: float, function: Callable[[Vector], float]) -> Objective:
    """Return a function of so many numbers of one range as an objective."""
    return lambda trial: float(function(np.array([trial.suggest_float(f"x{i}", low, high) for i in range(count)])))


def _branin(x: Vector) -> float:
    a, b = 15 * x[0] - 5, 15 * x[1]
    return float((b - 5.1 / (4 * np.pi**2) * a**2 + 5 / np.pi * a - 6) ** 2
                 + 10 * (1 - 1 / (8 * np.pi)) * np.cos(a) + 10 - 0.397887)  # fmt: skip


def _hartmann(a: Vector, p: Vector, lowest: float) -> Callable[[Vector], float]:
    alpha = np.array([1.0, 1.2, 3.0, 3.2])
    return lambda x: float(-alpha @ np.exp(-(a * (x - p) ** 2).sum(axis=1)) - lowest)


_H3 = _hartmann(
    np.array([[3, 10, 30], [0.1, 10, 35], [3, 10, 30], [0.1, 10, 35]]),
    1e-4 * np.array([[3689, 1170, 2673], [4699, 4387, 7470], [1091, 8732, 5547], [381, 5743, 8828]]), -3.86278,
)  # fmt: skip
_H6 = _hartmann(
    np.array([[10, 3, 17, 3.5, 1.7, 8], [0.05, 10, 17, 0.1, 8, 14], [3, 3.5, 1.7, 10, 17, 8],
              [17, 8, 0.05, 10, 0.1, 14]]),
    1e-4 * np.array([[1312, 1696, 5569, 124, 8283, 5886], [2329, 4135, 8307, 3736, 1004, 9991],
                     [2348, 1451, 3522, 2883, 3047, 6650], [4047, 8828, 8732, 5743, 1091, 381]]), -3.32237,
)  # fmt: skip


def _ackley(x: Vector) -> float:
    return float(20 + np.e - 20 * np.exp(-0.2 * np.sqrt(np.mean(x**2))) - np.exp(np.mean(np.cos(2 * np.pi * x))))


def _levy(x: Vector) -> float:
    w = 1 + (x - 1) / 4
    middle = ((w[:-1] - 1) ** 2 * (1 + 10 * np.sin(np.pi * w[:-1] + 1) ** 2)).sum()
    end = (w[-1] - 1) ** 2 * (1 + np.sin(2 * np.pi * w[-1]) ** 2)
    return float(np.sin(np.pi * w[0]) ** 2 + middle + end)


def _rosenbrock(x: Vector) -> float:
    return float((100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum())


def _camel(x: Vector) -> float:
    a, b = x
    return float((4 - 2.1 * a**2 + a**4 / 3) * a**2 + a * b + (4 * b**2 - 4) * b**2 + 1.0316285)


def _sphere(x: Vector) -> float:
    return float(((x - 0.3) ** 2).sum())


FUNCTIONS: Mapping[str, Objective] = {
    "sphere 3": _on(3, -1, 1, _sphere),
    "branin": _on(2, 0, 1, _branin),
    "camel": _on(2, -2, 2, _camel),
    "hartmann 3": _on(3, 0, 1, _H3),
    "hartmann 6": _on(6, 0, 1, _H6),
    "ackley 3": _on(3, -15, 30, _ackley),
    "ackley 5": _on(5, -15, 30, _ackley),
    "levy 4": _on(4, -10, 10, _levy),
    "levy 8": _on(8, -10, 10, _levy),
    "rosenbrock 2": _on(2, -2, 2, _rosenbrock),
    "rosenbrock 4": _on(4, -2, 2, _rosenbrock),
    "rastrigin 3": _on(3, -4, 6, lambda x: float(10 * len(x) + (x**2 - 10 * np.cos(2 * np.pi * x)).sum())),
    "styblinski 4": _on(4, -5, 5, lambda x: float((x**4 - 16 * x**2 + 5 * x).sum() / 2 + 39.16617 * len(x))),
}


def _conditional(trial: optuna.Trial) -> float:
    """A name decides which parameters there are."""
    if trial.suggest_categorical("kind", ("sgd", "adam", "linear")) == "sgd":
        rate, momentum = trial.suggest_float("sgd_lr", 1e-4, 1, log=True), trial.suggest_float("momentum", 0, 1)
        return (np.log10(rate) + 1.5) ** 2 / 4 + (momentum - 0.8) ** 2
    if trial.params["kind"] == "adam":
        rate, beta = trial.suggest_float("adam_lr", 1e-6, 1e-1, log=True), trial.suggest_float("beta", 0, 1)
        return 0.05 + (np.log10(rate) + 3.2) ** 2 / 4 + (beta - 0.4) ** 2
    return 0.3 + trial.suggest_float("ridge", 0, 1) ** 2


def _names(trial: optuna.Trial) -> float:
    """Ten names of four each, whose best ones are 0 together."""
    return float(sum(trial.suggest_categorical(f"c{i}", (0, 1, 2, 3)) != i % 4 for i in range(10))) / 3


def _pruned_before(trial: optuna.Trial) -> float:
    """Some of the first trials are pruned before they suggest the second parameter."""
    x = trial.suggest_float("x", -1, 1)
    if trial.number in (2, 5):
        raise optuna.TrialPruned
    return (x - 0.3) ** 2 + (trial.suggest_float("y", -1, 1) + 0.4) ** 2


def _at_an_end(trial: optuna.Trial) -> float:
    """The lowest loss is next to an end at which the program fails."""
    share = trial.suggest_float("min_samples_split", 0.0, 1.0)
    if share in (0.0, 1.0):
        raise ValueError("it must be between 0 and 1")
    return share + (trial.suggest_float("y", -1, 1) - 0.2) ** 2


def _constrained(trial: optuna.Trial) -> float:
    """The lowest loss is on the border of what is allowed."""
    x, y = trial.suggest_float("x", 0, 2), trial.suggest_float("y", 0, 2)
    trial.set_constraint("sum", 1.2 - x - y)
    return x**2 + y**2 - 0.72


DIFFICULT: Mapping[str, Objective] = {
    "conditional": _conditional, "ten names": _names, "pruned before": _pruned_before, "at an end": _at_an_end,
    "constrained": _constrained, "sphere 10": _on(10, -1, 1, _sphere), "rosenbrock 10": _on(10, -5, 10, _rosenbrock),
}  # fmt: skip


SAMPLERS: Mapping[str, Callable[[int], BaseSampler]] = {
    "random": RandomSampler,
    "tpe": lambda seed: TPESampler(seed=seed),
    "gp": lambda seed: GPSampler(seed=seed),
    "tiered": lambda seed: TieredSampler(seed=seed),
    "tiered 3": lambda seed: TieredSampler(
        tiers=[[f"x{i}" for i in range(tier, 10, 3)] for tier in range(3)], seed=seed
    ),
}


def regret(given: tuple[str, str, int, int]) -> float:
    """Return the best value of a program, whose lowest one is 0."""
    name, sampler, seed, trials = given
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore")
    objective = {**FUNCTIONS, **DIFFICULT}[name]
    study = optuna.create_study(sampler=SAMPLERS[sampler](seed))
    with one_thread():
        study.optimize(objective, n_trials=trials, catch=(ValueError,))
    return min(t.value for t in study.trials if is_sound(t) and t.value is not None)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--trials", type=int, default=60)
    parser.add_argument("--samplers", default=",".join(SAMPLERS), help="separated by commas")
    parser.add_argument("--short", action="store_true", help="2 seeds, without gp")
    options = parser.parse_args()
    samplers = [s for s in options.samplers.split(",") if not (options.short and s == "gp")]
    seeds = 2 if options.short else options.seeds
    names = [*FUNCTIONS, *DIFFICULT]
    wanted = [(n, s, seed, options.trials) for n in names for s in samplers for seed in range(seeds)]
    with Pool(2) as pool:
        found = np.array(pool.map(regret, wanted, chunksize=1)).reshape(len(names), len(samplers), seeds)
    means = found.mean(axis=2)
    functions = found[: len(FUNCTIONS)]
    ranks = ((functions[:, :, None] > functions[:, None]).sum(2) + 1).mean(axis=(0, 2))
    print(f"{'':<16}" + "".join(f"{sampler:>10}" for sampler in samplers))
    for name, row in zip(names, means, strict=True):
        print(f"{name:<16}" + "".join(f"{value:>10.3g}" for value in row))
    print(f"{'mean rank':<16}" + "".join(f"{rank:>10.2f}" for rank in ranks))
    rows = [{"problem": n, **{s: float(f"{v:.4g}") for s, v in zip(samplers, row, strict=True)}}
            for n, row in zip(names, means, strict=True)]  # fmt: skip
    write("classical", options, n=seeds, rows=rows, ranks=dict(zip(samplers, ranks.round(2).tolist(), strict=True)))


if __name__ == "__main__":
    main()
