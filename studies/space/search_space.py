"""The search space of a study: scales by tier, a budget of trials, and what an earlier search knows.

A search needs nothing else: it knows neither model nor data. `Study` is a search space with both.

Where trials name their hyperparameters themselves, as an Optuna objective does, a tier has names without scales.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, InstanceOf, StrictInt, field_validator

from caviar.limits import HYPERPARAMETERS, NAME, SEED, TRIALS
from caviar.studies.errors import DefinitionError
from caviar.studies.space.base import BaseScale, Value
from caviar.text import flaw, quoted, shown

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

_TIERS = 4


class PriorTrial(BaseModel):
    """A trial of an earlier study, from which a search learns.

    Args:
        values: the value of each hyperparameter that is searched.
        loss: the trial's result, lower is better; it is compared with those of the same earlier study alone.

    Examples:
        >>> PriorTrial(values={"learning_rate": 0.03, "momentum": 0.95}, loss=0.04).loss
        0.04
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    values: Mapping[str, Value]
    loss: float


@dataclass(frozen=True)
class Proposal:
    """The hyperparameters of a trial that is about to begin, in each form that is needed, converted once."""

    values: Mapping[str, Value]  # by hyperparameter: what a network is trained with
    stored: Mapping[str, Any]  # by stored name: the form that Optuna keeps
    internal: Mapping[str, float]  # by stored name: the number in Optuna's tables
    zoom: Mapping[str, tuple[Value, Value]] = field(default_factory=dict)  # the ends of those that were zoomed


class SearchSpace(BaseModel):
    """What is searched, and how; `Study` explains the fields.

    Raises:
        DefinitionError: a tier is empty, a hyperparameter stands in two, the budget is too small, or a prior trial
            does not fit the scales.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    direction: Literal["maximize", "minimize"] = "maximize"
    budget: StrictInt = Field(ge=1, le=TRIALS)
    seed: StrictInt = Field(default=0, ge=0, le=SEED)
    strategy: str = "tiered"
    tiers: tuple[Mapping[str, InstanceOf[BaseScale] | None], ...] = Field(max_length=_TIERS)
    prior: tuple[PriorTrial, ...] = ()

    @field_validator("tiers", mode="before")
    @classmethod
    def _names_without_scales(cls, given: Any) -> Any:
        """Take a list of names for a tier of hyperparameters without scales."""
        if not isinstance(given, Sequence) or isinstance(given, str):
            return given
        return [_without_scales(tier) if isinstance(tier, list | tuple | str) else tier for tier in given]

    def model_post_init(self, context: Any) -> None:  # noqa: ARG002
        self._check_tiers()
        for trial in self.prior:
            self._check_prior(trial)

    def _check_tiers(self) -> None:
        names, scales = [], []
        for tier in self.tiers:
            names += list(tier)
            scales += list(tier.values())
        if None in scales and any(scales):
            raise DefinitionError("some hyperparameters have a scale and others have none; give all of them one")
        if len(names) > HYPERPARAMETERS:
            raise DefinitionError(f"{len(names):,} hyperparameters are too many to search; {HYPERPARAMETERS} are most")
        if why := next((f"'{shown(name)}' {why}" for name in names if (why := flaw(name, NAME))), None):
            raise DefinitionError(f"the name of a hyperparameter {why}")
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise DefinitionError(f"'{twice}' stands twice: in two tiers")
        for number, tier in enumerate(self.tiers, start=1):
            if not tier:
                raise DefinitionError(f"tier {number} is empty; leave it out or name a scale in it")
        tiers = len(self.names())
        least = tiers + bool(self.prior)
        if self.budget < least:
            prior = ", and the best of the prior another" if self.prior else ""
            raise DefinitionError(
                f"a budget of {self.budget} is too small for {tiers} tiers, each of which needs a trial"
                f"{prior}; give --budget {least} or more"
            )

    def _check_prior(self, trial: PriorTrial) -> None:
        scales = self.scales()
        if trial.values.keys() != scales.keys():
            raise DefinitionError(f"a prior trial has {', '.join(sorted(trial.values))}, not {', '.join(scales)}")
        for name, scale in scales.items():
            if not scale.accepts(trial.values[name]):
                raise DefinitionError(f"{name} {trial.values[name]!r} of a prior trial is not of {scale}")

    @property
    def maximize(self) -> bool:
        """Whether a higher value of a trial is better."""
        return self.direction == "maximize"

    @property
    def bounds(self) -> tuple[float, float]:
        """The lowest and the highest value that a trial can have."""
        return -math.inf, math.inf

    @property
    def noisy(self) -> bool:
        """Whether trials of one configuration differ in their values, so that a second one is worth its time."""
        return False

    @property
    def by_trials(self) -> bool:
        """Whether trials name their hyperparameters themselves, with the range of each."""
        return not self._scales

    def names(self) -> list[tuple[str, ...]]:
        """Return the names of each tier. Where trials name hyperparameters themselves, those in no tier are one more
        tier, the last; of four tiers, they belong to the fourth."""
        names = [tuple(tier) for tier in self.tiers]
        return [*names, ()] if self.by_trials and len(names) < _TIERS else names

    def tier_of(self, name: str) -> int:
        """Return the tier of a hyperparameter, from 1; the last one for a name that no tier has."""
        tiers = self.names()
        return next((number for number, names in enumerate(tiers, start=1) if name in names), len(tiers))

    def hyperparameters(self) -> Iterator[tuple[str, int, BaseScale]]:
        """Yield name, tier (1 is the first) and scale of each hyperparameter that has a scale, by priority."""
        for number, tier in enumerate(self.tiers, start=1):
            for name, scale in tier.items():
                if scale is not None:
                    yield name, number, scale

    def scales(self) -> Mapping[str, BaseScale]:
        """Return the scale of each hyperparameter, by priority."""
        return self._scales

    def stored_names(self) -> Mapping[str, str]:
        """Return the name under which Optuna keeps each hyperparameter."""
        return self._stored_names

    def distributions(self) -> dict[str, BaseDistribution]:
        """Return Optuna's distribution of each hyperparameter, by stored name."""
        return dict(self._distributions)

    def places(self, configurations: Iterable[Mapping[str, Value]]) -> list[list[float]]:
        """Return the places of configurations on the unit cube, each hyperparameter on its own scale, by priority."""
        return [[scale.unit(values[name]) for name, scale in self._scales.items()] for values in configurations]

    def trained(self, stored: Mapping[str, Any]) -> dict[str, Value]:
        """Return the values of a configuration that Optuna keeps as `stored`."""
        if self.by_trials:
            return dict(stored)
        return {name: scale.from_stored(stored[self._stored_names[name]]) for name, scale in self._scales.items()}

    def values(self, internal: Mapping[str, float]) -> dict[str, Value]:
        """Return the values of the numbers in Optuna's tables; hyperparameters that have none are left out."""
        return {
            name: self._scales[name].from_internal(internal[stored])
            for name, stored in self._stored_names.items()
            if stored in internal
        }

    def proposal(
        self,
        values: Mapping[str, Value],
        fixed: Mapping[str, Any] | None = None,
        zoom: Mapping[str, tuple[Value, Value]] | None = None,
    ) -> Proposal:
        """Return a configuration in all of its forms; those in `fixed`, by stored name, to the last bit."""
        stored = {self._stored_names[name]: scale.to_stored(values[name]) for name, scale in self._scales.items()}
        stored |= fixed or {}
        internal = {name: kind.to_internal_repr(stored[name]) for name, kind in self._distributions.items()}
        return Proposal(dict(values), stored, internal, zoom or {})

    @cached_property
    def _scales(self) -> dict[str, BaseScale]:
        return {name: scale for name, _, scale in self.hyperparameters()}

    @cached_property
    def _stored_names(self) -> dict[str, str]:
        return {name: scale.stored_name(name) for name, scale in self._scales.items()}

    @cached_property
    def _distributions(self) -> dict[str, BaseDistribution]:
        return {self._stored_names[name]: scale.distribution() for name, scale in self._scales.items()}


def _without_scales(tier: object) -> object:
    if not isinstance(tier, list | tuple) or not all(isinstance(name, str) for name in tier):
        raise ValueError(f"give a mapping of names to scales, or a list of names; given {quoted(tier)}")
    if twice := next((name for name in tier if tier.count(name) > 1), None):
        raise ValueError(f"'{shown(twice)}' stands twice in a tier")
    return dict.fromkeys(tier)
