"""Strategies: how the values of a slot's trial are chosen. `tiered` is Caviar's own; others are there to compare with.

A new strategy is an entry of `STRATEGIES`, and a phase of its name in `storage/states.py`. Optuna is imported when a
strategy is used, not before.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Mapping
from functools import partial
from math import prod
from typing import TYPE_CHECKING, Any, Protocol

from caviar.limits import POINTS
from caviar.models.seeding import derive
from caviar.storage.records import Slot
from caviar.storage.states import Phase
from caviar.studies.errors import DefinitionError
from caviar.studies.space.search_space import Proposal, SearchSpace
from caviar.suggestions import did_you_mean

if TYPE_CHECKING:
    import optuna
    from optuna.samplers import BaseSampler

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
        self._strategy = None if space.by_trials else STRATEGIES[space.strategy](space)

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
    """One of Optuna's samplers, made anew for each slot and seeded by study and slot: a slot gets the same values
    whichever worker asks, and no two slots the same. `constraints` is whether it sees those of trials."""

    def __init__(self, space: SearchSpace, *, sampler: str, constraints: bool = True, **options: Any) -> None:
        self._space, self._sampler, self._constraints, self._options = space, sampler, constraints, options

    def propose(self, program: optuna.Study, slot: Slot, fixed: Mapping[str, Any]) -> Proposal:  # noqa: ARG002
        from optuna import samplers
        from optuna.trial import TrialState, create_trial

        seed = derive(self._space.seed, "sampler", slot.number) % 2**32
        sampler: BaseSampler = getattr(samplers, self._sampler)(seed=seed, **self._options)
        program = program if self._constraints else without_constraints(program)
        trial = create_trial(state=TrialState.RUNNING)
        trial.number = slot.number
        chosen = sampler.sample_relative(program, trial, sampler.infer_relative_search_space(program, trial))
        for name, kind in self._space.distributions().items():
            if name not in chosen:
                chosen[name] = sampler.sample_independent(program, trial, name, kind)
        # As it will be trained: a decay anywhere below its lowest is 0, and stored as such.
        return self._space.proposal(self._space.trained(chosen))


def without_constraints(program: optuna.Study) -> optuna.Study:
    """Return a study of the same trials without constraints, in which a trial that violates one has the worst value.

    Optuna's GPSampler refuses a study in which some trials have constraints and others have not.
    """
    from optuna.study import StudyDirection
    from optuna.trial import TrialState, create_trial

    from caviar.storage.history import is_sound, study_of

    shown = program.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.RUNNING))
    sound = [t.value for t in shown if t.value is not None and is_sound(t)]
    worst = (min if program.direction == StudyDirection.MAXIMIZE else max)(sound, default=0.0)
    trials = {
        t._trial_id: create_trial(
            state=t.state, value=worst if t.state == TrialState.COMPLETE and not is_sound(t) else t.value,
            params=t.params, distributions=t.distributions,
        )
        for t in shown
        if t.params
    }  # fmt: skip
    return study_of(trials, program.direction)


STRATEGIES: dict[str, Callable[[SearchSpace], Strategy]] = {
    "tiered": _tiers,
    "classic": _tiers,
    "random": partial(_OptunaSampler, sampler="RandomSampler"),
    "grid": _Grid,
    "tpe": partial(_OptunaSampler, sampler="TPESampler"),
    "gp": partial(_OptunaSampler, sampler="GPSampler", constraints=False, warn_independent_sampling=False),
}


def check_grid(space: SearchSpace) -> None:
    """Check that the grid of a space with the strategy `grid` is small enough to be laid out."""
    points = prod(len(scale.grid(_GRID_POINTS)) for scale in space.scales().values())
    if space.strategy == "grid" and points > POINTS:
        raise DefinitionError(f"its grid has {points:,} points, more than {POINTS:,}; take another strategy")


def check_strategy(name: str) -> None:
    """Check that there is a strategy of that name; the DefinitionError suggests the nearest names."""
    if name not in STRATEGIES:
        raise DefinitionError(
            f"no strategy '{name}'; {did_you_mean(name, STRATEGIES)}there are: {', '.join(STRATEGIES)}"
        )
