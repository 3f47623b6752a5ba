"""The loss and the metrics of a study: functions of the user's by their paths, or of torchmetrics by their names."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from caviar.calls import Call
from caviar.models.data import Data
from caviar.models.errors import BadMeasure
from caviar.models.functions import load_function
from caviar.models.measures import Measures, Metric, default_loss
from caviar.models.metric_calls import parse_metric
from caviar.suggestions import did_you_mean


def own_measures(loss: str | None, metrics: Mapping[str, str], data: Data) -> Measures:
    """Return what a training measures on such data.

    Args:
        loss: the path of a function; None for the usual one of such targets.
        metrics: the path of a function, or the name of one of `torchmetrics.functional`, by the metric's name.

    Raises:
        UnknownFunction, BadMeasure: there is no such function.
    """
    chosen = _function(loss) if loss is not None else default_loss(data.training.y)
    return Measures(chosen, {name: _metric(text, data.classes) for name, text in metrics.items()})


def _metric(text: str, classes: int | None) -> Metric:
    called = parse_metric(text)
    return _function(called) if isinstance(called, str) else _of_torchmetrics(called, classes)


def _function(path: str) -> Callable[..., Any]:
    function = load_function(path)
    if isinstance(function, type):
        raise BadMeasure(f"'{path}' is a class; give a function of outputs and targets")
    return function


def _of_torchmetrics(call: Call, classes: int | None) -> Metric:
    """Return a function of torchmetrics, which is told of how many classes the data are, if it asks for that."""
    try:
        from torchmetrics import functional
    except ModuleNotFoundError as error:
        raise BadMeasure(
            f"the metric '{call.name}' needs {error.name}; in Caviar's folder, run: pip install '.[torchmetrics]'"
        ) from error
    known = functional.__all__
    if call.name not in known:
        raise BadMeasure(
            f"torchmetrics.functional has no '{call.name}'; {did_you_mean(call.name, known)}for a function of your own "
            f"give its path, package.module:function"
        )
    function = getattr(functional, call.name)
    parameters = inspect.signature(function).parameters
    if unknown := next((name for name in call.arguments if name not in parameters), None):
        raise BadMeasure(f"'{call.name}' of torchmetrics has no argument '{unknown}'; it has {', '.join(parameters)}")
    of_classes = {} if classes is None else {"task": "multiclass", "num_classes": classes}
    told = {name: value for name, value in of_classes.items() if name in parameters}
    return partial(function, **{**told, **call.arguments})
