"""How the training of a study gets in, and what a definition has to say about it."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from caviar.limits import TEXT
from caviar.studies.errors import DefinitionError
from caviar.text import flaw, shown

if TYPE_CHECKING:
    from caviar.studies.definition import Study

_PATH = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*")  # package.module:name
NO_PRIOR = (
    "an objective= cannot begin with the results of an earlier study, whose ranges may be others; go on with that "
    "study and a larger budget: caviar extend"
)


class Way(StrEnum):
    """How the training of a study gets in: the field of `Study` that names it."""

    MODEL = "model"  # a network, trained by the built-in loop
    TRAIN = "train"  # a function of a `caviar.Trial`, with a loop of its own
    OBJECTIVE = "objective"  # an objective of Optuna's, unchanged
    COMMAND = "command"  # a program in any language


class BuiltIn(NamedTuple):
    """What the built-in loop trains: the names of a model and of a data set."""

    model: str
    data: str


def check_way(study: Study) -> None:
    """Check that one field says how a trial is trained, and that those stand with it which it needs.

    Raises:
        DefinitionError: they contradict one another, or one is missing.
    """
    given = [way for way in Way if getattr(study, way) is not None]
    if len(given) != 1:
        raise DefinitionError(
            f"give one of {', '.join(Way)}, which say how a trial is trained; given: {', '.join(given) or 'none'}"
        )
    if (study.way is Way.MODEL) != (study.data is not None):
        raise DefinitionError(
            'the data of a model have to be named: data="digits"'
            if study.way is Way.MODEL
            else f"data is for a model= that the built-in loop trains; {study.way} brings data of its own"
        )
    for name in ("loss", "metrics"):
        if getattr(study, name) and study.way is not Way.MODEL:
            raise DefinitionError(
                f"{name} is for a model= that the built-in loop trains; {study.way} has a loop of its own"
            )
    for name in ("loss", Way.TRAIN, Way.OBJECTIVE, "test"):
        path = getattr(study, name)
        if path is not None and not _PATH.fullmatch(path):
            raise DefinitionError(f"{name} is '{shown(path)}'; give the path of a function, package.module:function")
    if study.command is not None and (why := flaw(study.command, TEXT, allowed="\n\t")):
        raise DefinitionError(f"the command {why}")
    if study.report is not None and study.command is None:
        raise DefinitionError(f"report is for a command=, not for {study.way}=")
    if study.test is not None and study.way is not Way.TRAIN:
        raise DefinitionError(f"test is for a train= function, not for {study.way}=")
    if study.gpus and study.way not in (Way.TRAIN, Way.COMMAND):
        raise DefinitionError(f"gpus is for a train= function or a command=, not for {study.way}=")
    if study.way is Way.OBJECTIVE:
        _check_objective(study)
    else:
        _check_ranges(study)


def _check_ranges(study: Study) -> None:
    """Check that the definition says what an objective says itself."""
    if not study.tiers:
        raise DefinitionError("tiers: give 1 or more; given ()")
    if any(None in tier.values() for tier in study.tiers):
        raise DefinitionError(
            f"tiers has names without scales; give each a scale, such as Log(1e-4, 1, default=0.1): only an "
            f"objective= says the ranges itself, not a {study.way}="
        )
    if study.epochs is None:
        raise DefinitionError("epochs: it is missing")


def _check_objective(study: Study) -> None:
    """Check that nothing is given that an objective says itself."""
    if not study.by_trials:
        raise DefinitionError(
            "an objective says the ranges itself; give tiers as lists of names, such as [['lr'], ['units']]"
        )
    if study.fixed:
        raise DefinitionError("fixed is not for an objective=, which sets what is not searched in its own code")
    if study.prior:
        raise DefinitionError(NO_PRIOR)
    if study.constraints:
        raise DefinitionError("constraints is not for an objective=; call trial.set_constraint(...) in it")
    if study.strategy == "grid":
        raise DefinitionError(
            "the strategy grid needs the ranges before the first trial, and an objective= says them in its trials; "
            "take another strategy"
        )
