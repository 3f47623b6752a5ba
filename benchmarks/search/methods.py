"""The searches that are compared, by name: each an Optuna sampler for one run on a study of a table."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, CmaEsSampler, GPSampler, QMCSampler, RandomSampler, TPESampler
from optuna.trial import FrozenTrial

from studies.definition import Study, change
from studies.plan import Slot
from studies.sampler import TieredSampler
from studies.strategies import Proposer


class Grid(BaseSampler):
    """Caviar's strategy `grid`: three points of each axis, in a random order."""

    def __init__(self, study: Study) -> None:
        self._proposer = Proposer(study)
        self._distributions = study.distributions()

    def infer_relative_search_space(self, *_: Any) -> dict[str, BaseDistribution]:
        return self._distributions

    def sample_relative(self, study: optuna.Study, trial: FrozenTrial, *_: Any) -> dict[str, Any]:
        return self._proposer.propose(Slot(trial.number, 1, "grid", ()), study, trial)

    def sample_independent(self, *_: Any) -> Any:
        raise AssertionError("all hyperparameters are chosen together")


# A method whose name ends with +default has the default configuration enqueued as its first trial, as `tiered` has it:
# the fair opponent.
METHODS: dict[str, Callable[[Study], BaseSampler]] = {
    "random": lambda study: RandomSampler(study.seed),
    "grid": lambda study: Grid(change(study, strategy="grid")),
    "sobol": lambda study: QMCSampler(seed=study.seed, scramble=True, warn_independent_sampling=False),
    "cmaes": lambda study: CmaEsSampler(seed=study.seed, warn_independent_sampling=False),
    "tpe": lambda study: TPESampler(seed=study.seed),
    "gp": lambda study: GPSampler(seed=study.seed, warn_independent_sampling=False),
    "classic": lambda study: TieredSampler(change(study, strategy="classic")),
    "tiered": TieredSampler,
}
PLANNED = ("classic", "tiered")  # whose schedule depends on the budget, so that each is a run of its own


def begin(method: str, study: Study, pruner: optuna.pruners.BasePruner | None = None) -> optuna.Study:
    """Return an Optuna study in memory that a method searches."""
    name, _, default = method.partition("+")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        sampler = METHODS[name](study)
    search = optuna.create_study(
        sampler=sampler, direction=study.direction, pruner=pruner or optuna.pruners.NopPruner()
    )
    if default:
        search.enqueue_trial(
            {scale.stored_name(n): scale.to_stored(scale.default) for n, scale in study.scales().items()}
        )
    return search
