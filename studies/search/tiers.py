"""What the tiers propose: one after the other, coarse to fine, then everything under a model.

A proposal depends on the study's seed, the trial's number and the study's trials alone, so any number of processes
share one search without talking.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import optuna
from optuna.trial import FrozenTrial

from caviar.models.seeding import derive
from caviar.storage.records import Slot
from caviar.studies.definition import Study
from caviar.studies.search.candidates import again, candidates, cube, fresh
from caviar.studies.search.expectation import Expectation
from caviar.studies.search.initial_design import halton, strata, zoom
from caviar.studies.search.observations import Observations
from caviar.studies.search.optuna_space import OptunaSearch
from caviar.studies.search.plan import COARSE, by_model, plan, stratum
from caviar.studies.search.surrogate import Array, log_augmented_expected_improvement, one_thread
from caviar.studies.space.base import Value

Box = Mapping[str, tuple[float, float]]


class Tiers:
    """Chooses values for the slots of a study's plan.

    Args:
        study: the definition; its strategy is `tiered` or `classic`.
    """

    def __init__(self, study: Study) -> None:
        self._definition = study
        self._slots = plan(study)
        self._scales = study.scales()
        self._tiers = {name: tier for name, tier, _ in study.hyperparameters()}
        self._distributions = study.distributions()
        self._cube = cube(study)
        self._lock = threading.Lock()  # threads of one Optuna program share a sampler
        self._forget()

    def _forget(self) -> None:
        """Begin without anything that was read of trials."""
        self._fitted: tuple[int, Expectation] | None = None  # the latest, and how many trials are finished for it
        self._whose: tuple[object, int] | None = None  # trials these are
        self._observed = Observations(self._definition)

    def __reduce__(self) -> tuple[type[Tiers], tuple[Study]]:
        """Leave out what was read of trials: it is read again, and a storage need not be something to pickle."""
        return Tiers, (self._definition,)

    def choose(self, program: optuna.Study, trial: FrozenTrial) -> dict[str, Any]:
        """Return the stored values of all hyperparameters for a trial.

        Args:
            program: the trials so far.
            trial: the one that is about to begin; its number is its slot's.

        Raises:
            ValueError: a value that it was given before is outside its scale, in a study with a definition.
        """
        with self._lock:
            return self._choose(program, trial)

    def _choose(self, program: optuna.Study, trial: FrozenTrial) -> dict[str, Any]:
        slot = self._slots[min(trial.number, len(self._slots) - 1)]  # beyond the budget the last phase goes on
        held = self._held(trial)
        observed = self._observations(program)
        if slot.phase == "prior":
            values = dict(self._definition.prior[0].values)
        elif (part := stratum(self._definition, slot)) is not None:
            values = self._by_strata(slot, part, observed)
        elif by_model(self._definition, slot) and observed:
            with one_thread():
                values = self._by_model(slot, trial.number, observed, self._running(program, trial.number), held)
        else:
            values, box = self._by_plan(slot, trial.number, observed)
            box = {name: edges for name, edges in box.items() if name not in held}
            if box and not isinstance(self._definition, OptunaSearch):
                program._storage.set_trial_user_attr(trial._trial_id, "zoom", self._readable(box))
        values |= held
        stored = {scale.stored_name(name): scale.to_stored(values[name]) for name, scale in self._scales.items()}
        stored |= trial.system_attrs.get("fixed_params", {})  # as they were given, to the last bit
        return stored

    def _by_strata(self, slot: Slot, part: int, observed: Observations) -> dict[str, Value]:
        """Return the free hyperparameters each in a part of its range of its own; the others at their default or, if
        that was not the best so far, as they won before."""
        others = {name: scale.default for name, scale in self._scales.items()}
        if self._definition.prior:
            others |= observed.best() or {}
        seed = self._definition.seed
        return others | {name: self._scales[name].value(strata(COARSE, seed, name)[part]) for name in slot.free}

    def _by_plan(
        self, slot: Slot, number: int, observed: Observations
    ) -> tuple[dict[str, Value], dict[str, tuple[float, float]]]:
        """Return values, and the zoom box of those that were zoomed, on the unit interval."""
        best = observed.best()
        boxes = zoom(self._definition, observed)
        points = dict(zip(self._scales, halton(len(self._scales), self._definition.seed, number), strict=True))
        values: dict[str, Value] = {}
        used: dict[str, tuple[float, float]] = {}
        for name, scale in self._scales.items():
            if name not in slot.free:
                values[name] = best[name] if best and slot.phase != "default" else scale.default
                continue
            low, high = 0.0, 1.0
            if name in boxes and (self._tiers[name] < slot.tier or slot.phase == "fine"):
                used[name] = low, high = boxes[name]
            values[name] = scale.value(low + points[name] * (high - low))
        return values, used

    def _by_model(
        self,
        slot: Slot,
        number: int,
        observed: Observations,
        running: Sequence[Mapping[str, Value]],
        held: Mapping[str, Value],
    ) -> dict[str, Value]:
        """Return the candidate from which the model expects most; what is neither free nor held stays at the best."""
        model = self._model(observed)
        expected, _ = model.posterior(model.points)
        values = {**observed.values[int(model.numbers[np.argmin(expected)])], **held}
        free = np.array([name in slot.free and name not in held for name in self._scales])
        if not free.any():
            return values
        starts = np.where(free, model.points[np.argsort(expected, kind="stable")], self._points([values]))
        rng = np.random.default_rng(derive(self._definition.seed, "model", number))
        taken = np.concatenate([observed.points, self._points(running)])
        points = fresh(candidates(self._cube, starts, free, rng), taken)
        if slot.phase == "all" and not isinstance(self._definition, OptunaSearch):  # whose objective need not be noisy
            points = np.concatenate([points, again(starts, taken)])
        believing = model.believing(self._points(running))
        # The best that is expected of any trial, running ones too: next to one of them little is left to improve.
        best = believing.posterior(believing.points)[0].min()
        mean, deviation = believing.posterior(points)
        chosen = points[np.argmax(log_augmented_expected_improvement(mean, deviation, best, model.noise))]
        for (name, scale), unit, moves in zip(self._scales.items(), chosen, free, strict=True):
            if moves:
                values[name] = scale.value(float(unit))
        return values

    def _model(self, observed: Observations) -> Expectation:
        """Return the model of what is finished; the same one as long as nothing else is, as for trials of a batch."""
        if self._fitted is None or self._fitted[0] != len(observed):
            self._fitted = len(observed), Expectation(self._definition, self._cube, observed)
        return self._fitted[1]

    def _points(self, configurations: Sequence[Mapping[str, Value]]) -> Array:
        """Return configurations on the unit cube: (configurations, hyperparameters)."""
        places = self._definition.places(configurations)
        return np.array(places, dtype=float).reshape(len(places), len(self._scales))

    def _held(self, trial: FrozenTrial) -> dict[str, Value]:
        """Return the values that the trial has already been given."""
        fixed = trial.system_attrs.get("fixed_params", {})
        held = {}
        for name, scale in self._scales.items():
            if (stored := scale.stored_name(name)) in fixed:
                kind = self._distributions[stored]
                if not kind._contains(kind.to_internal_repr(fixed[stored])):
                    if isinstance(self._definition, OptunaSearch):
                        continue  # Optuna warns of it, and keeps it
                    raise ValueError(f"{stored} = {fixed[stored]!r} is outside its scale: {scale}")
                held[name] = scale.from_stored(fixed[stored])
        return held

    def _running(self, study: optuna.Study, number: int) -> list[dict[str, Value]]:
        """Return what other trials are training."""
        trials = study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.RUNNING,))
        known = self._distributions.keys()
        return [self._definition.trained(t.params) for t in trials if t.number != number and known <= t.params.keys()]

    def _observations(self, study: optuna.Study) -> Observations:
        whose = study._storage, study._study_id
        if whose != self._whose:
            self._forget()
            self._whose = whose
        self._observed.learn(study.get_trials(deepcopy=False))
        return self._observed

    def _readable(self, box: Box) -> dict[str, list[Value]]:
        return {
            name: [self._scales[name].value(low), self._scales[name].value(high)] for name, (low, high) in box.items()
        }
