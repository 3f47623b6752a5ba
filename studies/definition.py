"""A study: what is searched on which model and data, with which budget. A frozen, validated value.

Knows no database and imports neither Optuna nor torch.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictInt, ValidationError

from caviar.studies.errors import DefinitionError
from caviar.studies.space.base import Value, first_problem
from caviar.studies.space.scales import Scale

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

Strategy = Literal["tiered", "classic", "random", "grid", "tpe", "gp"]


class PriorTrial(BaseModel):
    """A trial of an earlier study, as a study that is tuned again knows it.

    Args:
        values: of each hyperparameter.
        loss: lower is better; compared with those of the same earlier study alone.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    values: Mapping[str, Value]
    loss: float


class Study(BaseModel):
    """A study's definition.

    Args:
        name: under which it is kept; letters, digits, dot, dash and underscore.
        model: a name of `caviar.models.registry.MODELS`, or `package.module:Class`.
        data: a name of `caviar.models.data`.
        metric: of the validation part after each epoch; a trial's value is that of its last epoch.
        direction: `maximize` for accuracy, `minimize` for loss.
        epochs: of each trial that is not pruned.
        budget: trials, counting the pruned and failed ones; each tier needs one at least.
        seed: of the search and of every trial's training.
        strategy: `tiered`, its variant without a model `classic`, or one to compare with.
        pruner: `pace` stops early what learns twice slower than the best, `median` what is worse than the median;
            `none` stops none.
        tiers: by priority, each from a hyperparameter's name to its scale; four at most.
        fixed: values of hyperparameters that are not searched, where they differ from the model's defaults.
        prior: trials of an earlier study, the best one first. That one is tried again; the model of the search learns
            from all, as far as this study's own trials agree with them.

    Raises:
        pydantic.ValidationError: a field is missing, unknown, or not of its type.
        DefinitionError: the fields contradict one another.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$")
    model: str
    data: str
    metric: Literal["accuracy", "loss"] = "accuracy"
    direction: Literal["maximize", "minimize"] = "maximize"
    epochs: StrictInt = Field(ge=1)
    budget: StrictInt = Field(ge=1)
    seed: StrictInt = Field(default=0, ge=0)
    strategy: Strategy = "tiered"
    pruner: Literal["pace", "median", "none"] = "pace"
    tiers: tuple[Mapping[str, Scale], ...] = Field(min_length=1, max_length=4)
    fixed: Mapping[str, Value] = Field(default_factory=dict)
    prior: tuple[PriorTrial, ...] = ()

    def model_post_init(self, context: Any) -> None:  # noqa: ARG002
        if (self.metric == "accuracy") != (self.direction == "maximize"):
            right = "maximize" if self.metric == "accuracy" else "minimize"
            raise DefinitionError(
                f"study '{self.name}': {self.metric} is something to {right}, not to {self.direction}"
            )
        names = [name for tier in self.tiers for name in tier]
        for name in names:
            if names.count(name) > 1 or name in self.fixed:
                raise DefinitionError(
                    f"study '{self.name}': '{name}' stands twice: in two tiers, or in one and in fixed"
                )
        for number, tier in enumerate(self.tiers, start=1):
            if not tier:
                raise DefinitionError(
                    f"study '{self.name}': tier {number} is empty; leave it out or name a scale in it"
                )
        least = len(self.tiers) + bool(self.prior)
        if self.budget < least:
            prior = ", and the best of the prior another" if self.prior else ""
            raise DefinitionError(
                f"study '{self.name}': a budget of {self.budget} is too small for {len(self.tiers)} tiers, "
                f"each of which needs a trial{prior}; give --budget {least} or more"
            )
        for known in self.prior:
            if known.values.keys() != set(names):
                found = ", ".join(sorted(known.values))
                raise DefinitionError(f"study '{self.name}': a trial of its prior has {found}, not {', '.join(names)}")
            for name, scale in self.scales().items():
                if not scale.accepts(known.values[name]):
                    given = f"{name} {known.values[name]!r}"
                    raise DefinitionError(f"study '{self.name}': {given} in a trial of its prior is not of {scale}")

    @property
    def maximize(self) -> bool:
        return self.direction == "maximize"

    def hyperparameters(self) -> Iterator[tuple[str, int, Scale]]:
        """Yield name, tier (1 is the first) and scale of each hyperparameter, by priority."""
        for number, tier in enumerate(self.tiers, start=1):
            for name, scale in tier.items():
                yield name, number, scale

    def scales(self) -> dict[str, Scale]:
        """Return the scale of each hyperparameter, by priority."""
        return {name: scale for name, _, scale in self.hyperparameters()}

    def places(self, configurations: Iterable[Mapping[str, Value]]) -> list[list[float]]:
        """Return where configurations are on the unit cube, each hyperparameter on its own scale, by priority."""
        scales = self.scales()
        return [[scale.unit(values[name]) for name, scale in scales.items()] for values in configurations]

    def distributions(self) -> dict[str, BaseDistribution]:
        """Return Optuna's distribution of each hyperparameter, under the name that Optuna keeps it by."""
        return {scale.stored_name(name): scale.distribution() for name, scale in self.scales().items()}

    def trained(self, stored: Mapping[str, Any]) -> dict[str, Value]:
        """Return hyperparameters as a network gets them, from those that Optuna keeps."""
        return {name: scale.from_stored(stored[scale.stored_name(name)]) for name, scale in self.scales().items()}

    def values(self, internal: Mapping[str, float]) -> dict[str, Value]:
        """Return hyperparameters as a network gets them, from numbers as Optuna's tables hold them."""
        return {
            name: scale.from_internal(internal[scale.stored_name(name)])
            for name, scale in self.scales().items()
            if scale.stored_name(name) in internal
        }


def change(study: Study, **fields: Any) -> Study:
    """Return a copy with other fields, validated; fields of None are left as they are.

    Raises:
        DefinitionError: the result is not valid.
    """
    return from_body({**to_body(study), **{name: value for name, value in fields.items() if value is not None}})


def to_body(study: Study) -> dict[str, Any]:
    """Return a definition as plain JSON values."""
    return study.model_dump(mode="json")


def from_body(body: Mapping[str, Any]) -> Study:
    """Read a definition from plain JSON values.

    Raises:
        DefinitionError: it is not valid.
    """
    try:
        return Study.model_validate(dict(body))
    except ValidationError as error:
        raise DefinitionError(f"study '{body.get('name', '?')}': {first_problem(error)}") from None
