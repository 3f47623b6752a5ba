"""The search where trials name their hyperparameters themselves: one of Optuna's samplers for the trial of one slot.

What a trial gets depends on the study's seed, its slot, the hyperparameter's name and the finished trials alone, so a
trial that begins again gets the same values.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any, Protocol

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial

from caviar.storage.records import Slot
from caviar.storage.states import Phase
from caviar.studies.search.optuna_samplers import OptunaSlots, seed_of
from caviar.studies.search.optuna_space import middle, search_space
from caviar.studies.search.other_programs import FIXED
from caviar.studies.search.sampler import TieredSampler
from caviar.studies.space.search_space import SearchSpace


class SlotSampler(BaseSampler):
    """Chooses the values of one slot's trial by the strategy of its study.

    The first trial has the middle of each range on its own scale. Hyperparameters that all finished trials have in
    common, with the same range, are chosen together; others, such as those that depend on earlier values, one by one.

    Args:
        space: the study, whose trials name their hyperparameters.
        slot: the slot.
        program: the trials so far, as Optuna reads them.
        asked: values that somebody asked this trial to have, by name, as by Optuna's `enqueue_trial`.
        samplers: makes the sampler, and may remember what it has read.
    """

    def __init__(
        self, space: SearchSpace, slot: Slot, program: optuna.Study, asked: Mapping[str, Any],
        samplers: Samplers | None = None,
    ) -> None:  # fmt: skip
        self._slot, self._seed = slot, space.seed
        samplers = samplers or samplers_of(space)
        self._make = partial(samplers.at, slot)
        self._program = samplers.shown(program)
        self._trial = create_trial(state=TrialState.RUNNING, system_attrs={FIXED: dict(asked)} if asked else None)
        self._trial.number = slot.number

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:  # noqa: ARG002
        if self._slot.phase == Phase.DEFAULT:
            return {}
        return self._make(self._seed_of()).infer_relative_search_space(self._program, self._trial)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]  # noqa: ARG002
    ) -> dict[str, Any]:  # fmt: skip
        if not search_space:
            return {}
        return self._make(self._seed_of()).sample_relative(self._program, self._trial, search_space)

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution  # noqa: ARG002
    ) -> Any:  # fmt: skip
        if self._slot.phase == Phase.DEFAULT:
            return middle(param_distribution)
        sampler = self._make(self._seed_of(param_name))
        return sampler.sample_independent(self._program, self._trial, param_name, param_distribution)

    def _seed_of(self, *name: str) -> int:
        return seed_of(self._seed, self._slot.number, *name)


class Samplers(Protocol):
    """Makes the samplers of a study's slots; it may remember what it has read."""

    def at(self, slot: Slot, seed: int) -> BaseSampler:
        """Return the sampler as it chooses for a slot."""

    def shown(self, program: optuna.Study) -> optuna.Study:
        """Return the study as the sampler may see it."""


def samplers_of(space: SearchSpace) -> Samplers:
    """Return what makes the samplers of a study's strategy."""
    return TieredSlots(space) if space.strategy in ("tiered", "classic") else OptunaSlots(space)


class TieredSlots(TieredSampler):
    """The tiered search of a study whose trials name their hyperparameters, by the tiers and phases of its slots."""

    def __init__(self, space: SearchSpace) -> None:
        super().__init__(tiers=[list(tier) for tier in space.tiers], budget=space.budget, seed=space.seed)
        self._space, self._slot = space, Slot(0, 1, Phase.DEFAULT, ())

    def at(self, slot: Slot, seed: int) -> TieredSlots:  # noqa: ARG002
        """Return the sampler as it chooses for a slot; its own seeds depend on the slot and the name already."""
        self._slot = slot
        return self

    def shown(self, program: optuna.Study) -> optuna.Study:
        """Return the study itself."""
        return program

    def _space_of(self, kinds: Mapping[str, BaseDistribution], direction: StudyDirection) -> SearchSpace:
        return search_space(kinds, *self._given, self._seed, direction, self._space.strategy)

    def _slot_of(self, space: SearchSpace, number: int) -> Slot:  # noqa: ARG002
        return fitted(self._slot, self._space, space)


def fitted(slot: Slot, planned: SearchSpace, found: SearchSpace) -> Slot:
    """Return a slot of the plan as one of the space that trials have named: with those of its hyperparameters that are
    there, or those of the next tier that has any."""
    tier_of = {name: planned.tier_of(name) for name in found.scales()}
    newest = max(slot.tier, min(tier_of.values()))
    free = tuple(name for name, tier in tier_of.items() if tier <= newest)
    tier = max(tier for name, tier, _ in found.hyperparameters() if name in free)
    return replace(slot, tier=tier, free=free)
