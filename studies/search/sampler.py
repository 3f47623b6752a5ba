"""The tiered search as an ordinary Optuna sampler, for any Optuna program.

Distributions stay the full range for the whole life of a study: tiers and zoom live in studies/search/tiers.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from secrets import randbelow
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, TPESampler
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial

from caviar.limits import SEED, TRIALS
from caviar.models.seeding import derive
from caviar.storage.records import Slot
from caviar.studies.search.optuna_space import chosen_together, middle, search_space
from caviar.studies.search.plan import PLANNED, plan
from caviar.studies.search.tiers import Tiers
from caviar.studies.space.base import BaseScale
from caviar.studies.space.search_space import SearchSpace

_BUDGET = 100


class TieredSampler(BaseSampler):
    """Chooses values tier by tier, coarse; then of all tiers together under a model.

    Without a definition the first trial has the middle of every range on its own scale; then the parameters that all
    complete trials had in common are searched by tiers. Those that only some of them have are chosen by Optuna's
    `TPESampler`, and so are then, in every second trial, the choices that decide which there are.
    Values in the trial's system attribute `fixed_params`, as Optuna's `enqueue_trial` sets it, are kept, and the others
    are chosen to go with them. A trial that violates constraints counts as the worst of all others or worse, the
    worse the more it violates them. The sampler is not for studies of several objectives.

    Example:
        >>> sampler = TieredSampler(tiers=[["lr"], ["momentum", "units"], ["layers"]], budget=50, seed=0)
        >>> optuna.create_study(sampler=sampler).optimize(objective)  # doctest: +SKIP

        With the definition of a study, the objective suggests its stored names and distributions:

        >>> optuna.create_study(sampler=TieredSampler(study), direction="maximize")  # doctest: +SKIP

    Args:
        study: a definition; its direction must be that of the Optuna study, and its strategy `tiered` or `classic`.
        tiers: without a definition: names of parameters by priority, in up to four tiers; those that no tier names
            come last.
        budget: without a definition: number of trials that are planned.
        seed: without a definition: seed of the search, 0 or more; None for another one each time. Processes of one
            study that are to divide the ranges of the first trials among them need the same seed.

    Raises:
        ValueError: another strategy, more than four tiers, a name in two, a budget or seed beyond its limit; or,
            when it chooses, another direction, several objectives, or a fixed value outside the scale of a definition.
    """

    def __init__(
        self,
        study: SearchSpace | None = None,
        *,
        tiers: Sequence[Sequence[str]] = (),
        budget: int = _BUDGET,
        seed: int | None = None,
    ) -> None:
        if study is not None and study.strategy not in ("tiered", "classic"):
            raise ValueError(f"the strategy must be tiered or classic; given {study.strategy}")
        if len(tiers) > 4 or not 1 <= budget <= TRIALS:
            raise ValueError(f"at most four tiers, and a budget of 1 to {TRIALS:,}; given {len(tiers)} and {budget}")
        named = [name for tier in tiers for name in tier]
        if any(isinstance(tier, str) for tier in tiers) or len(set(named)) < len(named):
            raise ValueError(f"each tier is a list of names, none of them in two; given {list(tiers)!r}")
        if seed is not None and not 0 <= seed <= SEED:
            raise ValueError(f"a seed is 0 to {SEED:,}; given {seed}")
        self._definition = study
        self._given = tiers, budget
        self._seed = study.seed if study else randbelow(2**32) if seed is None else int(seed)
        # What is searched, and its search: one value, so that threads see both or neither.
        self._search: tuple[object, _Search] | None = (None, _Search(study)) if study else None

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        self._raise_error_if_multi_objective(study)
        if self._definition is not None:
            return self._definition.distributions()
        return chosen_together(study.get_trials(deepcopy=False), trial.number)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        self._raise_error_if_multi_objective(study)
        if not search_space:
            return {}
        search = self._search_of(study, search_space)
        fixed = {}
        for name, value in trial.system_attrs.get("fixed_params", {}).items():
            if name in search_space:
                kind = search_space[name]
                if kind._contains(kind.to_internal_repr(value)):
                    fixed[name] = value
                elif self._definition is not None:  # else Optuna warns of it, and keeps it
                    raise ValueError(f"{name} = {value!r} is outside its scale: {search.scale(name)}")
        slot = self._slot_of(search.space, trial.number) or search.slot(trial.number)
        proposal = search.tiers.propose(study, slot, fixed, trial._trial_id)
        if proposal.zoom and self._definition is not None:
            study._storage.set_trial_user_attr(trial._trial_id, "zoom", dict(proposal.zoom))
        return {name: value for name, value in proposal.stored.items() if name in search_space}

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """Choose a parameter that only some trials have, by those that have it; the first trial has its middle."""
        self._raise_error_if_multi_objective(study)
        if trial.number == 0 and self._definition is None:
            return middle(param_distribution)
        seed = derive(self._seed, "independent", trial.number, param_name) % 2**32
        return TPESampler(seed=seed).sample_independent(study, trial, param_name, param_distribution)

    def _search_of(self, study: optuna.Study, space: dict[str, BaseDistribution]) -> _Search:
        """Return the search of these parameters."""
        if self._definition is not None and study.direction.name != self._definition.direction.upper():
            raise ValueError(f"the study's definition is to {self._definition.direction}; say so to Optuna too")
        search, of = self._search, None if self._definition else (space, study.direction)
        if search is None or search[0] != of:
            search = of, _Search(self._space_of(space, study.direction))
            self._search = search
        return search[1]

    def _space_of(self, kinds: Mapping[str, BaseDistribution], direction: StudyDirection) -> SearchSpace:
        """Return the search space of the distributions that trials have in common."""
        return search_space(kinds, *self._given, self._seed, direction)

    def _slot_of(self, space: SearchSpace, number: int) -> Slot | None:  # noqa: ARG002
        """Return the slot of a trial, where it is not planned by the space alone."""
        return None


class _Search:
    """A search space with its plan."""

    def __init__(self, space: SearchSpace) -> None:
        # A plan is the beginning of a larger one: beyond a small budget the search goes on as it would have.
        larger = space.model_copy(update={"budget": max(space.budget, PLANNED)})
        self.space, self.tiers = space, Tiers(space)
        self._slots = plan(larger if space.strategy == "tiered" else space)

    def slot(self, number: int) -> Slot:
        """Return the slot of a trial; beyond the budget the last phase goes on."""
        return replace(self._slots[min(number, len(self._slots) - 1)], number=number)

    def scale(self, stored: str) -> BaseScale:
        """Return the scale of a stored name."""
        return next(self.space.scales()[name] for name, own in self.space.stored_names().items() if own == stored)
