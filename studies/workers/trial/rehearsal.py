"""Try what is of the user's own in a training before anything is written: one step, and all that is measured."""

from __future__ import annotations

import sys
from contextlib import redirect_stdout

import torch
from torch import Tensor

from caviar.epoch import in_order
from caviar.foreign_code import no_exit, reason_of
from caviar.models.data import Data, Part
from caviar.models.errors import BadMeasure, ModelError
from caviar.models.training import Training, as_metrics, evaluate
from caviar.studies.definition import Study
from caviar.studies.errors import DefinitionError
from caviar.studies.workers.trial.build import assemble

_BATCH = 8  # training examples
_FEW = 256  # validation examples: a metric that they are too few for gets all


def rehearse(study: Study, data: Data) -> None:
    """Train a study's defaults for one step, and measure the network.

    Raises:
        DefinitionError: the network, the loss or a metric raises or returns what it should not, or the metric that the
            study is searched by is not measured.
    """
    defaults = {name: scale.default for name, scale in study.scales().items()}
    try:
        with redirect_stdout(sys.stderr), no_exit():
            training = assemble(study, 0, defaults, data)
            training_loss = _step(training)
            measured = as_metrics(training_loss, _measure(training), training.learning_rate())
    except ModelError as error:
        raise DefinitionError(f"study '{study.name}': {error}") from error
    except Exception as error:
        raise DefinitionError(f"study '{study.name}': the defaults cannot be trained: {reason_of(error)}") from error
    for name in (study.metric, *study.constraints):
        if name not in measured:
            raise DefinitionError(
                f"study '{study.name}': '{name}' is not measured on these data; there are: "
                f"{', '.join(in_order(measured))}"
            )


def _step(training: Training) -> float:
    part = training.data.training
    training.model.train()
    outputs, y = training.model(part.x[:_BATCH]), part.y[:_BATCH]
    if y.is_floating_point() and outputs.ndim == 1:  # (n,) and (n, 1) make (n, n) differences, without an error
        raise BadMeasure(
            f"the network returns {tuple(outputs.shape)} where the targets are {tuple(y.shape)}; drop its squeeze()"
        )
    loss = training.measures.loss(outputs, y)
    if not isinstance(loss, Tensor) or loss.ndim or not loss.is_floating_point():
        what = f"a tensor of shape {tuple(loss.shape)}" if isinstance(loss, Tensor) else f"a {type(loss).__name__}"
        raise BadMeasure(f"the loss returns {what}; return one floating-point number, such as losses.mean()")
    if not loss.requires_grad:
        raise BadMeasure("the loss has no gradient: compute it from the outputs by operations of torch alone")
    loss.backward()  # type: ignore[no-untyped-call]
    return float(loss.detach())


def _measure(training: Training) -> dict[str, float]:
    whole = training.data.validation
    few = torch.linspace(0, len(whole.y) - 1, min(_FEW, len(whole.y))).long()
    try:
        return evaluate(training.model, Part(whole.x[few], whole.y[few]), training.measures)
    except BadMeasure:
        if len(few) == len(whole.y):
            raise
        return evaluate(training.model, whole, training.measures)
