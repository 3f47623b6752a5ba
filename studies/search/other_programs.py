"""Trials that other Optuna programs make in a study: what the search learns of them, and the values that they ask."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from caviar.storage.history import is_feasible
from caviar.studies.space.base import Value
from caviar.studies.space.search_space import SearchSpace
from caviar.text import quoted, shown

FIXED = "fixed_params"  # the system attribute in which Optuna's enqueue_trial keeps values


class CannotTake(ValueError):
    """An enqueued trial asks for values that no trial of the study can have."""


@dataclass(frozen=True)
class FixedValues:
    """The values that an enqueued trial asks for; the search chooses the others."""

    values: Mapping[str, Value]  # by hyperparameter
    stored: Mapping[str, Any]  # by stored name


def learned(space: SearchSpace, trial: FrozenTrial) -> FrozenTrial | None:
    """Return a finished trial of another program as one of this search, or None if it tells the search nothing.

    It must have a finite value, violate no constraint, and have each hyperparameter of the space within its range.
    """
    if space.by_trials:  # nobody knows what its names mean
        return None
    finished = trial.state in (TrialState.COMPLETE, TrialState.PRUNED)
    if not finished or trial.value is None or not math.isfinite(trial.value) or not is_feasible(trial):
        return None
    kinds = space.distributions()
    if not all(name in trial.params and _contains(kind, trial.params[name]) for name, kind in kinds.items()):
        return None
    params = {name: trial.params[name] for name in kinds}
    own = create_trial(state=TrialState.COMPLETE, value=trial.value, params=params, distributions=kinds)
    own.number, own._trial_id = trial.number, trial._trial_id
    return own


def check_stored(space: SearchSpace, params: Mapping[str, Any]) -> None:
    """Check that each stored value of a trial is one that the search could have given it.

    Anybody who may write trials may write values: they are arguments of programs, and of the user's code.

    Raises:
        CannotTake: one is outside of its range.
    """
    if space.by_trials:
        return  # its code says the ranges, and what is stored is compared with them
    for name, kind in space.distributions().items():
        if name in params and not _contains(kind, params[name]):
            raise CannotTake(f"its stored value {name} = {quoted(params[name])} is outside its range, {kind}")


def fixed_values(space: SearchSpace, trial: FrozenTrial) -> FixedValues:
    """Return the values that an enqueued trial asks for, each by the hyperparameter's name or by its stored name.

    Where trials name their hyperparameters themselves, they are taken as they are.

    Raises:
        CannotTake: one is of no hyperparameter, given twice, or outside its range.
    """
    if trial.params:
        raise CannotTake("it has parameters of its own already: make it with enqueue_trial")
    asked = trial.system_attrs.get(FIXED) or {}
    if not isinstance(asked, Mapping):
        raise CannotTake(f"its {FIXED} are no values by name: make it with enqueue_trial")
    return check_asked(space, asked)


def check_asked(space: SearchSpace, given: Mapping[str, Any]) -> FixedValues:
    """Return the values that somebody asks for, each by the hyperparameter's name or by its stored name.

    Raises:
        CannotTake: as for `fixed_values`.
    """
    if space.by_trials:
        return FixedValues(given, given)
    scales, stored_names, kinds = space.scales(), space.stored_names(), space.distributions()
    names = {stored: name for name, stored in stored_names.items()}
    values: dict[str, Value] = {}
    stored: dict[str, Any] = {}
    for key, value in given.items():
        name = names.get(key, key)
        if name not in scales:
            raise CannotTake(f"{shown(key)} is no hyperparameter of the study; it searches: {', '.join(scales)}")
        if name in values:
            raise CannotTake(f"{name} is given twice: as {name} and as {stored_names[name]}")
        kind, is_stored = kinds[stored_names[name]], key in names
        if not (_contains(kind, value) if is_stored else scales[name].accepts(value)):
            range_ = f"{'' if key == name else f'{name} is '}{scales[name]}"
            near = None if is_stored else scales[name].around(value)
            why = "is outside its range" if near is None else f"lies between two of its values, {near[0]} and {near[1]}"
            raise CannotTake(f"{key} = {quoted(value)} {why}: {range_}")
        stored[stored_names[name]] = value if is_stored else scales[name].to_stored(value)
        values[name] = scales[name].from_stored(stored[stored_names[name]])
    return FixedValues(values, stored)


def _contains(kind: BaseDistribution, value: Any) -> bool:
    try:
        return kind._contains(kind.to_internal_repr(value))
    except (TypeError, ValueError, ArithmeticError):  # no number, none of the choices, or beyond all numbers
        return False
