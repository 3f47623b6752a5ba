"""Strategies: how the values of a slot's trial are chosen. `tiered` is Caviar's own; others are there to compare with.

A new strategy is an entry of `STRATEGIES`, and a phase of its name in `storage/states.py`; any of Optuna's samplers is
one by its own name. Optuna is imported when a strategy is used, not before.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Mapping
from math import prod
from typing import TYPE_CHECKING, Any, Protocol

from caviar.limits import POINTS
from caviar.models.seeding import derive
from caviar.storage.records import Slot
from caviar.storage.states import Phase
from caviar.studies.errors import DefinitionError
from caviar.studies.search.optuna_classes import PREFIX, Kind, find_class
from caviar.studies.space.search_space import Proposal, SearchSpace
from caviar.suggestions import did_you_mean
from caviar.text import shown

if TYPE_CHECKING:
    import optuna

_GRID_POINTS = 3  # of each hyperparameter with a range; a short list is taken whole


class Strategy(Protocol):
    """Chooses the values of one slot after the other; it may remember what it has read of finished trials."""

    def propose(self, program: optuna.Study, slot: Slot, fixed: Mapping[str, Any]) -> Proposal:
        """Return the hyperparameters of a slot's trial.

        Args:
            program: the trials so far, as Optuna reads them.
            slot: the slot, whose trial has not begun.
            fixed: by stored name, forms that the proposal must have, if the strategy is one that can choose the
                others to go with them.
        """


class Proposer:
    """Chooses values for the slots of one study, by its strategy."""

    def __init__(self, space: SearchSpace) -> None:
        self._space = space
        self._strategy = None if space.by_trials else STRATEGIES.get(space.strategy, _OptunaSampler)(space)

    def propose(self, program: optuna.Study, slot: Slot, fixed: Mapping[str, Any] | None = None) -> Proposal:
        """Return the hyperparameters of a slot's trial, which begins with the defaults or with what won before if the
        slot's phase says so; as `Strategy.propose` otherwise. None are proposed where trials name them themselves."""
        if self._strategy is None:
            return Proposal({}, {}, {})
        if slot.phase == Phase.DEFAULT:
            return self._space.proposal({name: scale.default for name, scale in self._space.scales().items()})
        if slot.phase == Phase.PRIOR:
            return self._space.proposal(self._space.prior[0].values)
        return self._strategy.propose(program, slot, fixed or {})


def _tiers(space: SearchSpace) -> Strategy:
    from caviar.studies.search.tiers import Tiers

    return Tiers(space)


class _Grid:
    """The full grid, visited in a random order that the seed of the study fixes."""

    def __init__(self, space: SearchSpace) -> None:
        self._space = space
        self._points = list(itertools.product(*(scale.grid(_GRID_POINTS) for scale in space.scales().values())))
        random.Random(derive(space.seed, "grid")).shuffle(self._points)

    def propose(self, program: optuna.Study, slot: Slot, fixed: Mapping[str, Any]) -> Proposal:  # noqa: ARG002
        point = self._points[(slot.number - 1) % len(self._points)]
        return self._space.proposal(dict(zip(self._space.scales(), point, strict=True)))


class _OptunaSampler:
    """One of Optuna's samplers: a slot gets the same values whichever worker asks, and no two slots the same."""

    def __init__(self, space: SearchSpace) -> None:
        from caviar.studies.search.optuna_samplers import OptunaSlots

        self._space, self._slots = space, OptunaSlots(space)

    def propose(self, program: optuna.Study, slot: Slot, fixed: Mapping[str, Any]) -> Proposal:  # noqa: ARG002
        from optuna.trial import TrialState, create_trial

        from caviar.studies.search.optuna_samplers import seed_of

        sampler, program = self._slots.at(slot, seed_of(self._space.seed, slot.number)), self._slots.shown(program)
        trial = create_trial(state=TrialState.RUNNING)
        trial.number = slot.number
        chosen = sampler.sample_relative(program, trial, sampler.infer_relative_search_space(program, trial))
        for name, kind in self._space.distributions().items():
            if name not in chosen:
                chosen[name] = sampler.sample_independent(program, trial, name, kind)
        # As it will be trained: a decay anywhere below its lowest is 0, and stored as such.
        return self._space.proposal(self._space.trained(chosen))


STRATEGIES: dict[str, Callable[[SearchSpace], Strategy]] = {
    "tiered": _tiers,
    "classic": _tiers,
    "random": _OptunaSampler,
    "grid": _Grid,
    "tpe": _OptunaSampler,
    "gp": _OptunaSampler,
}


def check_grid(space: SearchSpace) -> None:
    """Check that the grid of a space with the strategy `grid` is small enough to be laid out."""
    points = prod(len(scale.grid(_GRID_POINTS)) for scale in space.scales().values())
    if space.strategy == "grid" and points > POINTS:
        raise DefinitionError(f"its grid has {points:,} points, more than {POINTS:,}; take another strategy")


def check_strategy(name: str) -> None:
    """Check that there is a strategy of that name: one of `STRATEGIES`, or of Optuna's samplers, such as
    `optuna:CmaEsSampler`; the DefinitionError suggests the nearest names."""
    if name.startswith(PREFIX):
        find_class(name, Kind.SAMPLER)
    elif name not in STRATEGIES:
        raise DefinitionError(
            f"no strategy '{shown(name)}'; {did_you_mean(name, STRATEGIES)}there are: {', '.join(STRATEGIES)}, and "
            f"Optuna's samplers, such as {PREFIX}CmaEsSampler"
        )
