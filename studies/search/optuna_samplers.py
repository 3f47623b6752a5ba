"""Optuna's samplers for the slots of a study, each made anew for its slot.

A slot gets the same values whichever worker asks, and no two slots the same: the seed of a sampler follows from study
and slot, and what it keeps between two trials is worked out from the trials again.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any

import optuna
from optuna.distributions import FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler, QMCSampler
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial

from caviar.foreign_code import reason_of
from caviar.models.seeding import derive
from caviar.storage.history import TrialsView, is_sound, study_of
from caviar.storage.records import Slot
from caviar.storage.states import Phase
from caviar.studies.errors import DefinitionError
from caviar.studies.search.optuna_classes import Kind, OptunaClass, find_class
from caviar.studies.space.search_space import SearchSpace

# Strategies with a short name.
SHORT = {"random": "RandomSampler", "tpe": "TPESampler", "gp": "GPSampler"}
# CmaEsSampler knows none, GPSampler refuses a study in which some trials have constraints and others have not, and
# NSGAIISampler one in which a diverged trial has no value.
_WITHOUT_CONSTRAINTS = ("CmaEsSampler", "GPSampler", "NSGAIISampler")
# They keep notes of their generations in the storage, CmaEsSampler as a pickled object.
_BY_GENERATIONS = ("CmaEsSampler", "NSGAIISampler")
_REHEARSED = 12  # trials, from which all choose by their own rule


class OptunaSlots:
    """One of Optuna's samplers, for the slots of a study; it remembers what it has worked out of earlier trials."""

    def __init__(self, space: SearchSpace) -> None:
        self._class = find_class(SHORT.get(space.strategy, space.strategy), Kind.SAMPLER)
        self._seed = space.seed
        self._memory = _Memory(self._sample) if self._class.name in _BY_GENERATIONS else None

    def at(self, slot: Slot, seed: int) -> BaseSampler:
        """Return the sampler as it chooses for a slot."""
        return self._make(slot.number, seed)

    def shown(self, program: optuna.Study) -> optuna.Study:
        """Return the study as the sampler may see it."""
        shown = without_constraints(program) if self._class.name in _WITHOUT_CONSTRAINTS else program
        return self._memory.study(shown) if self._memory else shown

    def _make(self, number: int, seed: int) -> BaseSampler:
        if self._class.name == QMCSampler.__name__:
            return _point_of(self._class, number, self._seed)
        given = {"seed": seed, "warn_independent_sampling": False}
        sampler: BaseSampler = self._class.make(**{k: v for k, v in given.items() if k in self._class.parameters()})
        return sampler

    def _sample(self, study: optuna.Study, trial: FrozenTrial) -> None:
        """Let the sampler of a trial choose once more."""
        sampler = self._make(trial.number, seed_of(self._seed, trial.number))
        sampler.sample_relative(study, trial, sampler.infer_relative_search_space(study, trial))


def rehearse(space: SearchSpace) -> None:
    """Let the sampler of a study choose once from trials that are made up: many a bad argument is only found then.

    Raises:
        DefinitionError: it cannot choose.
    """
    kinds = {"x": FloatDistribution(0, 1), "y": FloatDistribution(1e-3, 1, log=True), "z": IntDistribution(1, 9)}
    trials = {}
    for number in range(_REHEARSED):
        share = number / _REHEARSED
        values = {"x": share, "y": 1 - share, "z": 1 + number % 9}
        trial = create_trial(value=share, params=values, distributions=kinds)
        trial.number = trial._trial_id = number
        trials[number] = trial
    try:
        slots, seed = OptunaSlots(space), seed_of(space.seed, _REHEARSED)
        program, trial = slots.shown(study_of(trials, StudyDirection.MINIMIZE)), create_trial(state=TrialState.RUNNING)
        sampler = slots.at(Slot(_REHEARSED, 1, Phase.OPTUNA, ()), seed)
        sampler.sample_relative(program, trial, sampler.infer_relative_search_space(program, trial))
        for name, kind in kinds.items():
            sampler.sample_independent(program, trial, name, kind)
    except Exception as error:  # of Optuna's, or of a package of its own
        raise DefinitionError(f"the strategy {space.strategy} cannot choose any values: {reason_of(error)}") from error


def seed_of(seed: int, number: int, *name: str) -> int:
    """Return the seed of a slot's sampler, or of its choice for the hyperparameter of that name alone."""
    return derive(seed, "sampler", number, *name) % 2**32


def without_constraints(program: optuna.Study) -> optuna.Study:
    """Return a study of the same trials without constraints, in which a trial that violates one has the worst value."""
    shown = program.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.RUNNING))
    sound = [t.value for t in shown if t.value is not None and is_sound(t)]
    worst = (min if program.direction == StudyDirection.MAXIMIZE else max)(sound, default=0.0)
    trials = {}
    for one in shown:
        if one.params:
            trials[one._trial_id] = changed = copy.copy(one)
            changed.system_attrs = {}
            if one.state == TrialState.COMPLETE and not is_sound(one):
                changed.value = worst
    return study_of(trials, program.direction)


class _Memory:
    """What a sampler notes in the storage of a study while it chooses: of trials, and of the study.

    Workers write no such notes, and unpickle nothing that a database gives them. So each trial's sampler chooses once
    more, in the order in which the trials began, from those that had ended by then; what it notes is kept here.
    """

    def __init__(self, sample: Callable[[optuna.Study, FrozenTrial], None]) -> None:
        self._sample = sample
        self._of_trials: dict[int, dict[str, Any]] = {}  # by Optuna's id
        self._of_study: dict[str, Any] = {}

    def study(self, program: optuna.Study) -> optuna.Study:
        """Return a study of the same trials, with the notes of the sampler."""
        trials = program.get_trials(deepcopy=False)
        for trial in sorted(trials, key=lambda t: (_begin(t), t.number)):
            if trial._trial_id not in self._of_trials:
                self._of_trials[trial._trial_id] = {}
                ended = [t for t in trials if t.datetime_complete and t.datetime_complete <= _begin(trial)]
                self._sample(self._noted(ended, program), self._with_notes(trial))
        return self._noted(trials, program)

    def _noted(self, trials: Iterable[FrozenTrial], program: optuna.Study) -> optuna.Study:
        noted = {trial._trial_id: self._with_notes(trial) for trial in trials}
        return optuna.Study("history", _Notebook(noted, program.direction, self._of_trials, self._of_study))

    def _with_notes(self, trial: FrozenTrial) -> FrozenTrial:
        """Return a trial with its notes, and no others that somebody wrote to the database."""
        noted = copy.copy(trial)
        noted.system_attrs = dict(self._of_trials.get(trial._trial_id, {}))
        return noted


class _Notebook(TrialsView):
    """Some trials as a storage, in which a sampler may note something of the trial it chooses for, and of the study."""

    def __init__(
        self, trials: dict[int, FrozenTrial], direction: StudyDirection, of_trials: dict[int, dict[str, Any]],
        of_study: dict[str, Any],
    ) -> None:  # fmt: skip
        super().__init__(trials, direction)
        self._of_trials, self._of_study = of_trials, of_study

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        self._of_trials.setdefault(trial_id, {})[key] = value

    def get_study_system_attrs(self, study_id: int) -> dict[str, Any]:  # noqa: ARG002
        return self._of_study

    def set_study_system_attr(self, study_id: int, key: str, value: Any) -> None:  # noqa: ARG002
        self._of_study[key] = value


def _begin(trial: FrozenTrial) -> datetime:
    return trial.datetime_start or datetime.max


def _point_of(found: OptunaClass, number: int, seed: int) -> BaseSampler:
    """Return Optuna's QMCSampler, which would count its points in the storage of the study, for a slot's own point."""

    class Point(QMCSampler):
        def _find_sample_id(self, study: optuna.Study, search_space: Any) -> int:  # noqa: ARG002
            return number - 1  # slot 0 is the default configuration

    sampler: BaseSampler = found.make(Point, seed=seed % 2**32, warn_independent_sampling=False)
    return sampler
