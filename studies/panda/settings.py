"""The settings that a panda is trained with in each epoch, and the changes of them that are allowed while it lives."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from caviar.storage.nudges import NudgeRecord
from caviar.storage.pandas import DayRecord, Life
from caviar.storage.states import NudgeState
from caviar.studies.definition import Study
from caviar.studies.errors import OptionError
from caviar.studies.space.base import Value
from caviar.studies.way import Way
from caviar.suggestions import did_you_mean

# Changes of these leave the shape of the network, and the optimizer's memory, as they are.
NUDGEABLE = (
    "learning_rate", "momentum", "batch_size", "decay", "dropout", "weight_decay", "beta1", "beta2", "epsilon",
)  # fmt: skip
_FLOATS = {*NUDGEABLE} - {"batch_size"}
OF_THE_RATE = {"learning_rate", "decay"}


@dataclass(frozen=True)
class EpochSettings:
    """The settings of one epoch, and the epoch from which the decay of the learning rate is counted."""

    settings: Mapping[str, Any]
    decay_from: int


def settings_after(day: DayRecord, nudges: Sequence[NudgeRecord], epoch: int) -> EpochSettings:
    """Return the settings of the epoch that follows `epoch` in a day.

    They depend on the database's rows alone, so that an epoch that is trained again after its process was killed has
    the same settings. Candidates ignore nudges, and a day ignores those of other days.
    """
    now = EpochSettings(day.settings, day.decay_from)
    for nudge in nudges:
        if nudge.day == day.number and nudge.epoch is not None and nudge.epoch <= epoch and not day.is_look:
            now = change_settings(now, nudge.settings, nudge.epoch)
    return now


def next_settings(life: Life) -> EpochSettings:
    """Return the settings of a panda's next day: those of the end of the last one, with the nudges that wait."""
    head = life.days[life.panda.head]
    now = settings_after(head, life.nudges, head.epoch)
    for nudge in life.nudges:
        if nudge.state == NudgeState.WAITING:
            now = change_settings(now, nudge.settings, head.epoch)
    return now


def change_settings(now: EpochSettings, settings: Mapping[str, Any], epoch: int) -> EpochSettings:
    """Return settings as changed after an epoch. A learning rate that is set by hand decays from there."""
    sets_rate = bool(OF_THE_RATE & settings.keys())
    return EpochSettings({**now.settings, **settings}, epoch if sets_rate else now.decay_from)


def check_names(study: Study, settings: Mapping[str, Value], *, is_born: bool = True) -> dict[str, Value]:
    """Check the names and types of settings, and return them with numbers in the type that the training takes.

    Args:
        is_born: whether the model is there already, so that its shape cannot be changed. A function of the user's own
            decides itself what it does with a change: any of its study's hyperparameters may be changed.

    Raises:
        OptionError: a name is not allowed, or a numeric setting has a value that is no finite number.
    """
    if study.way is not Way.MODEL:
        return _of_own(study, settings)
    allowed = NUDGEABLE if is_born else None
    checked: dict[str, Value] = {}
    for name, value in settings.items():
        if allowed is not None and name not in allowed:
            raise OptionError(
                f"'{name}' cannot be changed while a model is trained, since its network or its optimizer would be "
                f"another; what can: {', '.join(allowed)}"
            )
        if name in NUDGEABLE and (isinstance(value, str | bool) or not math.isfinite(value)):
            raise OptionError(f"{name} must be a number; given '{value}'")
        checked[name] = float(value) if name in _FLOATS else value
    return checked


def _of_own(study: Study, settings: Mapping[str, Value]) -> dict[str, Value]:
    known: dict[str, Value] = {name: scale.default for name, scale in study.scales().items()} | dict(study.fixed)
    for name, value in settings.items():
        if name not in known:
            raise OptionError(
                f"'{name}' is no hyperparameter of '{study.name}'; {did_you_mean(name, known)}it has: "
                f"{', '.join(known)}"
            )
        if isinstance(known[name], int | float) and isinstance(value, str | bool):
            raise OptionError(f"{name} must be a number; given '{value}'")
    return {n: float(v) if isinstance(known[n], float) and not isinstance(v, str) else v for n, v in settings.items()}
