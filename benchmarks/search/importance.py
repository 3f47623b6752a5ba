"""What a study of 50 trials says of the importance of its hyperparameters, beside what the whole table says.

    python benchmarks/search/importance.py [--seeds 20] [--trials 50] [--short]

Truth: the share of the variance of the loss's rank, over all configurations of a table, that each hyperparameter
explains alone. For `caviar importance` and for Optuna's PED-ANOVA, on the same trials of `tiered`: the rank correlation
with the truth, how often the most important one is found, and how often the truth lies in the 90 % interval; and how
often what is said of the order of the tiers is right, and not said. Writes benchmarks/results/importance.json.
"""

from __future__ import annotations

import argparse
import sys
from multiprocessing import Pool
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

import numpy as np
import optuna
from machine import write
from methods import begin
from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances
from scipy.stats import rankdata, spearmanr
from tables import DEVELOPMENT, Table, load

from caviar.studies.results.importance import importances


def truth(table: Table) -> dict[str, float]:
    """Return each hyperparameter's share of the variance of the ranks."""
    ranks = rankdata(table.means).reshape(table.sizes)
    names = sorted(table.study(100, 0).scales())
    shares = {}
    for axis, name in enumerate(names):
        others = tuple(a for a in range(ranks.ndim) if a != axis)
        shares[name] = float(np.var(ranks.mean(axis=others)) / np.var(ranks))
    return shares


def _run(given: tuple[str, int, int]) -> dict[str, Any]:
    name, seed, trials = given
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    table, rng = load(name), np.random.default_rng(seed)
    definition = table.study(trials, seed)
    study = begin("tiered", definition)
    for _ in range(trials):
        trial = study.ask(definition.distributions())
        row = table.place(definition.trained(trial.params))
        study.tell(trial, float(rng.choice(table.losses[row])))
    true = truth(table)
    found = importances(definition, study.trials)
    assert found is not None
    ours = {one.name: one.share for one in found.hyperparameters}
    theirs = get_param_importances(study, evaluator=PedAnovaImportanceEvaluator())
    best = {tier: max(true[n] for n, t, _ in definition.hyperparameters() if t == tier) for tier in (1, 2, 3)}
    said = [(order.verdict, best[order.tier] > best[order.after]) for order in found.orders]
    return {
        "table": name,
        "shares": ours,
        "covered": [one.low <= true[one.name] <= one.high for one in found.hyperparameters],
        "orders": [{"verdict": verdict, "true": held} for verdict, held in said],
        **{
            method: {"correlation": float(spearmanr([of[n] for n in true], list(true.values())).statistic),
                     "first": max(of, key=of.__getitem__) == max(true, key=true.__getitem__)}
            for method, of in {"caviar": ours, "ped-anova": {n: theirs.get(n, 0.0) for n in true}}.items()
        },
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--trials", type=int, default=50)
    parser.add_argument("--short", action="store_true", help="3 seeds")
    options = parser.parse_args()
    seeds = 3 if options.short else options.seeds
    with Pool(2) as pool:
        runs = pool.map(_run, [(t, s, options.trials) for t in DEVELOPMENT for s in range(seeds)], chunksize=1)
    print("share of each hyperparameter: the truth, and the mean of what is said")
    truths = {name: dict(sorted(truth(load(name)).items(), key=lambda kv: -kv[1])) for name in DEVELOPMENT}
    told = {
        name: {n: float(np.mean([run["shares"][n] for run in runs if run["table"] == name])) for n in shares}
        for name, shares in truths.items()
    }
    for name, shares in truths.items():
        print(
            f"{name:<20}" + ", ".join(f"{n} {share:.0%} {told[name][n]:.0%}" for n, share in list(shares.items())[:5])
        )
    rows = []
    for method in ("caviar", "ped-anova"):
        correlations = [run[method]["correlation"] for run in runs]
        first = float(np.mean([run[method]["first"] for run in runs]))
        print(f"{method:<12} rank correlation {np.mean(correlations):.2f} ± {np.std(correlations, ddof=1):.2f}, "
              f"most important one found in {first:.0%}")  # fmt: skip
        rows.append({"method": method, "correlation": float(np.mean(correlations)), "first": first})
    covered = float(np.mean([c for run in runs for c in run["covered"]]))
    orders = [order for run in runs for order in run["orders"]]
    said = [order for order in orders if order["verdict"] != "open"]
    right = float(np.mean([(o["verdict"] == "held") == o["true"] for o in said])) if said else float("nan")
    print(f"the interval holds the truth in {covered:.0%}; of {len(orders)} orders of tiers {len(said)} are told, "
          f"{right:.0%} of them rightly")  # fmt: skip
    write("importance", options, n=len(runs), truth=truths, said=told, rows=rows, covered=covered, told=len(said),
          right=right)  # fmt: skip


if __name__ == "__main__":
    main()
