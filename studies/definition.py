"""The definition of a study: a search space on a model and data. A frozen, validated value.

Knows no database, and imports neither Optuna nor torch.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from pydantic import Field, StrictInt, ValidationError, model_validator

from caviar.epoch import ACCURACY
from caviar.limits import EPOCHS, STUDY_NAME
from caviar.studies.errors import DefinitionError
from caviar.studies.metric import check_metric, with_metric
from caviar.studies.search.pruners import check_pruner
from caviar.studies.search.strategies import check_grid, check_strategy
from caviar.studies.space.base import Value, check_value, first_problem
from caviar.studies.space.scales import Scale
from caviar.studies.space.search_space import PriorTrial, SearchSpace

__all__ = ["PriorTrial", "Study", "change", "from_body", "to_body"]


class Study(SearchSpace):
    """The definition of a study: what is searched on which model and data, with which budget.

    Example:
        >>> study = Study(
        ...     name="digits", model="mlp", data="digits", epochs=30, budget=40,
        ...     tiers=(
        ...         {"learning_rate": Log(1e-4, 1, default=0.1)},
        ...         {"momentum": LogOneMinus(0.9, 0.999, default=0.9), "layers": Grid(2, 3, 4, default=2)},
        ...     ),
        ... )
        >>> list(study.scales())
        ['learning_rate', 'momentum', 'layers']

    Args:
        name: name of the study in the database; letters, digits, dot, dash and underscore.
        model: name of a model in `caviar.models.registry.MODELS`, or the path of a class, `package.module:Class`.
        data: name of a data set in `caviar.models.data_sets.DATA_SETS`.
        metric: what is searched by, of all that the training measures in an epoch: `accuracy`, `validation_loss`, for
            which `loss` is short, or `training_loss`. The value of a trial is the last one that was measured.
        direction: `maximize` or `minimize`; may be left out where the metric's name says it: one that ends in `loss`
            is minimized, one that ends in `accuracy` maximized.
        epochs: number of epochs of a trial that is not stopped early; 1 to 1,000,000.
        budget: number of trials, pruned and failed ones included; each tier needs one at least, and 100,000 are most.
        seed: seed of the search, and of the training of each trial; 0 to 2**63 - 1.
        strategy: `tiered`, its variant without a model `classic`, or one to compare with, such as `random`; all are in
            `caviar.studies.search.strategies.STRATEGIES`.
        pruner: which trials are stopped early, by a name in `caviar.studies.search.pruners.PRUNERS`: `pace` stops those
            that learn at less than half the pace of the best one, `none` none; or by the class of one of Optuna's
            pruners, with arguments if need be, such as `PercentilePruner(percentile=25.0)`.
        tiers: the scales of the hyperparameters by priority; one to four tiers.
        fixed: values of hyperparameters that are not searched, where they differ from the model's defaults.
        prior: trials of an earlier study, its winner first. That configuration is tried again; the model of the search
            learns from all of them, as far as this study's own trials agree with them.

    Raises:
        pydantic.ValidationError: a field is missing, unknown, or not of its type.
        DefinitionError: the fields contradict one another, or there is no such strategy or pruner.
    """

    name: str = Field(pattern=STUDY_NAME)
    model: str
    data: str
    metric: str = ACCURACY
    epochs: StrictInt = Field(ge=1, le=EPOCHS)
    pruner: str = "pace"
    tiers: tuple[Mapping[str, Scale], ...] = Field(min_length=1, max_length=4)
    fixed: Mapping[str, Value] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _complete(cls, given: Any) -> Any:
        return with_metric(given) if isinstance(given, Mapping) else given

    def model_post_init(self, context: Any) -> None:
        try:
            check_strategy(self.strategy)
            check_pruner(self.pruner)
            self._check_fields()
            super().model_post_init(context)
            check_grid(self)
        except DefinitionError as error:
            raise DefinitionError(f"study '{self.name}': {error}") from None

    def _check_fields(self) -> None:
        check_metric(self.metric, self.direction, of_model=True)
        for name, value in self.fixed.items():
            check_value(value)
            if any(name in tier for tier in self.tiers):
                raise DefinitionError(f"'{name}' stands twice: in a tier and in fixed")

    def is_possible(self, value: float) -> bool:
        """Return whether a trial can have that value of the metric: no accuracy is above 1, and neither is below 0."""
        return 0.0 <= value <= (1.0 if self.metric == ACCURACY else math.inf)

    @property
    def noisy(self) -> bool:
        """Whether trials of one configuration differ: trainings do, in their random states."""
        return True


def change(study: Study, **fields: Any) -> Study:
    """Return a copy of a study with other fields, validated as in `from_body`; a field of None is left as it is."""
    return from_body({**to_body(study), **{name: value for name, value in fields.items() if value is not None}})


def to_body(study: Study) -> dict[str, Any]:
    """Return a definition as plain JSON values."""
    return study.model_dump(mode="json")


def from_body(body: Mapping[str, Any]) -> Study:
    """Return the definition that plain JSON values describe.

    Raises:
        DefinitionError: it is not valid.
    """
    try:
        return Study.model_validate(dict(body))
    except ValidationError as error:
        raise DefinitionError(f"study '{body.get('name', '?')}': {first_problem(error)}") from None
