"""The TieredSampler: the search of this package as an ordinary sampler, for ordinary Optuna programs too.

    sampler = TieredSampler(tiers=[["lr"], ["momentum", "units"], ["layers"]], budget=50, seed=0)
    optuna.create_study(sampler=sampler).optimize(objective)

or, for a study's definition, whose stored names and distributions the objective suggests:

    optuna.create_study(sampler=TieredSampler(study_definition), direction="maximize")

Distributions stay the full range for the whole life of a study: tiers and zoom live in studies/search/tiers.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from secrets import randbelow
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.search_space import IntersectionSearchSpace
from optuna.trial import FrozenTrial

from caviar.models.seeding import derive
from caviar.studies.definition import Study
from caviar.studies.search.optuna_space import middle, search_of
from caviar.studies.search.tiers import Tiers

_BUDGET = 100


class TieredSampler(BaseSampler):
    """Chooses values tier by tier, coarse to fine, then all together under a model.

    Without a definition the first trial has the middle of every range on its own scale; then whatever all finished
    trials had in common is searched by tiers, and a parameter that only some of them have, at random.
    Values that the trial's system attribute `fixed_params` holds, as after Optuna's `enqueue_trial`, are kept, and the
    others are chosen to go with them: trials of one shape can then be trained as one cohort. A trial that violates a
    constraint counts as the worst. It is not for studies of several objectives.

    Args:
        study: the definition; its direction must be the Optuna study's. Its strategy is `tiered` or `classic`.
        tiers: without a definition: parameters by priority, in up to four tiers; those that no tier names come last.
        budget: without a definition: trials that are planned; up to 15 are spread without a model.
        seed: without a definition: of the search; None for another one each time. Processes of one study that are to
            divide the first trials' ranges among them need the same.

    Raises:
        ValueError: another strategy, more than four tiers, a name in two, a budget or a seed that is too small; or,
            when it chooses, another direction, several objectives, or a held value outside a definition's scale.
    """

    def __init__(
        self,
        study: Study | None = None,
        *,
        tiers: Sequence[Sequence[str]] = (),
        budget: int = _BUDGET,
        seed: int | None = None,
    ) -> None:
        if study is not None and study.strategy not in ("tiered", "classic"):
            raise ValueError(f"the strategy must be tiered or classic; study '{study.name}' has {study.strategy}")
        if len(tiers) > 4 or budget < 1:
            raise ValueError(f"at most four tiers, and a budget of 1 or more; given {len(tiers)} and {budget}")
        named = [name for tier in tiers for name in tier]
        if any(isinstance(tier, str) for tier in tiers) or len(set(named)) < len(named):
            raise ValueError(f"each tier is a list of names, none of them in two; given {list(tiers)!r}")
        if seed is not None and seed < 0:
            raise ValueError(f"a seed is 0 or more; given {seed}")
        self._definition = study
        self._given = tiers, budget
        self._seed = study.seed if study else randbelow(2**32) if seed is None else int(seed)
        # What is searched, and its search: one value, so that threads see both or neither.
        self._searched: tuple[object, Tiers] | None = (None, Tiers(study)) if study else None

    def infer_relative_search_space(
        self,
        study: optuna.Study,
        trial: FrozenTrial,  # noqa: ARG002
    ) -> dict[str, BaseDistribution]:
        self._raise_error_if_multi_objective(study)
        if self._definition is not None:
            return self._definition.distributions()
        common = IntersectionSearchSpace(include_pruned=True).calculate(study)
        return {name: kind for name, kind in common.items() if not kind.single()}

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        self._raise_error_if_multi_objective(study)
        if not search_space:
            return {}
        chosen = self._searching(study, search_space).choose(study, trial)
        return {name: value for name, value in chosen.items() if name in search_space}

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """Choose a parameter that is not searched by tiers, or not yet: at random, but for the first trial."""
        self._raise_error_if_multi_objective(study)
        if trial.number == 0 and self._definition is None:
            return middle(param_distribution)
        seed = derive(self._seed, "independent", trial.number, param_name) % 2**32
        return RandomSampler(seed).sample_independent(study, trial, param_name, param_distribution)

    def _searching(self, study: optuna.Study, space: dict[str, BaseDistribution]) -> Tiers:
        """Return the search of these parameters."""
        if self._definition is not None and study.direction.name != self._definition.direction.upper():
            raise ValueError(
                f"study '{self._definition.name}' is to {self._definition.direction}; say so to Optuna too"
            )
        searched, of = self._searched, None if self._definition else (space, study.direction)
        if searched is None or searched[0] != of:
            searched = of, Tiers(search_of(space, *self._given, self._seed, study.direction))
            self._searched = searched
        return searched[1]
