"""The search space of a study: scales by tier, a budget of trials, and what an earlier search knows.

A search needs nothing else: it knows neither model nor data. `Study` is a search space with both.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, InstanceOf, StrictInt

from caviar.limits import HYPERPARAMETERS, NAME, SEED, TRIALS
from caviar.studies.errors import DefinitionError
from caviar.studies.space.base import BaseScale, Value
from caviar.text import flaw, shown

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution


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
    tiers: tuple[Mapping[str, InstanceOf[BaseScale]], ...] = Field(min_length=1, max_length=4)
    prior: tuple[PriorTrial, ...] = ()

    def model_post_init(self, context: Any) -> None:  # noqa: ARG002
        self._check_tiers()
        for trial in self.prior:
            self._check_prior(trial)

    def _check_tiers(self) -> None:
        names = [name for tier in self.tiers for name in tier]
        if len(names) > HYPERPARAMETERS:
            raise DefinitionError(f"{len(names):,} hyperparameters are too many to search; {HYPERPARAMETERS} are most")
        if why := next((f"'{shown(name)}' {why}" for name in names if (why := flaw(name, NAME))), None):
            raise DefinitionError(f"the name of a hyperparameter {why}")
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise DefinitionError(f"'{twice}' stands twice: in two tiers")
        for number, tier in enumerate(self.tiers, start=1):
            if not tier:
                raise DefinitionError(f"tier {number} is empty; leave it out or name a scale in it")
        least = len(self.tiers) + bool(self.prior)
        if self.budget < least:
            prior = ", and the best of the prior another" if self.prior else ""
            raise DefinitionError(
                f"a budget of {self.budget} is too small for {len(self.tiers)} tiers, each of which needs a trial"
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

    def hyperparameters(self) -> Iterator[tuple[str, int, BaseScale]]:
        """Yield name, tier (1 is the first) and scale of each hyperparameter, by priority."""
        for number, tier in enumerate(self.tiers, start=1):
            for name, scale in tier.items():
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
        return {name: scale for tier in self.tiers for name, scale in tier.items()}

    @cached_property
    def _stored_names(self) -> dict[str, str]:
        return {name: scale.stored_name(name) for name, scale in self._scales.items()}

    @cached_property
    def _distributions(self) -> dict[str, BaseDistribution]:
        return {self._stored_names[name]: scale.distribution() for name, scale in self._scales.items()}
