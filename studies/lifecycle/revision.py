"""Decide whether the trials of a study stay comparable when its definition changes.

Comparable are a larger budget, a wider range, a new choice, another pruner, timeout or order of tiers, and a new
hyperparameter whose default is what all earlier trials were trained with. Anything else would mix trials of two
different searches under one name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from caviar.studies.definition import Study, change, to_body
from caviar.studies.space.base import BaseScale, Value
from caviar.studies.way import Way

# Fields that may change while the trials stay comparable: the test set is for the winner alone.
_FREE = ("budget", "until", "pruner", "epoch_timeout", "trial_timeout", "test")
Stored = Mapping[str, tuple[float, str]]  # by name, the number in Optuna's tables, and the distribution as JSON


@dataclass
class Revision:
    """The differences between two definitions of a study, a sentence each."""

    comparable: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    code: list[str] = field(default_factory=list)  # of which nobody can tell whether the trials stay comparable
    rewrites: bool = False  # whether what Optuna keeps of earlier trials has to be brought in line
    shrinks: tuple[int, int] | None = None  # the budget before and now, where it is smaller now

    @property
    def changes(self) -> list[str]:
        return [*self.comparable, *self.code, *self.refused]

    @property
    def acceptable(self) -> list[str]:
        """Those with which a person may go on."""
        return [*self.comparable, *self.code]


def compare(before: Study, after: Study) -> Revision:
    """Return the differences, and whether the trials of `before` stay comparable with those of `after`.

    Under another model nothing more is compared: the values that were not searched depend on it.
    """
    revision = Revision()
    old, new = to_body(before), to_body(after)
    for name in new:
        if name in ("tiers", "fixed") or old[name] == new[name]:
            continue
        sentence = f"{name}: {_brief(old[name])} before, {_brief(new[name])} now"
        if name == "budget" and after.budget < before.budget:
            revision.refused.append(f"{sentence}; a budget can grow, but not shrink (caviar stop ends a study early)")
            revision.shrinks = before.budget, after.budget
        elif name in _FREE or _is_more_to_see(name, before, after) or (name == "epochs" and before.by_trials):
            revision.comparable.append(sentence)
        else:
            revision.refused.append(sentence)
    if before.by_trials and after.by_trials and old["tiers"] != new["tiers"]:
        revision.comparable.append(f"tiers: {_names(before)} before, {_names(after)} now")
    if before.model == after.model:
        _compare_fixed(before, after, revision)
        _compare_tiers(before, after, revision)
    return revision


def _is_more_to_see(field: str, before: Study, after: Study) -> bool:
    """Return whether a field is that of the metrics, and those are the same that decide on a trial's value."""
    of_value = (after.metric, *after.constraints)
    return field == "metrics" and all(before.metrics.get(name) == after.metrics.get(name) for name in of_value)


def with_prior(study: Study, of: Study) -> Study:
    """Return a comparable version of `of` with its prior, whose trials have the default of what is new."""
    defaults = {name: scale.default for name, scale in study.scales().items()}
    return change(study, prior=[{"values": {**defaults, **t.values}, "loss": t.loss} for t in of.prior])


def _names(study: Study) -> str:
    return "; ".join(", ".join(tier) for tier in study.tiers) or "none"


def _brief(value: Any) -> str:
    return f"{len(value)} trial(s)" if isinstance(value, list) else str(value)


def rewrite(before: Study, after: Study, stored: Stored) -> tuple[Stored, Mapping[str, Value]]:
    """Return an earlier trial's parameters as the new definition stores them, and the values stored as something else.

    A trial that lacks one of its hyperparameters was made by another program, and stays as it is.
    """
    from optuna.distributions import distribution_to_json

    old = {scale.stored_name(name): name for name, scale in before.scales().items()}
    if not old.keys() <= stored.keys():
        return stored, {}
    values = before.values({name: number for name, (number, _) in stored.items()})
    parameters = {name: parameter for name, parameter in stored.items() if name not in old}
    for name, scale in after.scales().items():
        if _same(scale, before.scales().get(name)):
            parameters[scale.stored_name(name)] = stored[scale.stored_name(name)]
            continue
        kind = scale.distribution()
        values.setdefault(name, scale.default)
        number = kind.to_internal_repr(scale.to_stored(values[name]))
        parameters[scale.stored_name(name)] = number, distribution_to_json(kind)
    return parameters, {name: value for name, value in values.items() if name not in parameters}


def _compare_fixed(before: Study, after: Study, revision: Revision) -> None:
    for name in dict.fromkeys([*before.fixed, *after.fixed]):
        if name in after.scales() or name in before.scales():
            continue  # searched now or before: _compare_tiers compares it
        old, new = _unsearched(before, name), _unsearched(after, name)
        if old != new:
            revision.refused.append(f"{name}: fixed to {old!r} before, {new!r} now")
        elif (name in before.fixed) != (name in after.fixed):
            revision.comparable.append(f"{name}: {old!r} as before, by another line")


def _compare_tiers(before: Study, after: Study, revision: Revision) -> None:
    old, new = before.scales(), after.scales()
    tiers_before = {name: tier for name, tier, _ in before.hyperparameters()}
    tiers_after = {name: tier for name, tier, _ in after.hyperparameters()}
    for name in dict.fromkeys([*old, *new]):
        if name not in new:
            revision.refused.append(f"{name}: searched before ({old[name]}), and no more")
        elif name not in old:
            _compare_new(before, name, new[name], revision)
        else:
            if not _same(old[name], new[name]):
                sentence = f"{name}: {_with_default(old[name])} before, {_with_default(new[name])} now"
                wider = new[name].contains(old[name])
                (revision.comparable if wider else revision.refused).append(
                    sentence + ("" if wider else "; not a wider range")
                )
                revision.rewrites = True
            if tiers_before[name] != tiers_after[name]:
                revision.comparable.append(f"{name}: tier {tiers_before[name]} before, {tiers_after[name]} now")
    if not revision.changes and list(old) != list(new):
        revision.comparable.append("another order of the hyperparameters")


def _compare_new(before: Study, name: str, scale: BaseScale, revision: Revision) -> None:
    had = _unsearched(before, name)
    sentence = f"{name}: new ({_with_default(scale)}); {had!r} in all earlier trials"
    if scale.default == had:
        revision.comparable.append(sentence)
    else:
        revision.refused.append(f"{sentence}, which its default must be")
    revision.rewrites = True


def _unsearched(study: Study, name: str) -> Any:
    """Return the value that a hyperparameter has in all trials of a study that does not search it."""
    if name in study.fixed or study.way is not Way.MODEL:
        return study.fixed.get(name)
    from caviar.models.optim import SETTINGS  # these load torch and the model, which no other comparison needs
    from caviar.models.registry import hyperparameters

    return SETTINGS[name] if name in SETTINGS else hyperparameters(study.built_in.model).get(name)


def _same(scale: BaseScale, other: BaseScale | None) -> bool:
    """Return True if two scales are the same; 1 and 1.0 are not, which are equal for Python."""
    return repr(scale) == repr(other)


def _with_default(scale: BaseScale) -> str:
    return f"{scale}, default {scale.default}"
