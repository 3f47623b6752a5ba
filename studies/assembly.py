"""Where hyperparameters become a network and its training, and where a definition is checked against both."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from difflib import get_close_matches
from functools import partial
from typing import TYPE_CHECKING, Any

from models.optim import OPTIMIZERS, SETTINGS, Settings
from models.registry import hyperparameters, model_class
from models.seeding import derive
from models.training import Training
from studies.definition import Study
from studies.errors import BadDefinition
from studies.space import Value

if TYPE_CHECKING:
    from models.data import Data

_ONLY_FOR = {"momentum": "sgd", "beta1": "adam", "beta2": "adam", "epsilon": "adam"}


def check(study: Study) -> None:
    """Check that the study's model and its training know every hyperparameter that the study names.

    Raises:
        models.errors.UnknownModel: there is no such model.
        BadDefinition: a hyperparameter is unknown, or has no effect with this optimizer.
    """
    of_model = hyperparameters(study.model)
    known = [*SETTINGS, *of_model]
    optimizer = study.fixed.get("optimizer", SETTINGS["optimizer"])
    if optimizer not in OPTIMIZERS:
        raise BadDefinition(f"study '{study.name}': no optimizer '{optimizer}'; there are: {', '.join(OPTIMIZERS)}")
    for name in [*study.scales(), *study.fixed]:
        if name not in known:
            near = get_close_matches(name, known, n=3)
            raise BadDefinition(
                f"study '{study.name}': model '{study.model}' has no hyperparameter '{name}'; "
                f"{'did you mean ' + ' or '.join(near) + '? ' if near else ''}"
                f"of the model: {', '.join(of_model)}; of its training: {', '.join(SETTINGS)}"
            )
        if _ONLY_FOR.get(name, optimizer) != optimizer:
            raise BadDefinition(
                f"study '{study.name}': '{name}' has no effect with the optimizer '{optimizer}'; "
                f"leave it out, or fix optimizer to '{_ONLY_FOR[name]}'"
            )


def assemble(
    study: Study, number: int, values: Mapping[str, Value], data: Data, state: Mapping[str, Any] | None = None
) -> Training:
    """Return the training of a trial, which depends on the study's seed and the trial's number alone.

    Args:
        number: of the trial.
        values: of the hyperparameters that are searched.
        state: a checkpoint to go on from.

    Raises:
        models.errors.BadCheckpoint: `state` does not fit.
    """
    everything = {**study.fixed, **values}
    settings = replace(Settings(), **{n: v for n, v in everything.items() if n in SETTINGS})  # type: ignore[arg-type]
    build = partial(model_class(study.model), **{n: v for n, v in everything.items() if n not in SETTINGS})
    return Training(build, settings, data, derive(study.seed, "trial", number), state)
