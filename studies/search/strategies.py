"""Strategies by name, and one way to ask any of them for the values of a slot."""

from __future__ import annotations

import itertools
import random
from collections.abc import Mapping, Sequence
from typing import Any

import optuna
from optuna.samplers import BaseSampler, GPSampler, RandomSampler, TPESampler
from optuna.trial import FrozenTrial, TrialState

from caviar.models.seeding import derive
from caviar.storage.history import quiet
from caviar.storage.records import Slot
from caviar.studies.definition import Study
from caviar.studies.search.sampler import TieredSampler

_GRID_POINTS = 3  # of each hyperparameter with a range; a short list is taken whole


class Proposer:
    """Chooses values for the slots of one study, by its strategy; remembers what it has read of finished trials."""

    def __init__(self, study: Study) -> None:
        self._study = study
        self._tiered = TieredSampler(study) if study.strategy in ("tiered", "classic") else None

    def propose(self, slot: Slot, view: optuna.Study, trial: FrozenTrial) -> dict[str, Any]:
        """Return the stored values of all hyperparameters for a slot's trial.

        Args:
            view: the study's trials so far, as Optuna reads them.
            trial: the trial that is about to begin; its number is the slot's.
        """
        study = self._study
        scales = study.scales()
        if slot.phase in ("default", "prior"):
            known = {n: s.default for n, s in scales.items()} if slot.phase == "default" else study.prior[0].values
            return {scale.stored_name(name): scale.to_stored(known[name]) for name, scale in scales.items()}
        if study.strategy == "grid":
            return _grid_point(study, slot.number)
        if study.strategy == "gp":
            chosen = _gaussian_process(study, slot.number, view)
        else:
            sampler = self._tiered or _sampler(study, slot.number)
            chosen = sampler.sample_relative(view, trial, sampler.infer_relative_search_space(view, trial))
            for name, scale in scales.items():
                stored = scale.stored_name(name)
                if stored not in chosen:
                    chosen[stored] = sampler.sample_independent(view, trial, stored, scale.distribution())
        # As it will be trained: a decay anywhere below its lowest is 0, and stored as such.
        values = study.trained(chosen)
        return {scale.stored_name(name): scale.to_stored(values[name]) for name, scale in scales.items()}


def _sampler(study: Study, number: int) -> BaseSampler:
    """Return Optuna's sampler for one slot. It is made anew for each, seeded by study and slot, so that the same slot
    gets the same values whichever worker asks, and no two slots the same numbers."""
    seed = derive(study.seed, "sampler", number) % 2**32
    return RandomSampler(seed) if study.strategy == "random" else TPESampler(seed=seed)


def _gaussian_process(study: Study, number: int, view: optuna.Study) -> dict[str, Any]:
    """Return what Optuna's GPSampler chooses, which learns from the complete trials."""
    sign = -1 if study.maximize else 1
    trials = view.get_trials(deepcopy=False)
    losses = {t.number: sign * (t.value or 0.0) for t in trials if t.state == TrialState.COMPLETE}
    copy = _copy_of(trials, losses, but=number)
    copy.sampler = GPSampler(seed=derive(study.seed, "sampler", number) % 2**32, warn_independent_sampling=False)
    return copy.ask(study.distributions()).params


def _grid_point(study: Study, number: int) -> dict[str, Any]:
    """Return a point of the full grid, which is walked through in a random order that the study's seed fixes."""
    axes = {
        scale.stored_name(name): [scale.to_stored(value) for value in scale.grid(_GRID_POINTS)]
        for name, scale in study.scales().items()
    }
    points = list(itertools.product(*axes.values()))
    random.Random(derive(study.seed, "grid")).shuffle(points)
    return dict(zip(axes, points[(number - 1) % len(points)], strict=True))


def _copy_of(trials: Sequence[FrozenTrial], losses: Mapping[int, float], but: int) -> optuna.Study:
    """Return a study to minimise, in memory, of the trials that have a loss, as complete ones, and of the running ones.

    Constraints are left out: a trial that violates one has a bad loss already, and GPSampler refuses a study in which
    some trials have constraints and others have not.
    """
    with quiet():
        copy = optuna.create_study()
    for trial in trials:
        state = TrialState.COMPLETE if trial.number in losses else TrialState.RUNNING
        if trial.number != but and trial.distributions and (trial.number in losses or trial.state == state):
            copy.add_trial(
                optuna.trial.create_trial(
                    state=state,
                    value=losses.get(trial.number),
                    params=trial.params,
                    distributions=trial.distributions,
                )
            )
    return copy
