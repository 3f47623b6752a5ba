"""The metric of a study: the names that it may have, and which direction is better where the name says so."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from caviar.epoch import ACCURACY, TRAINING_LOSS, VALIDATION_LOSS, is_loss
from caviar.limits import NAME
from caviar.studies.errors import DefinitionError
from caviar.text import flaw, quoted, shown

OF_A_MODEL = (ACCURACY, VALIDATION_LOSS, TRAINING_LOSS)  # that Caviar's own loop can be searched by
_ALIAS = "loss"  # of the validation loss, in a study of a model
_CERTAIN = (*OF_A_MODEL, _ALIAS)  # names whose direction is beyond doubt


def with_metric(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a definition with its metric's full name, and with the direction that the name says.

    Raises:
        DefinitionError: no direction is given, and the name does not say one.
    """
    metric = fields.get("metric", ACCURACY)
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


def check_metric(metric: str, direction: str, *, of_model: bool) -> None:
    """Check the metric of a study; `of_model` says whether Caviar's own loop measures it.

    Raises:
        DefinitionError: it has no name, one that cannot be shown, or one that the loop does not measure; or its name
            contradicts its direction.
    """
    if not metric.strip():
        raise DefinitionError("the metric has no name; give the name of what the training measures")
    if why := flaw(metric, NAME):
        raise DefinitionError(f"the name of the metric '{shown(metric)}' {why}")
    if of_model and metric not in OF_A_MODEL:
        raise DefinitionError(
            f"a model's training does not measure '{shown(metric)}'; metric can be {', '.join(OF_A_MODEL)}"
        )
    if metric in _CERTAIN and direction != (right := direction_of(metric)):
        raise DefinitionError(f"{metric} is something to {right}, not to {direction}")
