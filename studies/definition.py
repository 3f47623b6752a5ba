"""The definition of a study: a search space, and the training that is searched. A frozen, validated value.

Knows no database, and imports neither Optuna nor torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, FiniteFloat, StrictInt, ValidationError, model_validator

from caviar.durations import to_seconds
from caviar.epoch import ACCURACY
from caviar.limits import EPOCHS, RANKS, STUDY_NAME
from caviar.studies.errors import DefinitionError
from caviar.studies.metric import (
    bounds_of,
    check_constraints,
    check_metric,
    check_own_metrics,
    check_report,
    value_of_guessing,
    with_metric,
)
from caviar.studies.search.pruners import check_pruner
from caviar.studies.search.strategies import check_grid, check_strategy
from caviar.studies.search.until import BUDGET, check_until
from caviar.studies.space.base import Value, check_value
from caviar.studies.space.problems import first_problem
from caviar.studies.space.scales import Scale
from caviar.studies.space.search_space import PriorTrial, SearchSpace
from caviar.studies.way import BuiltIn, Way, check_way

__all__ = ["PriorTrial", "Study", "change", "from_body", "to_body"]


def _seconds_or_none(given: object) -> float | None:
    return None if given is None else to_seconds(given)


_Duration = Annotated[float | None, BeforeValidator(_seconds_or_none)]


class Study(SearchSpace):
    """The definition of a study: what is searched, with which budget, and how a trial is trained.

    Exactly one of `model`, `train`, `objective` and `command` says how.

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
        model: name of a model in `caviar.models.registry.MODELS`, or the path of a class, `package.module:Class`. It is
            trained by the built-in loop, on `data`.
        data: name of a data set in `caviar.models.data_sets.DATA_SETS`, or the path of a function that returns tensors
            or map-style datasets: `(training, validation)` or `(training, validation, test)`, each of them `(x, y)`.
        loss: path of a function of the outputs and targets of a batch that returns their mean loss, such as
            `my_data:loss` or `torch.nn.functional:l1_loss`; None for the cross-entropy of classes, and for the mean
            squared error where the targets are numbers.
        metrics: what else is measured on the validation examples, by name: the path of a function of all their outputs
            and targets that returns a number, or a function of `torchmetrics.functional` by its name, perhaps with
            arguments, such as `{"rmse": "my_data:rmse", "f1": "f1_score(average='macro')"}`.
        train: path of a function, `package.module:function`, which is called with a `caviar.Trial` and trains it.
        objective: path of an objective of Optuna's, which says the ranges itself: its `tiers` are lists of names, and
            what none names comes last. It may report any number of epochs.
        command: a program with its arguments, in which `{learning_rate}` stands for that hyperparameter.
        report: regular expression that finds the metrics in a line of a command's output: each of its named groups is
            one, but for `epoch`, the number of the epoch. None for a command that reports them itself.
        test: path of a function that measures the winner on the test set: it is called once, with a `caviar.Trial`, and
            returns metrics, such as `{"rmse": 1.2}`. What it gives to `trial.keep` is restored.
        gpus: number of GPUs of one trial, 1 to 64, each with a process of its own that trains by `train`; a `command`
            has them all. 0 for one process on a device that it may share with other trials.
        metric: what is searched by, of all that a training measures in an epoch; of a model `accuracy`,
            `validation_loss`, for which `loss` is short, `training_loss`, or one of its `metrics`. The value of a trial
            is the last one that was measured. Of an objective it is called `value`, unless it is given another name.
        direction: `maximize` or `minimize`; may be left out where the metric's name says it: one that ends in `loss`
            is minimized, one that ends in `accuracy` maximized.
        constraints: upper bounds by the names of metrics, such as `{"latency_ms": 20}`: a trial whose last value of one
            is above its bound cannot win, and the search avoids what is like it. For a lower bound, let the training
            measure the negative.
        epochs: number of epochs of a trial that is not stopped early; 1 to 1,000,000. An objective may leave it out:
            it ends by itself, and the number only serves to show how far its trials are.
        budget: number of trials, pruned and failed ones included; each tier needs one at least, and 100,000 are most.
        until: when the search ends. `budget`: when all trials are trained. `gain < noise`: before that, when 40 more
            trials are not even at best expected to improve the winner by as much as one training differs from another
            (the standard deviation); `gain < 0.001`: by so much of the metric. It is looked at after every tenth trial
            from 20 on, but not while enqueued trials wait.
        seed: seed of the search, and of the training of each trial; 0 to 2**63 - 1.
        strategy: `tiered`, its variant without a model `classic`, or one to compare with, such as `random`; all are in
            `caviar.studies.search.strategies.STRATEGIES`. Or one of Optuna's samplers by its class, with arguments if
            need be, such as `optuna:CmaEsSampler(popsize=8)`.
        pruner: which trials are stopped early, by a name in `caviar.studies.search.pruners.PRUNERS`: `pace` stops those
            that learn at less than half the pace of the best one, `pace(free=10)` after 10 epochs at the earliest, and
            `none` none. Or one of Optuna's pruners by its class, such as `optuna:PercentilePruner(percentile=25.0)`.
        tiers: the scales of the hyperparameters by priority; one to four tiers. For an objective lists of names, or
            none.
        epoch_timeout: how long an epoch may go without a batch before the training counts as hung, and its worker is
            replaced: seconds, or a text such as `90s`, `30min`, `2h`, `1d`. None for ten times the longest epoch so
            far, but at least 5 minutes, and an hour before the first.
        trial_timeout: how long the epochs of a trial may take, in all of its workers together, before it is pruned with
            its last value; it fails where it has none. None for no limit.
        fixed: values of hyperparameters that are not searched, where they differ from the model's defaults.
        prior: trials of an earlier study, its winner first. That configuration is tried again; the model of the search
            learns from all of them, as far as this study's own trials agree with them.

    Raises:
        pydantic.ValidationError: a field is missing, unknown, or not of its type.
        DefinitionError: the fields contradict one another, or there is no such strategy or pruner.
    """

    name: str = Field(pattern=STUDY_NAME)
    model: str | None = None
    data: str | None = None
    loss: str | None = None
    metrics: Mapping[str, str] = Field(default_factory=dict)
    train: str | None = None
    objective: str | None = None
    command: str | None = None
    report: str | None = None
    test: str | None = None
    gpus: StrictInt = Field(default=0, ge=0, le=RANKS)
    metric: str = ACCURACY
    constraints: Mapping[str, FiniteFloat] = Field(default_factory=dict)
    epochs: StrictInt | None = Field(default=None, ge=1, le=EPOCHS)
    pruner: str = "pace"
    until: str = BUDGET
    tiers: tuple[Mapping[str, Scale | None], ...] = Field(default=(), max_length=4)
    fixed: Mapping[str, Value] = Field(default_factory=dict)
    epoch_timeout: _Duration = None
    trial_timeout: _Duration = None

    @model_validator(mode="before")
    @classmethod
    def _complete(cls, given: Any) -> Any:
        return with_metric(given) if isinstance(given, Mapping) else given

    def model_post_init(self, context: Any) -> None:
        try:
            check_strategy(self.strategy)
            check_pruner(self.pruner)
            check_until(self.until)
            self._check_fields()
            super().model_post_init(context)
            check_grid(self)
        except DefinitionError as error:
            raise DefinitionError(f"study '{self.name}': {error}") from None

    def _check_fields(self) -> None:
        check_way(self)
        of_model, own = self.way is Way.MODEL, self.metrics.keys()
        check_own_metrics(self.metrics)
        check_metric(self.metric, self.direction, of_model=of_model, own=own)
        check_constraints(self.constraints, of_model=of_model, own=own)
        if self.report is not None:
            check_report(self.report, [self.metric, *self.constraints])
        for name, value in self.fixed.items():
            check_value(value)
            if any(name in tier for tier in self.tiers):
                raise DefinitionError(f"'{name}' stands twice: in a tier and in fixed")

    @property
    def way(self) -> Way:
        """How a trial is trained."""
        return next(way for way in Way if getattr(self, way) is not None)

    @property
    def built_in(self) -> BuiltIn:
        """What the built-in loop trains.

        Raises:
            DefinitionError: the study has a loop of its own.
        """
        if self.model is None or self.data is None:
            raise DefinitionError(f"study '{self.name}' has a loop of its own, by {self.way}=; this needs a model=")
        return BuiltIn(self.model, self.data)

    @property
    def on_interruption(self) -> str:
        """What becomes of a trial that is interrupted, as a sentence."""
        return {
            Way.MODEL: "An interrupted trial goes on from its last checkpoint, to the last bit.",
            Way.TRAIN: "An interrupted trial goes on from what trial.keep() saves; without it, it begins again.",
            Way.OBJECTIVE: "An interrupted trial begins again, with the same values.",
            Way.COMMAND: "An interrupted trial is given its folder back; a program that does not read it begins again.",
        }[self.way]

    @property
    def has_test(self) -> bool:
        """Whether the winner may be measured on a test set: data may turn out to have none."""
        return self.way is Way.MODEL or self.test is not None

    @property
    def subject(self) -> str:
        """What is trained, in a few words that follow `trials of`: such as `mlp on digits`."""
        return f"{self.model} on {self.data}" if self.way is Way.MODEL else str(getattr(self, self.way))

    @property
    def entry(self) -> str | None:
        """The name of a model, or the path of the user's function; None for a command."""
        return self.model or self.train or self.objective

    @property
    def bounds(self) -> tuple[float, float]:
        """The lowest and the highest value that a trial can have: those of a model's metrics are known."""
        return bounds_of(self.metric, usual_loss=self.loss is None) if self.way is Way.MODEL else super().bounds

    def guess(self, classes: int | None) -> float | None:
        """Return the metric of a network that guesses one of so many classes; None where nobody can say."""
        return value_of_guessing(self.metric, classes, usual_loss=self.loss is None)

    @property
    def last_epoch(self) -> int:
        """The number of the last epoch that a trial may have."""
        return EPOCHS if self.epochs is None else self.epochs

    def planned_epochs(self, trials: int) -> int | None:
        """Return the epochs of so many trials that are not stopped early; None if nobody knows them before."""
        return None if self.epochs is None else trials * self.epochs

    def is_possible(self, value: float) -> bool:
        """Return whether a trial can have that value of the metric."""
        low, high = self.bounds
        return low <= value <= high

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
        problem = first_problem(error, Study.model_fields)
        raise DefinitionError(f"study '{body.get('name', '?')}': {problem}") from None
