"""What a changed definition means for the trials that there are: comparable still, or not.

Comparable are a larger budget, a wider range, a new choice, another pruner or order of tiers, and a new
hyperparameter whose default is what all earlier trials were trained with. Anything else would mix trials of two
different searches under one name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from models.optim import SETTINGS
from models.registry import hyperparameters
from studies.definition import Study, to_body
from studies.scale import Value
from studies.space import Choice, Grid, Linear, Log, LogOneMinus, PowersOfTwo, Scale

_HARMLESS = ("pruner",)


@dataclass
class Revision:
    """What differs between two definitions of a study, a sentence each."""

    comparable: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    rewrites: bool = False  # whether what Optuna keeps of earlier trials has to be brought in line

    @property
    def changes(self) -> list[str]:
        return [*self.comparable, *self.refused]


def compare(before: Study, after: Study) -> Revision:
    """Return what differs, and whether the trials of `before` are worth something under `after`.

    Raises:
        models.errors.UnknownModel: the model is not here.
    """
    found = Revision()
    old, new = to_body(before), to_body(after)
    for name in new:
        if name in ("tiers", "fixed") or old[name] == new[name]:
            continue
        told = f"{name}: {old[name]} there, {new[name]} here"
        if name == "budget" and after.budget < before.budget:
            found.refused.append(f"{told}; a budget can grow, but not shrink (caviar stop ends a study early)")
        elif name == "budget" or name in _HARMLESS:
            found.comparable.append(told)
        else:
            found.refused.append(told)
    _compare_fixed(before, after, found)
    _compare_tiers(before, after, found)
    return found


def rewrite(before: Study, after: Study, stored: Mapping[str, float]) -> dict[str, tuple[float, str]]:
    """Return an earlier trial's parameters as the new definition has Optuna keep them.

    Args:
        stored: as Optuna's tables hold them under the old definition.

    Returns:
        By name, the number for Optuna's table, and the distribution as JSON.
    """
    from optuna.distributions import distribution_to_json

    values: dict[str, Value] = before.values(stored)
    unchanged = {n: stored[s.stored_name(n)] for n, s in before.scales().items() if after.scales().get(n) == s}
    kept = {}
    for name, scale in after.scales().items():
        kind = scale.distribution()
        number = unchanged.get(name)
        if number is None:
            number = kind.to_internal_repr(scale.to_stored(values.get(name, scale.default)))
        kept[scale.stored_name(name)] = number, distribution_to_json(kind)
    return kept


def _compare_fixed(before: Study, after: Study, found: Revision) -> None:
    for name in dict.fromkeys([*before.fixed, *after.fixed]):
        if name in after.scales() or name in before.scales():
            continue  # searched now, or before: told of there
        old, new = _unsearched(before, name), _unsearched(after, name)
        if old != new:
            found.refused.append(f"{name}: fixed to {old!r} there, {new!r} here")
        elif (name in before.fixed) != (name in after.fixed):
            found.comparable.append(f"{name}: {old!r} as before, by another line")


def _compare_tiers(before: Study, after: Study, found: Revision) -> None:
    old, new = before.scales(), after.scales()
    tiers_before = {name: tier for name, tier, _ in before.hyperparameters()}
    tiers_after = {name: tier for name, tier, _ in after.hyperparameters()}
    for name in dict.fromkeys([*old, *new]):
        if name not in new:
            found.refused.append(f"{name}: searched there ({old[name]}), and not here")
        elif name not in old:
            _compare_new(before, name, new[name], found)
        else:
            if old[name] != new[name]:
                told = f"{name}: {_told(old[name])} there, {_told(new[name])} here"
                wider = _contains(new[name], old[name])
                (found.comparable if wider else found.refused).append(told + ("" if wider else "; not a wider range"))
                found.rewrites = True
            if tiers_before[name] != tiers_after[name]:
                found.comparable.append(f"{name}: tier {tiers_before[name]} there, {tiers_after[name]} here")
    if not found.changes and list(old) != list(new):
        found.comparable.append("another order of the hyperparameters here")


def _compare_new(before: Study, name: str, scale: Scale, found: Revision) -> None:
    had = _unsearched(before, name)
    told = f"{name}: new here ({_told(scale)}); {had!r} in all earlier trials"
    if scale.default == had:
        found.comparable.append(told)
    else:
        found.refused.append(f"{told}, which its default must be")
    found.rewrites = True


def _unsearched(study: Study, name: str) -> Any:
    """Return the value that a hyperparameter has in all trials of a study that does not search it."""
    return study.fixed.get(name, SETTINGS.get(name, hyperparameters(study.model).get(name)))


def _told(scale: Scale) -> str:
    return f"{scale}, default {scale.default}"


def _contains(new: Scale, old: Scale) -> bool:
    """Say whether a scale holds every value that another one holds, at the same meaning."""
    if isinstance(new, Grid | Choice) and isinstance(old, Grid | Choice):
        return type(new) is type(old) and set(new.values) >= set(old.values)
    if isinstance(new, Log) and isinstance(old, Log):
        return new.low <= old.low and old.high <= new.high and new.or_zero >= old.or_zero
    if isinstance(new, Linear) and isinstance(old, Linear):
        same_kind = new.distribution().__class__ is old.distribution().__class__
        return same_kind and new.low <= old.low and old.high <= new.high
    for kind in (LogOneMinus, PowersOfTwo):
        if isinstance(new, kind) and isinstance(old, kind):
            return bool(new.low <= old.low and old.high <= new.high)
    return False
