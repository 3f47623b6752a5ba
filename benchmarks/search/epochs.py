"""One search of a table of curves with a pruner: one trial after the other, or some beside one another, as a cohort."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import optuna
from curves import EPOCHS, Curves
from methods import begin
from optuna.pruners import BasePruner, HyperbandPruner, NopPruner, SuccessiveHalvingPruner
from optuna.trial import FrozenTrial, TrialState

from caviar.studies.search.pruners import make_pruner
from caviar.studies.search.surrogate import one_thread

OPTUNAS: dict[str, Callable[[], BasePruner]] = {
    "halving": SuccessiveHalvingPruner,
    "hyperband": lambda: HyperbandPruner(max_resource=EPOCHS),
}
OWN = ("none", "median", "pace")


@dataclass
class _Running:
    trial: optuna.Trial
    row: int
    seen: list[float] = field(default_factory=list)


def search(
    curves: Curves, method: str, pruner: str, seed: int, checks: Sequence[int], beside: int = 1
) -> list[tuple[int, int]]:
    """Search a table for as many epochs as the last of `checks`.

    Returns:
        At each of `checks`: the row that is the best known then, by the last value of every trial, pruned and
        unfinished ones too; and how many trials had begun.
    """
    definition = curves.study(max(16, checks[-1] // EPOCHS), seed, pruner if pruner in OWN else "none")
    study = begin(method, definition, OPTUNAS[pruner]() if pruner in OPTUNAS else NopPruner())
    spent, found = 0, list[tuple[int, int]]()
    running: list[_Running] = []
    every: list[_Running] = []
    with one_thread():
        while spent < checks[-1]:
            while len(running) < beside:
                trial = study.ask(definition.distributions())
                running.append(_Running(trial, curves.place(definition.trained(trial.params))))
                every.append(running[-1])
            for one in running:
                one.seen.append(float(curves.accuracy[one.row, len(one.seen)]))
                one.trial.report(one.seen[-1], len(one.seen))
                spent += 1
                if spent in checks:
                    best = max((other for other in every if other.seen), key=lambda other: other.seen[-1])
                    found.append((best.row, len(every)))
            bad = _bad(study, [one.trial for one in running], pruner)
            for one in running:
                if len(one.seen) == EPOCHS:
                    study.tell(one.trial, one.seen[-1])
                elif one.trial.number in bad:
                    study.tell(one.trial, state=TrialState.PRUNED)
            running = [one for one in running if len(one.seen) < EPOCHS and one.trial.number not in bad]
    return found


def _bad(study: optuna.Study, trials: Sequence[optuna.Trial], pruner: str) -> set[int]:
    """Return the numbers of the running trials that the pruner would stop."""
    if pruner in OPTUNAS:
        return {trial.number for trial in trials if trial.should_prune()}
    judge = make_pruner(pruner)
    frozen: list[FrozenTrial] = [study._storage.get_trial(trial._trial_id) for trial in trials]
    return {
        one.number
        for one in frozen
        if judge.reason_to_stop(lambda _: study, one, [other for other in frozen if other is not one])
    }
