"""The search with few trials: after 3 to 20 of them, beside random search and TPE from the same default.

    python benchmarks/search/small_budgets.py [--seeds 20] [--curves FOLDER] [--short]

Prints, for each kind of problem of small_problems.py, the mean regret of what each method names after each number of
trials, with its 95 % interval: the configuration with the best observed loss, of `tiered` from ten trials on the one
that `caviar best` names. And after 5, 10 and 15 trials the same for each place of the
learning rate's default. `tiered` is run once with 20 trials: its plan for a smaller budget is the beginning of that.
The curves are left out without `--curves`. Writes benchmarks/results/small_budgets.json.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping
from functools import partial
from multiprocessing import Pool
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

import numpy as np
import optuna
from machine import write
from methods import begin
from numpy.typing import NDArray
from small_problems import OFFSETS, PLACES, Problem, bowl, of_curves, of_table
from tables import DEVELOPMENT, UNSEEN

from caviar.studies.search.expectation import winner_of
from caviar.studies.search.least_trials import FEW
from caviar.studies.search.surrogate import one_thread

METHODS = ("random+default", "tpe+default", "tiered")
TRIALS = 20
FIRST = 3
JUDGED = (5, 10, 15)
_LEVEL = 0.01  # a regret below that is as good as none


def problems(curves: Path | None) -> dict[str, dict[str, list[Any]]]:
    """Return what makes the problems, given a seed: by kind, by place of the default."""
    kinds = {
        "bowl, the other defaults right": {f"{o:g} decades off": [partial(bowl, o, True)] for o in OFFSETS},
        "bowl, the other defaults anywhere": {f"{o:g} decades off": [partial(bowl, o, False)] for o in OFFSETS},
        "development tables": {p: [partial(of_table, t, p) for t in DEVELOPMENT] for p in PLACES},
        "unseen tables": {p: [partial(of_table, t, p) for t in UNSEEN] for p in PLACES},
    }
    if curves:
        for name in ("alexnet", "convnext-tiny"):
            kinds[f"curves of {name}"] = {f"{o:g} decades off": [partial(of_curves, curves, name, o)] for o in OFFSETS}
    return kinds


def regrets(problem: Problem, method: str, seed: int) -> list[float]:
    """Return the regret of the configuration that a search names after each of its trials."""
    definition = problem.study(TRIALS)
    study, rng = begin(method, definition), np.random.default_rng([seed, 3])
    best, found, trained = np.inf, list[float](), list[Mapping[str, Any]]()
    for count in range(1, TRIALS + 1):
        trial = study.ask(definition.distributions())
        trained.append(definition.trained(trial.params))
        loss = problem.train(trained[-1], rng)
        study.tell(trial, loss)
        if method == "tiered" and count >= FEW:
            winner = winner_of(definition, study.get_trials(deepcopy=False))
            assert winner is not None
            found.append(problem.regret(trained[winner.trial]))
        else:
            found.append(problem.regret(trained[-1]) if loss < best else found[-1])
        best = min(best, loss)
    return found


def _run(given: tuple[list[Any], int]) -> list[list[float]]:
    """Return the regrets of each method, the mean of problems that are alike."""
    makes, seed = given
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with one_thread():
        found = [[regrets(make(seed), method, seed) for method in METHODS] for make in makes]
    return np.mean(found, axis=0).tolist()  # type: ignore[no-any-return]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--curves", type=Path, help="the folder that has the learning curves")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--short", action="store_true", help="3 seeds")
    options = parser.parse_args()
    seeds = 3 if options.short else options.seeds
    rows, verdicts = [], []
    with Pool(options.processes) as pool:
        for kind, places in problems(options.curves).items():
            wanted = [(makes, seed) for makes in places.values() for seed in range(seeds)]
            shape = len(places), seeds, len(METHODS), TRIALS
            found = np.array(pool.map(_run, wanted, chunksize=1)).reshape(shape)
            verdicts.append(_verdict(kind, list(places), found))
            rows += list(_rows(kind, list(places), found))
            _print(kind, list(places), found)
    print("\n" + "\n".join(str(verdict) for verdict in verdicts))
    write("small_budgets", options, trials=list(range(FIRST, TRIALS + 1)), n=seeds, rows=rows, verdicts=verdicts)


def _rows(kind: str, places: list[str], found: NDArray[np.float64]) -> Iterator[dict[str, Any]]:
    of_seeds = found.mean(0)  # of all places of the default
    width = 1.96 * of_seeds.std(0, ddof=1) / np.sqrt(len(of_seeds))
    for at, method in enumerate(METHODS):
        yield {
            "kind": kind, "method": method, "regret": _rounded(of_seeds[:, at, FIRST - 1 :].mean(0)),
            "interval": _rounded(width[at, FIRST - 1 :]),
            "after": {place: _rounded(found[i, :, at].mean(0)[[t - 1 for t in JUDGED]])
                      for i, place in enumerate(places)},
        }  # fmt: skip


def _rounded(values: NDArray[np.float64]) -> list[float]:
    return [round(float(value), 4) for value in values]


def _verdict(kind: str, places: list[str], found: NDArray[np.float64]) -> Mapping[str, Any]:
    """Return, after 5, 10 and 15 trials: the regret as a share of that of the better peer, in the mean and at the worst
    place of the default; and the largest share by which it is higher after one trial more."""
    peers, own = found[:, :, :-1].mean(1), found[:, :, -1].mean(1)  # (places, [methods,] trials)
    judged = [trials - 1 for trials in JUDGED]
    shares = own[:, judged] / np.maximum(peers[:, :, judged].min(1), _LEVEL)
    mean = own.mean(0)
    return {
        "kind": kind,
        "share": _rounded(mean[judged] / peers.mean(0).min(0)[judged]),
        "worst": [f"{share:.2f} {places[int(at)]}" for share, at in zip(shares.max(0), shares.argmax(0), strict=True)],
        "step": round(float((mean[FIRST:] / np.maximum(mean[FIRST - 1 : -1], 1e-9)).max()), 3),
    }


def _print(kind: str, places: list[str], found: NDArray[np.float64]) -> None:
    print(f"\n{kind}\n{'after':<24}" + "".join(f"{trials:>7}" for trials in range(FIRST, TRIALS + 1)))
    for row in _rows(kind, places, found):
        print(f"{row['method']:<24}" + "".join(f"{value:>7.3f}" for value in row["regret"]))
        print(f"{'  ±':<24}" + "".join(f"{value:>7.3f}" for value in row["interval"]), flush=True)
    print(f"{'after':<24}" + "".join(f"{trials:>7}" for trials in JUDGED))
    for place in places:
        for row in _rows(kind, places, found):
            print(f"{place + ', ' + row['method']:<34}" + "".join(f"{value:>7.3f}" for value in row["after"][place]))


if __name__ == "__main__":
    main()
