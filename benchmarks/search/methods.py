"""The searches that are compared, by name: each an Optuna sampler for one run on a study of a table."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler, CmaEsSampler, GPSampler, QMCSampler, RandomSampler, TPESampler
from optuna.trial import FrozenTrial, TrialState

from caviar.storage.records import Slot
from caviar.storage.states import Phase
from caviar.studies.definition import Study, change
from caviar.studies.search.sampler import TieredSampler
from caviar.studies.search.strategies import Proposer


class Grid(BaseSampler):
    """Caviar's strategy `grid`: three points of each axis, in a random order."""

    def __init__(self, study: Study) -> None:
        self._proposer = Proposer(study)
        self._distributions = study.distributions()

    def infer_relative_search_space(self, *_: Any) -> dict[str, BaseDistribution]:
        return self._distributions

    def sample_relative(self, study: optuna.Study, trial: FrozenTrial, *_: Any) -> dict[str, Any]:
        return dict(self._proposer.propose(study, Slot(trial.number, 1, Phase.GRID, ())).stored)

    def sample_independent(self, *_: Any) -> Any:
        raise AssertionError("all hyperparameters are chosen together")


def _nothing(config: Any, seed: int = 0) -> float:  # noqa: ARG001
    """Stand for the training, which SMAC3 does not call where it is asked and told."""
    raise AssertionError


class Smac(BaseSampler):
    """SMAC3's facade for hyperparameters, random forests, which is told of the default configuration first."""

    def __init__(self, study: Study) -> None:
        from ConfigSpace import Categorical, ConfigurationSpace, Float, Integer
        from smac import HyperparameterOptimizationFacade as Facade
        from smac import Scenario

        self._distributions = study.distributions()
        space, default = ConfigurationSpace(seed=study.seed), {}
        for name, scale in study.scales().items():
            kind, stored = scale.distribution(), scale.stored_name(name)
            default[stored] = scale.to_stored(scale.default)
            if isinstance(kind, CategoricalDistribution):
                space.add(Categorical(stored, list(kind.choices), default=default[stored]))
            else:
                assert isinstance(kind, FloatDistribution | IntDistribution)
                of = Integer if isinstance(kind, IntDistribution) else Float
                space.add(of(stored, (kind.low, kind.high), default=default[stored], log=kind.log))
        self._folder = TemporaryDirectory()
        scenario = Scenario(
            space, deterministic=True, n_trials=study.budget, seed=study.seed, output_directory=Path(self._folder.name)
        )
        self._smac = Facade(scenario, _nothing, logging_level=False)
        self._default = space.get_default_configuration()
        self._asked: dict[int, Any] = {}

    def infer_relative_search_space(self, *_: Any) -> dict[str, BaseDistribution]:
        return self._distributions

    def sample_relative(self, study: optuna.Study, trial: FrozenTrial, *_: Any) -> dict[str, Any]:  # noqa: ARG002
        from smac.runhistory.dataclasses import TrialInfo

        warnings.filterwarnings("ignore", "Loky-backed parallel loops")
        self._asked[trial.number] = TrialInfo(self._default, seed=0) if trial.number == 0 else self._smac.ask()
        chosen = dict(self._asked[trial.number].config)
        return {name: kind.to_external_repr(kind.to_internal_repr(chosen[name]))
                for name, kind in self._distributions.items()}  # fmt: skip

    def sample_independent(self, *_: Any) -> Any:
        raise AssertionError("all hyperparameters are chosen together")

    def after_trial(
        self,
        study: optuna.Study,  # noqa: ARG002
        trial: FrozenTrial,
        state: TrialState,  # noqa: ARG002
        values: Sequence[float] | None,
    ) -> None:
        from smac.runhistory.dataclasses import TrialValue

        assert values is not None
        self._smac.tell(self._asked.pop(trial.number), TrialValue(cost=values[0]))


# A method whose name ends with +default has the default configuration enqueued as its first trial, as `tiered` has it:
# the fair opponent.
METHODS: dict[str, Callable[[Study], BaseSampler]] = {
    "random": lambda study: RandomSampler(study.seed),
    "grid": lambda study: Grid(change(study, strategy="grid")),
    "sobol": lambda study: QMCSampler(seed=study.seed, scramble=True, warn_independent_sampling=False),
    "cmaes": lambda study: CmaEsSampler(seed=study.seed, warn_independent_sampling=False),
    "tpe": lambda study: TPESampler(seed=study.seed),
    "gp": lambda study: GPSampler(seed=study.seed, warn_independent_sampling=False),
    "smac": Smac,
    "classic": lambda study: TieredSampler(change(study, strategy="classic")),
    "tiered": TieredSampler,
}
PLANNED = ("classic",)  # whose plan depends on the budget, so that each is a run of its own


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
