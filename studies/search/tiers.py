"""The tiered search: one tier after the other, coarse; then everything under a model.

A proposal depends on the seed of the search, the number of the slot and the trials so far alone, so any number of
processes share one search without talking to one another.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import optuna
from optuna.trial import FrozenTrial, TrialState

from caviar.models.seeding import derive
from caviar.storage.records import Slot
from caviar.storage.states import Phase
from caviar.studies.search.candidates import candidates, cube, highest, ranked, repeats, unseen
from caviar.studies.search.expectation import Expectation
from caviar.studies.search.initial_design import halton, strata, zoom
from caviar.studies.search.observations import Observations
from caviar.studies.search.plan import STRATA, by_model, stratum
from caviar.studies.search.surrogate import Array, log_augmented_expected_improvement, one_thread
from caviar.studies.space.base import Value
from caviar.studies.space.search_space import Proposal, SearchSpace

Box = dict[str, tuple[float, float]]  # by hyperparameter, a part of the unit interval


class Tiers:
    """Chooses the values of slots by the plan of the strategies `tiered` and `classic`."""

    def __init__(self, space: SearchSpace) -> None:
        self._space = space
        self._scales = space.scales()
        self._tiers = {name: tier for name, tier, _ in space.hyperparameters()}
        self._cube = cube(space)
        self._lock = threading.Lock()  # threads of one Optuna program share a sampler
        self._forget()

    def _forget(self) -> None:
        """Drop everything that was read of trials."""
        self._fitted: tuple[int, Expectation] | None = None  # the latest model, and the number of trials it has seen
        self._program: tuple[object, int] | None = None  # whose trials were read
        self._observed = Observations(self._space)

    def __reduce__(self) -> tuple[type[Tiers], tuple[SearchSpace]]:
        """Leave out what was read of trials: it is read again, and a storage need not be something to pickle."""
        return Tiers, (self._space,)

    def propose(self, program: optuna.Study, slot: Slot, fixed: Mapping[str, Any], own: int | None = None) -> Proposal:
        """Return the hyperparameters of a slot's trial, as `Strategy.propose`; `own` is Optuna's id of the trial, if it
        is among those of `program` already."""
        with self._lock:
            return self._propose(program, slot, fixed, own)

    def _propose(self, program: optuna.Study, slot: Slot, fixed: Mapping[str, Any], own: int | None) -> Proposal:
        given = {
            name: self._scales[name].from_stored(fixed[stored])
            for name, stored in self._space.stored_names().items()
            if stored in fixed
        }
        observed = self._observations(program)
        box: Box = {}
        if slot.phase == Phase.PRIOR:
            values = dict(self._space.prior[0].values)
        elif (part := stratum(self._space, slot)) is not None:
            values = self._by_strata(slot, part, observed)
        elif by_model(self._space, slot) and observed.are_alike:
            # A model would stay near those that are equally good, although all of them are equally bad.
            points = self._spread(slot)
            values = {name: scale.value(points[name]) for name, scale in self._scales.items()}
        elif by_model(self._space, slot) and observed:
            with one_thread():
                values = self._by_model(slot, observed, self._running(program, own), given)
        else:
            values, box = self._by_plan(slot, observed)
        ranges = {
            name: (self._scales[name].value(low), self._scales[name].value(high))
            for name, (low, high) in box.items()
            if name not in given
        }
        return self._space.proposal(values | given, fixed, ranges)

    def _by_strata(self, slot: Slot, part: int, observed: Observations) -> dict[str, Value]:
        """Return the first tier in a part of its ranges where neither another slot nor the default has it, other free
        hyperparameters anywhere; the others at their default, or as in the winner of a prior if that is still best."""
        values = {name: scale.default for name, scale in self._scales.items()}
        if self._space.prior:
            values |= observed.best() or {}
        points = self._spread(slot)
        for name in slot.free:
            scale = self._scales[name]
            if self._tiers[name] > 1:
                values[name] = scale.value(points[name])
            else:
                values[name] = scale.value(strata(STRATA, self._space.seed, name, scale)[part])
        return values

    def _spread(self, slot: Slot) -> dict[str, float]:
        """Return a slot's quasi-random point of the unit cube, by hyperparameter."""
        return dict(zip(self._scales, halton(len(self._scales), self._space.seed, slot.number), strict=True))

    def _by_plan(self, slot: Slot, observed: Observations) -> tuple[dict[str, Value], Box]:
        """Return values, and the zoom box of those that were zoomed."""
        best = observed.best()
        boxes = zoom(self._space, observed)
        points = self._spread(slot)
        values: dict[str, Value] = {}
        used: Box = {}
        for name, scale in self._scales.items():
            if name not in slot.free:
                values[name] = best[name] if best and slot.phase != Phase.DEFAULT else scale.default
                continue
            low, high = 0.0, 1.0
            if name in boxes and (self._tiers[name] < slot.tier or slot.phase == Phase.FINE):
                used[name] = low, high = boxes[name]
            values[name] = scale.value(low + points[name] * (high - low))
        return values, used

    def _by_model(
        self, slot: Slot, observed: Observations, running: Sequence[Mapping[str, Value]], given: Mapping[str, Value]
    ) -> dict[str, Value]:
        """Return the candidate of which the model expects most; what is neither free nor given stays at the best."""
        model = self._model(observed)
        expected, _ = model.posterior(model.points)
        order = ranked(expected)
        values = {**observed.values[int(model.rows[order[0]])], **given}
        free = np.array([name in slot.free and name not in given for name in self._scales])
        if not free.any():
            return values
        starts = np.where(free, model.points[order], self._points([values]))
        rng = np.random.default_rng(derive(self._space.seed, "model", slot.number))
        taken = np.concatenate([observed.points, self._points(running)])
        points = unseen(candidates(self._cube, starts, free, rng), taken)
        if self._space.noisy:
            points = np.concatenate([points, repeats(starts, taken)])
        believing = model.believing(self._points(running))
        # The best that is expected of any trial, running ones too: next to one of them little is left to improve.
        best = believing.posterior(believing.points)[0].min()
        mean, deviation = believing.posterior(points)
        chosen = points[highest(log_augmented_expected_improvement(mean, deviation, best, model.noise))]
        for (name, scale), unit, moves in zip(self._scales.items(), chosen, free, strict=True):
            if moves:
                values[name] = scale.value(float(unit))
        return values

    def _model(self, observed: Observations) -> Expectation:
        """Return the model of the finished trials; the same one until another trial is finished, as in a batch."""
        if self._fitted is None or self._fitted[0] != len(observed):
            self._fitted = len(observed), Expectation(self._space, self._cube, observed)
        return self._fitted[1]

    def _points(self, configurations: Sequence[Mapping[str, Value]]) -> Array:
        """Return configurations on the unit cube: (configurations, hyperparameters)."""
        places = self._space.places(configurations)
        return np.array(places, dtype=float).reshape(len(places), len(self._scales))

    def _running(self, program: optuna.Study, own: int | None) -> list[dict[str, Value]]:
        """Return the configurations of other trials that are running."""
        trials: list[FrozenTrial] = program.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        names = set(self._space.stored_names().values())
        return [self._space.trained(t.params) for t in trials if t._trial_id != own and names <= t.params.keys()]

    def _observations(self, program: optuna.Study) -> Observations:
        source = program._storage, program._study_id
        if source != self._program:
            self._forget()
            self._program = source
        self._observed.learn(program.get_trials(deepcopy=False))
        return self._observed
