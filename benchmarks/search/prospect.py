"""What is said of more trials, beside what they bring: on tables of trained networks, and on learning curves.

    python benchmarks/search/prospect.py [--seeds 20] [--curves FOLDER] [--short]

For searches by `tiered`, after 20, 30 to 100 trials: what 40 more are expected to bring, what they do bring to the true
loss of the winner that `caviar best` names, and how often that is in the stated interval. Then for budgets of 100 and
140 trials: what `--until "gain < noise"` saves of them, and by how much its winner is worse than that of the whole
budget. Gains and losses are shares of the distance from the best configuration to a median one, and in brackets in the
metric's own unit. The curves are left out without `--curves`. Writes benchmarks/results/prospect.json.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from multiprocessing import Pool
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import numpy as np
import optuna
from machine import write
from methods import begin
from small_problems import Problem, of_curves, of_table
from tables import DEVELOPMENT, UNSEEN

from caviar.studies.search.expectation import winner_of
from caviar.studies.search.prospect import MORE, prospect_of
from caviar.studies.search.surrogate import one_thread

BUDGETS = (100, 140)
FIRST, STEP = 20, 10
OFFSETS = (0.0, 1.5)  # decades between the default of the learning rate of the curves and the best one


@dataclass(frozen=True)
class Search:
    """One search; each list has an entry for each number of trials, 20, 30 and so on.

    Attributes:
        regrets: of the winner.
        expected, lows, highs: of the gain of 40 more trials, in the same unit.
        ends: whether `gain < noise` ends the search there.
        unit: one of regret in the metric's own unit.
    """

    regrets: list[float]
    expected: list[float]
    lows: list[float]
    highs: list[float]
    ends: list[bool]
    unit: float


def look(given: tuple[Callable[[int], Problem], int]) -> Search:
    """Search a problem, and look back at it."""
    make, seed = given
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    problem = make(seed)
    definition = problem.study(max(BUDGETS))
    study, rng = begin("tiered", definition), np.random.default_rng([seed, 3])
    trained = []
    found = Search([], [], [], [], [], problem.unit)
    with one_thread():
        for count in range(1, definition.budget + 1):
            trial = study.ask(definition.distributions())
            trained.append(definition.trained(trial.params))
            study.tell(trial, problem.train(trained[-1], rng))
            if count < FIRST or count % STEP:
                continue
            trials = study.get_trials(deepcopy=False)
            winner, prospect = winner_of(definition, trials), prospect_of(definition, trials)
            assert winner is not None
            found.regrets.append(problem.regret(trained[winner.trial]))
            gain = (0.0, 0.0, 0.0) if prospect is None else (prospect.gain, prospect.low, prospect.high)
            for each, value in zip((found.expected, found.lows, found.highs), gain, strict=True):
                each.append(value / problem.unit)
            found.ends.append(prospect is not None and prospect.is_noise)
    return found


def coverage(searches: list[Search]) -> tuple[float, float, float, float]:
    """Return the share of intervals that hold, the mean of what is expected, of what comes, and of half an interval."""
    ahead = MORE // STEP
    rows = np.array([
        (s.expected[i], s.regrets[i] - s.regrets[i + ahead], s.lows[i], s.highs[i])
        for s in searches for i in range(len(s.regrets) - ahead)
    ])  # fmt: skip
    expected, true, low, high = rows.T
    holds = (low - 1e-9 <= true) & (true <= high + 1e-9)
    return float(holds.mean()), float(expected.mean()), float(true.mean()), float((high - low).mean() / 2)


def until(searches: list[Search], budget: int) -> tuple[float, float, float]:
    """Return the share of a budget that is saved, and the mean loss of the winner, in both units."""
    last = (budget - FIRST) // STEP
    saved, lost, own = [], [], []
    for s in searches:
        end = next((i for i, ends in enumerate(s.ends[:last]) if ends), last)
        saved.append(1 - (FIRST + STEP * end) / budget)
        lost.append(s.regrets[end] - s.regrets[last])
        own.append(lost[-1] * s.unit)
    return float(np.mean(saved)), float(np.mean(lost)), float(np.mean(own))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--curves", type=Path, help="the folder that has the learning curves")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--short", action="store_true", help="3 seeds")
    options = parser.parse_args()
    seeds = 3 if options.short else options.seeds
    kinds = {name: [partial(of_table, name, "own")] for name in (*DEVELOPMENT, *UNSEEN)}
    if options.curves:
        for name in ("alexnet", "convnext-tiny"):
            kinds[name] = [partial(of_curves, options.curves, name, offset) for offset in OFFSETS]
    print(f"{'':<28}  interval  gain of 40 more         --until, of 100 trials     of 140\n"
          f"{'':<28}  holds     expected  true   ±     saves  loses             saves  loses")  # fmt: skip
    rows, groups = [], dict[str, list[Search]]()
    with Pool(options.processes) as pool:
        for name, makes in kinds.items():
            found = pool.map(look, [(make, seed) for make in makes for seed in range(seeds)], chunksize=1)
            group = "development" if name in DEVELOPMENT else "unseen" if name in UNSEEN else "curves"
            groups.setdefault(group, []).extend(found)
            rows.append(_row(name, found))
    rows += [_row(f"all: {group}", found) for group, found in groups.items()]
    write("prospect", options, n=seeds, rows=rows)


def _row(name: str, searches: list[Search]) -> dict[str, object]:
    holds, expected, true, half = coverage(searches)
    ends = [until(searches, budget) for budget in BUDGETS]
    told = "   ".join(f"{saved:>5.0%}  {lost:.4f} ({own:.4f})" for saved, lost, own in ends)
    print(f"{name:<28}  {holds:>5.0%}     {expected:>8.3f} {true:>6.3f}  {half:.3f}   {told}", flush=True)
    return {
        "name": name, "holds": holds, "expected": expected, "true": true, "half": half,
        "until": {str(budget): end for budget, end in zip(BUDGETS, ends, strict=True)},
    }  # fmt: skip


if __name__ == "__main__":
    main()
