"""What may be changed of a model while it is trained, and what it was after any epoch of its life."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from caviar.storage.nudges import NudgeRecord
from caviar.storage.pandas import DayRecord, Life
from caviar.studies.errors import OptionError
from caviar.studies.space.base import Value

# What leaves the shape of the network, and what the optimizer remembers, as they are.
NUDGEABLE = (
    "learning_rate", "momentum", "batch_size", "decay", "dropout", "weight_decay", "beta1", "beta2", "epsilon",
)  # fmt: skip
_FLOATS = {*NUDGEABLE} - {"batch_size"}
OF_THE_RATE = {"learning_rate", "decay"}


@dataclass(frozen=True)
class Now:
    """What a model is trained with after an epoch. The decay of α is counted from epoch `decay_from`."""

    settings: Mapping[str, Any]
    decay_from: int


def settings_at(day: DayRecord, nudges: Sequence[NudgeRecord], epoch: int) -> Now:
    """Return what the epoch after `epoch` of a day is trained with.

    A function of what is written alone: an epoch that is trained again, after its process was killed, is the same.

    Args:
        nudges: in their order; those of other days are passed over, and looks take none.
    """
    now = Now(day.settings, day.decay_from)
    for nudge in nudges:
        if nudge.day == day.number and nudge.epoch is not None and nudge.epoch <= epoch and not day.is_look:
            now = changed(now, nudge.settings, nudge.epoch)
    return now


def changed(now: Now, settings: Mapping[str, Any], epoch: int) -> Now:
    """Return what a model is trained with once settings are changed after an epoch: a learning rate holds from then on,
    and its decay is counted from there."""
    of_the_rate = bool(OF_THE_RATE & settings.keys())
    return Now({**now.settings, **settings}, epoch if of_the_rate else now.decay_from)


def at_the_end_of(life: Life, number: int) -> Now:
    """Return what a day ended with."""
    day = life.days[number]
    return settings_at(day, life.nudges, day.epoch)


def with_waiting(life: Life, now: Now, epoch: int) -> Now:
    """Return settings with what waits, for a day that begins after `epoch`."""
    for nudge in life.nudges:
        if nudge.state == "waiting":
            now = changed(now, nudge.settings, epoch)
    return now


def read_settings(given: Sequence[str], allowed: Sequence[str] | None = None) -> dict[str, Value]:
    """Read `name=value` words.

    Args:
        allowed: names; None for any.

    Raises:
        OptionError: a word is of another form, or its name is not allowed.
    """
    found = {}
    for word in given:
        name, equals, value = word.partition("=")
        if not equals or not name or not value:
            raise OptionError(f"'{word}' is no setting; give name=value, such as learning_rate=0.01")
        if allowed is not None and name not in allowed:
            raise OptionError(
                f"'{name}' cannot be changed while a model is trained, since its network or its optimizer would be "
                f"another; what can: {', '.join(allowed)}"
            )
        if name in found:
            raise OptionError(f"'{name}' stands twice; give one value")
        found[name] = _value(name, value)
    return found


def _value(name: str, text: str) -> Value:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        if name in NUDGEABLE:
            raise OptionError(f"{name} must be a number; given '{text}'")
        return text
    return int(number) if number.is_integer() and name not in _FLOATS and "." not in text else number
