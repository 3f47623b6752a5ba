"""Check that a panda can be trained with some settings, before anybody waits for it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from caviar.studies.definition import Study
from caviar.studies.errors import OptionError
from caviar.studies.space.base import Value
from caviar.studies.workers.trial.build import check_values


def check_settings(study: Study, settings: Mapping[str, Value], changed: Iterable[str] = ()) -> None:
    """Check that a model can be trained with settings, and that each is within its range in the study.

    Args:
        study: the definition, whose scales give the ranges.
        settings: all of the model's hyperparameters, by name.
        changed: the names that are given by hand, which must have an effect.

    Raises:
        OptionError: a value is out of its range.
        DefinitionError: the model or its training refuses a value, or a changed setting has no effect.
    """
    scales = study.scales()
    for name, value in settings.items():
        if name in scales and not scales[name].accepts(value):
            raise OptionError(f"{name} {value} is out of its range in this study: {scales[name]}")
    check_values(study, settings, changed)
