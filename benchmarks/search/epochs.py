"""One search of learning curves with a pruner: one trial after the other, or some beside one another, as a cohort."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import optuna
from curves import Curves
from methods import begin
from optuna.distributions import IntDistribution
from optuna.pruners import BasePruner, HyperbandPruner, NopPruner, SuccessiveHalvingPruner
from optuna.trial import FrozenTrial, TrialState

from caviar.studies.search.pace import EPOCHS
from caviar.studies.search.pruners import make_pruner
from caviar.studies.search.surrogate import one_thread

OPTUNAS: dict[str, Callable[[int], BasePruner]] = {
    "halving": lambda epochs: SuccessiveHalvingPruner(),  # noqa: ARG005
    "hyperband": lambda epochs: HyperbandPruner(max_resource=epochs),
}


@dataclass
class Training:
    """A trial of a search.

    Attributes:
        row: of the curve that it has.
        seen: the accuracies that are known so far.
        pruned: whether it was stopped early.
    """

    trial: optuna.Trial
    row: int
    seen: list[float] = field(default_factory=list)
    pruned: bool = False


def known_after(
    curves: Curves, method: str, pruner: str, seed: int, checks: Sequence[int], beside: int = 1
) -> list[tuple[int, int]]:
    """Search for as many epochs as the last of `checks`.

    Returns:
        At each of `checks`: the row that is the best known then, by the last value of every trial, pruned and
        unfinished ones too; and how many trials had begun.
    """
    epochs, rng = curves.accuracy.shape[1], np.random.default_rng([seed, 4])
    definition = curves.study(max(16, checks[-1] // epochs), seed, "none")
    study = begin(method, definition, _optunas(pruner, epochs))

    def choose() -> Training:
        trial = study.ask(definition.distributions())
        return Training(trial, curves.row(definition.trained(trial.params), rng))

    found = []
    for spent, every in enumerate(_search(curves, study, choose, pruner, None, beside), start=1):
        if spent in checks:
            best = max((one for one in every if one.seen), key=lambda one: one.seen[-1])
            found.append((best.row, len(every)))
        if spent == checks[-1]:
            break
    return found


def drawn(curves: Curves, pruner: str, seed: int, trials: int, beside: int = 1) -> tuple[int, list[Training]]:
    """Train so many configurations, drawn at random; return how many epochs that took, and the trials.

    Each has the length of its schedule as a hyperparameter, if they differ.
    """
    epochs = curves.accuracy.shape[1]
    rows = iter(np.random.default_rng([seed, 5]).permutation(len(curves.lengths)).tolist())
    study = optuna.create_study(direction="maximize", pruner=_optunas(pruner, epochs))
    kinds = {EPOCHS: IntDistribution(1, epochs)} if len(set(curves.lengths)) > 1 else {}

    def choose() -> Training:
        row = next(rows)
        study.enqueue_trial({name: int(curves.lengths[row]) for name in kinds})
        return Training(study.ask(kinds), row)

    after_each = list(_search(curves, study, choose, pruner, trials, beside))
    return len(after_each), after_each[-1]


def _optunas(pruner: str, epochs: int) -> BasePruner:
    return OPTUNAS[pruner](epochs) if pruner in OPTUNAS else NopPruner()


def _search(
    curves: Curves, study: optuna.Study, choose: Callable[[], Training], pruner: str, trials: int | None, beside: int
) -> Iterator[list[Training]]:
    """Search for so many trials, or without end; yield all trials after each epoch."""
    lowest = float(np.nanmin(curves.accuracy))
    running, every = list[Training](), list[Training]()
    with one_thread():
        while running or trials is None or len(every) < trials:
            while len(running) < beside and (trials is None or len(every) < trials):
                running.append(choose())
                every.append(running[-1])
            for one in running:
                value = float(curves.accuracy[one.row, len(one.seen)])
                one.seen.append(lowest if np.isnan(value) else value)
                one.trial.report(one.seen[-1], len(one.seen))
                if np.isnan(value):
                    one.trial.set_constraint("diverged", 1.0)
                yield every
            going = [one for one in running if not _is_over(curves, one)]
            bad = _bad(study, [one.trial for one in going], pruner, curves.accuracy.shape[1])
            for one in running:
                one.pruned = one.trial.number in bad
                if one.pruned:
                    study.tell(one.trial, state=TrialState.PRUNED)
                elif one not in going:
                    study.tell(one.trial, one.seen[-1])
            running = [one for one in going if not one.pruned]


def _is_over(curves: Curves, one: Training) -> bool:
    return len(one.seen) == curves.lengths[one.row] or bool(np.isnan(curves.accuracy[one.row, len(one.seen) - 1]))


def _bad(study: optuna.Study, trials: Sequence[optuna.Trial], pruner: str, epochs: int) -> set[int]:
    """Return the numbers of the running trials that the pruner would stop."""
    if pruner in OPTUNAS:
        return {trial.number for trial in trials if trial.should_prune()}
    judge, past = make_pruner(pruner, epochs), _Past(study)
    frozen: list[FrozenTrial] = [study._storage.get_trial(trial._trial_id) for trial in trials]
    return {
        one.number for one in frozen if judge.reason_to_stop(past, one, [other for other in frozen if other is not one])
    }


@dataclass(frozen=True)
class _Past:
    """All trials of a study in memory, from which a pruner takes what it compares with."""

    study: optuna.Study

    def complete(self, others: int) -> optuna.Study:  # noqa: ARG002
        return self.study

    ended = complete
