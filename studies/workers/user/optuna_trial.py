"""The trial that an objective gets: Optuna's own, whose storage, sampler and pruner are the worker's."""

from __future__ import annotations

import copy
from collections.abc import Container, Mapping
from typing import Any, Literal, NoReturn, Protocol

import optuna
from optuna.distributions import BaseDistribution, check_distribution_compatibility, distribution_to_json
from optuna.pruners import BasePruner
from optuna.samplers import BaseSampler
from optuna.storages import BaseStorage, InMemoryStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial

from caviar.limits import NAME
from caviar.storage.history import quiet, study_of
from caviar.storage.records import Slot
from caviar.storage.states import Phase
from caviar.studies.errors import TrialMisused
from caviar.studies.search.other_programs import FIXED
from caviar.studies.search.slot_sampler import SlotSampler
from caviar.studies.space.search_space import SearchSpace
from caviar.text import flaw, shown

# Attributes that Caviar gives to every trial. An objective's own of that name gets a prefix.
_TAKEN = ("slot", "tier", "phase", "worker", "zoom", "epochs", "why it stopped")
_PREFIX = "objective."


class Flow(Protocol):
    """The flow of an objective, as its trial sees it. Each call may leave the objective, by an exception."""

    def report(self, step: int, value: float) -> None:
        """Take a value that the objective reports."""
        ...

    def is_to_stop(self) -> bool:
        """Return whether the objective is to end itself as pruned."""
        ...


class Desk(Flow, Protocol):
    """What a trial asks of its worker."""

    def write_parameter(self, name: str, value: float, kind: str) -> None:
        """Write a hyperparameter: its value in Optuna's internal form, and its distribution as JSON."""
        ...

    def write_attribute(self, of: Literal["user", "system"], key: str, value: Any) -> None:
        """Write a `user` or a `system` attribute."""
        ...


def make_trial(
    name: str, others: BaseStorage, before: FrozenTrial, sampler: BaseSampler, desk: Desk
) -> optuna.trial.Trial:
    """Return the trial of an attempt, which begins with no hyperparameter suggested.

    Args:
        name: of the study.
        others: the study's trials.
        before: the trial as it is stored, with what an earlier attempt was suggested: it gets the same values.
        sampler: chooses all other values.
    """
    storage = _AttemptStorage(name, others, before, desk)
    study = _Study(name, storage, sampler, _Verdict(desk))
    return optuna.trial.Trial(study, before._trial_id)


def lone_trial(space: SearchSpace, number: int, values: Mapping[str, Any], flow: Flow) -> optuna.trial.Trial:
    """Return a trial of no database, with these values, and the middle of each range for which there is none."""
    direction = StudyDirection.MAXIMIZE if space.maximize else StudyDirection.MINIMIZE
    others = study_of({}, direction)
    before = create_trial(state=TrialState.RUNNING, system_attrs={FIXED: dict(values)})
    before.number = number
    sampler = SlotSampler(space, Slot(number, 1, Phase.DEFAULT, ()), others, {})
    return make_trial("check", others._storage, before, sampler, _Unwritten(flow))


class _AttemptStorage(InMemoryStorage):
    """The storage of an attempt: the trials of its study to read, and its own one to write."""

    def __init__(self, name: str, others: BaseStorage, before: FrozenTrial, desk: Desk) -> None:
        super().__init__()
        self._others, self._before, self._desk = others, before, desk
        self._own = copy.copy(before)
        self._own.params, self._own.distributions, self._own.user_attrs, self._own.intermediate_values = {}, {}, {}, {}
        asked = before.system_attrs.get(FIXED, {})
        self._own.system_attrs = {FIXED: {**asked, **before.params}}
        self._kinds: dict[str, BaseDistribution] = {}  # of names that other trials have
        with quiet():
            self.create_new_study(list(others.get_study_directions(0)), name)

    def get_trial(self, trial_id: int) -> FrozenTrial:
        for trial in (self._own, *self._others.get_all_trials(0, deepcopy=False)):
            if trial._trial_id == trial_id:
                return trial
        raise KeyError(f"No trial with trial_id {trial_id} exists.")

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        trials = [t for t in self._others.get_all_trials(study_id, deepcopy) if t._trial_id != self._own._trial_id]
        trials = sorted([*trials, self._own], key=lambda t: t.number)
        trials = [t for t in trials if states is None or t.state in states]
        return copy.deepcopy(trials) if deepcopy else trials

    def get_best_trial(self, study_id: int) -> FrozenTrial:
        sign = -1 if self.get_study_directions(study_id)[0] == StudyDirection.MAXIMIZE else 1
        complete = self.get_all_trials(study_id, states=(TrialState.COMPLETE,))
        if not complete:
            raise ValueError("No trials are completed yet.")
        return min(complete, key=lambda t: sign * (t.value or 0.0))

    def get_n_trials(self, study_id: int, state: tuple[TrialState, ...] | TrialState | None = None) -> int:
        states = (state,) if isinstance(state, TrialState) else state
        return len(self.get_all_trials(study_id, deepcopy=False, states=states))

    def set_trial_param(
        self, trial_id: int, param_name: str, param_value_internal: float, distribution: BaseDistribution
    ) -> None:
        self._check_own(trial_id)
        if why := flaw(param_name, NAME):
            raise TrialMisused(f"the name of the hyperparameter '{shown(param_name)}' {why}")
        earlier = self._before.distributions.get(param_name)
        if earlier is not None and earlier != distribution:
            raise TrialMisused(
                f"'{param_name}' was suggested from {earlier} before the trial was interrupted, and now from "
                f"{distribution}: a trial begins again with the same values, so its ranges may depend on them alone"
            )
        if earlier is None:
            self._check_kind(param_name, distribution)
            self._desk.write_parameter(param_name, param_value_internal, distribution_to_json(distribution))
        self._own.distributions[param_name] = distribution
        self._own.params[param_name] = distribution.to_external_repr(param_value_internal)

    def set_trial_intermediate_value(self, trial_id: int, step: int, intermediate_value: float) -> None:
        self._check_own(trial_id)
        self._own.intermediate_values[step] = intermediate_value
        self._desk.report(step, intermediate_value)

    def set_trial_user_attr(self, trial_id: int, key: str, value: Any) -> None:
        self._set_attribute(trial_id, "user", f"{_PREFIX}{key}" if key in _TAKEN else key, value)
        self._own.user_attrs[key] = value

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        self._set_attribute(trial_id, "system", key, value)
        self._own.system_attrs[key] = value

    def _set_attribute(self, trial_id: int, of: Literal["user", "system"], key: str, value: Any) -> None:
        self._check_own(trial_id)
        if why := flaw(key, NAME):
            raise TrialMisused(f"the name of the attribute '{shown(key)}' {why}")
        self._desk.write_attribute(of, key, value)

    def _check_kind(self, name: str, kind: BaseDistribution) -> None:
        """Check, as Optuna's storages do, that other trials have the name with a range of the same kind."""
        if name not in self._kinds:
            trials = self._others.get_all_trials(0, deepcopy=False)
            found = next((t.distributions[name] for t in reversed(trials) if name in t.distributions), None)
            if found is None:
                return
            self._kinds[name] = found
        try:
            check_distribution_compatibility(self._kinds[name], kind)
        except ValueError as error:
            raise TrialMisused(f"'{name}' is suggested from {kind}, and in other trials from {self._kinds[name]}: "
                               f"{error}") from None  # fmt: skip

    def _check_own(self, trial_id: int) -> None:
        if trial_id != self._own._trial_id:
            _refuse("write to other trials")

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> NoReturn:  # noqa: ARG002
        _refuse("make other trials; enqueue them from another program")

    def set_trial_state_values(self, trial_id: int, state: TrialState, values: Any = None) -> NoReturn:  # noqa: ARG002
        _refuse("end a trial by its study; return its value, or raise optuna.TrialPruned")

    def set_study_user_attr(self, study_id: int, key: str, value: Any) -> NoReturn:  # noqa: ARG002
        _refuse("write to its study; trial.set_user_attr writes to the trial")

    def set_study_system_attr(self, study_id: int, key: str, value: Any) -> NoReturn:  # noqa: ARG002
        _refuse("write to its study; trial.set_user_attr writes to the trial")

    def delete_study(self, study_id: int) -> NoReturn:  # noqa: ARG002
        _refuse("delete its study")


def _refuse(what: str) -> NoReturn:
    raise TrialMisused(f"an objective that Caviar runs cannot {what}")


class _Study(optuna.Study):
    """The study of an objective's trial, which only a person can stop."""

    def stop(self) -> NoReturn:
        _refuse("stop its study; that is done by: caviar stop NAME")


class _Verdict(BasePruner):
    """The pruner that `trial.should_prune` asks: it gives the worker's answer."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:  # noqa: ARG002
        return self._desk.is_to_stop()


class _Unwritten:
    """The desk of a trial that no database has."""

    def __init__(self, flow: Flow) -> None:
        self.report, self.is_to_stop = flow.report, flow.is_to_stop

    def write_parameter(self, name: str, value: float, kind: str) -> None:
        """Do nothing."""

    def write_attribute(self, of: Literal["user", "system"], key: str, value: Any) -> None:
        """Do nothing."""
