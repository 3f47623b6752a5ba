"""The metric of a study: the names that it may have, which direction is better, and the values that it can have.

So much of a metric's meaning is in its name, and it is known here alone.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from caviar.epoch import ACCURACY, BUILT_IN, TRAINING_LOSS, VALIDATION_LOSS, in_order, is_loss
from caviar.limits import NAME, TEXT
from caviar.models.errors import BadMeasure
from caviar.models.metric_calls import parse_metric
from caviar.studies.errors import DefinitionError
from caviar.suggestions import did_you_mean
from caviar.text import flaw, quoted, shown

OF_A_MODEL = (ACCURACY, VALIDATION_LOSS, TRAINING_LOSS)  # that Caviar's own loop can be searched by
OF_A_TEST = (ACCURACY, "loss")  # what is measured on the test set of a model
DIVERGED, OUT_OF_MEMORY = "diverged", "out_of_memory"
NO_RESULT = (DIVERGED, OUT_OF_MEMORY)  # the constraints that are no metrics
VALUE = "value"  # of an objective, unless it is given another name
_ALIAS = "loss"  # of the validation loss, in a study of a model
_TRAINING, _VALIDATION = (TRAINING_LOSS, "train_loss", "loss"), (VALIDATION_LOSS, "val_loss", "valid_loss", "eval_loss")
_CERTAIN = (*OF_A_MODEL, _ALIAS)  # names whose direction is beyond doubt


def with_metric(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a definition with its metric's full name, and with the direction that the name says.

    Raises:
        DefinitionError: no direction is given, and the name does not say one.
    """
    metric = fields.get("metric", ACCURACY if fields.get("objective") is None else VALUE)
    if metric == _ALIAS and fields.get("model") is not None:
        metric = VALIDATION_LOSS
    named = {**fields, "metric": metric}
    if isinstance(metric, str) and "direction" not in fields:
        named["direction"] = direction_of(metric)
        if named["direction"] is None:
            raise DefinitionError(
                f"study {quoted(fields.get('name', '?'))}: the name of the metric '{shown(metric)}' does not say what "
                f"is better: give direction='minimize' or direction='maximize'"
            )
    return named


def direction_of(metric: str) -> str | None:
    """Return which direction is better, by the name: a loss is minimized, an accuracy maximized; else None.

    Example:
        >>> direction_of("validation_loss"), direction_of("top5_accuracy"), direction_of("rmse")
        ('minimize', 'maximize', None)
    """
    if is_loss(metric):
        return "minimize"
    return "maximize" if metric.lower().endswith("accuracy") else None


def check_metric(metric: str, direction: str, *, of_model: bool, own: Collection[str] = ()) -> None:
    """Check the metric of a study; `of_model` says whether Caviar's own loop measures it, and `own` are those that the
    study gives to that loop.

    Raises:
        DefinitionError: it has no name, one that cannot be shown, or one that the loop does not measure; or its name
            contradicts its direction.
    """
    if not metric.strip():
        raise DefinitionError("the metric has no name; give the name of what the training measures")
    if why := flaw(metric, NAME):
        raise DefinitionError(f"the name of the metric '{shown(metric)}' {why}")
    known = (*OF_A_MODEL, *own)
    if of_model and metric not in known:
        raise DefinitionError(
            f"a model's training does not measure '{shown(metric)}'; metric can be {', '.join(known)}, or what metrics "
            f"names, as in metrics={{'rmse': 'my_data:rmse'}}"
        )
    if metric in _CERTAIN and direction != (right := direction_of(metric)):
        raise DefinitionError(f"{metric} is something to {right}, not to {direction}")


def check_report(report: str, needed: Iterable[str]) -> None:
    """Check the regular expression that finds the metrics in a command's output.

    Args:
        needed: the study's metric, and those of its constraints.

    Raises:
        DefinitionError: it is none, or has no group for a metric that is needed.
    """
    if why := flaw(report, TEXT):
        raise DefinitionError(f"the expression of report= {why}")
    try:
        groups = re.compile(report).groupindex
    except (re.error, RecursionError, OverflowError) as error:
        raise DefinitionError(f"report= is no regular expression: {error}; given '{shown(report)}'") from None
    for metric in needed:
        if metric not in groups:
            there = ", ".join(map(shown, groups)) or "none"
            group = f"(?P<{metric}>\\S+)" if metric.isidentifier() else "which no group can be called"
            near = did_you_mean(metric, groups)
            raise DefinitionError(f"report= has no group for {shown(metric)}, {group}; {near}its named groups: {there}")


def check_constraints(bounds: Mapping[str, float], *, of_model: bool, own: Collection[str] = ()) -> None:
    """Check the constraints of a study, which are bounds by the names of metrics; the rest is as for `check_metric`.

    Raises:
        DefinitionError: a name cannot be shown, is one that Caviar gives to trials without a result, or is of no
            metric that a model's training measures.
    """
    for name in bounds:
        if why := "is empty" if not name.strip() else flaw(name, NAME):
            raise DefinitionError(f"the name of the constraint '{shown(name)}' {why}")
        if name in NO_RESULT:
            raise DefinitionError(f"'{name}' is the constraint of trials that end like that; call the metric otherwise")
        if of_model and name not in (*BUILT_IN, *own):
            raise DefinitionError(
                f"a model's training does not measure '{shown(name)}'; constraints can be of "
                f"{', '.join((*BUILT_IN, *own))}"
            )


def check_own_metrics(metrics: Mapping[str, str]) -> None:
    """Check the metrics that a study gives to Caviar's own loop.

    Raises:
        DefinitionError: a name cannot be shown or is taken, or there is no such function.
    """
    for name, function in metrics.items():
        if why := "is empty" if not name.strip() else flaw(name, NAME):
            raise DefinitionError(f"the name of the metric '{shown(name)}' {why}")
        if name in (*BUILT_IN, _ALIAS):
            raise DefinitionError(f"'{name}' is what a model's training measures by itself; call the metric otherwise")
        try:
            parse_metric(function)
        except BadMeasure as error:
            raise DefinitionError(f"the metric '{name}': {error}") from error


def of_missing(missing: Sequence[str], measured: Collection[str], verb: str) -> str:
    """Return metrics that are missing, what they may be called, and what there is, as the end of a sentence.

    Example:
        >>> of_missing(["val_los"], ["loss", "val_loss"], "it measured")
        'val_los; did you mean val_loss? it measured loss, val_loss'
    """
    near = "".join(did_you_mean(name, measured, limit=1) for name in missing)
    there = ", ".join(map(shown, in_order(measured))) or "nothing"
    return f"{', '.join(map(shown, missing))}; {near}{verb} {there}"


def pair_of_losses(measured: Collection[str]) -> tuple[str, str] | None:
    """Return the names of a training loss and of a validation loss among metrics, as common libraries call them; None
    where not both are there."""
    training = next((name for name in _TRAINING if name in measured), None)
    validation = next((name for name in _VALIDATION if name in measured), None)
    return (training, validation) if training and validation else None


def bounds_of(metric: str, *, usual_loss: bool = True) -> tuple[float, float]:
    """Return the lowest and the highest value that a metric of Caviar's own loop can have.

    Args:
        usual_loss: whether the loss is that of the loop; nothing is known of another one.
    """
    if metric == ACCURACY:
        return 0.0, 1.0
    return (0.0 if metric in OF_A_MODEL and usual_loss else -math.inf), math.inf


def value_of_guessing(metric: str, classes: int | None, *, usual_loss: bool = True) -> float | None:
    """Return a metric of Caviar's own loop where a network guesses one of so many classes; None if nobody can say.

    Args:
        usual_loss: as for `bounds_of`.
    """
    if classes is None or metric not in OF_A_MODEL:
        return None
    if metric == ACCURACY:
        return 1 / classes
    return math.log(classes) if usual_loss else None


def worst_of(values: Iterable[float], *, maximize: bool) -> float:
    """Return the worst of some values. Of none, it is infinite, which the search takes for as bad as the worst that it
    will know."""
    return min(values, default=-math.inf) if maximize else max(values, default=math.inf)
