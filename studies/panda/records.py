"""The journal of a panda as frozen records: its days, what was changed and why, their curves, and what these show.

`caviar.studies.results.formatting.to_json` makes the document of `caviar panda log --json` from them, key for key.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from caviar.epoch import Epoch
from caviar.storage.pandas import Origin
from caviar.storage.states import EventKind, SlotState
from caviar.studies.panda.advice import Advice, Verdict
from caviar.studies.panda.length import DayLength

Curve = Literal["curve", "training_loss", "validation_loss"]  # the fields of a day that hold a value for each epoch


@dataclass(frozen=True)
class DayEpoch:
    """An event of a training: an epoch of a day, or of a candidate for the next day, is trained."""

    day: int
    is_candidate: bool
    epoch: Epoch


@dataclass(frozen=True)
class Nudge:
    """A change of settings that somebody asked for: what, why, by whom (`user@host`) and when."""

    settings: Mapping[str, Any]
    why: str | None
    by: str
    at: datetime


@dataclass(frozen=True)
class TakenNudge(Nudge):
    """A nudge that took effect after an epoch; `began_with_it` if the day did, instead of its middle."""

    epoch: int
    began_with_it: bool


@dataclass(frozen=True)
class Remark:
    """A person's note on a day; or the fact that somebody went back to its end from day `came_from`, or picked it."""

    kind: EventKind
    at: datetime
    by: str
    text: str | None = None
    came_from: int | None = None

    def __str__(self) -> str:
        """Return the remark in words."""
        if self.kind == EventKind.PICKED:
            return "picked: the next day builds on it"
        return self.text if self.text is not None else f"went back here from day {self.came_from}"

    def json_fields(self) -> dict[str, object]:
        """Return the fields of this kind of remark."""
        return {name: value for name, value in vars(self).items() if value is not None}


@dataclass(frozen=True)
class JournalDay:
    """One day of a panda's life.

    Attributes:
        day: its number; 0 is the birth, which is measured and not trained.
        parent: the day that it builds on; None for the birth.
        look: whether it is a short candidate for the next day.
        branch: the number of its branch; 0 is the current one.
        saved: whether its last state is kept, so that one can go back to its end.
        begins_at, epoch: the epoch that it builds on, and its last epoch so far.
        changed: the settings that it began with and the day before did not end with.
        curve: the study's metric on the validation set, by epoch; None where it is not finite.
        training_loss, validation_loss: the mean cross-entropy, in nats, likewise.
    """

    day: int
    parent: int | None
    look: bool
    state: SlotState
    branch: int
    current: bool
    saved: bool
    began: datetime | None
    begins_at: int
    epoch: int
    settings: Mapping[str, Any]
    changed: Mapping[str, Any]
    ended_with: Mapping[str, Any]
    why: str | None
    nudges: tuple[TakenNudge, ...]
    epochs: tuple[int, ...]
    curve: tuple[float | None, ...]
    training_loss: tuple[float | None, ...]
    validation_loss: tuple[float | None, ...]
    seconds: float
    verdict: Verdict
    notes: tuple[Remark, ...]

    def values(self, curve: Curve) -> tuple[float | None, ...]:
        """Return one of the day's curves."""
        values: tuple[float | None, ...] = getattr(self, curve)
        return values

    def last(self, curve: Curve) -> float | None:
        """Return the last value of a curve; None where there is none, or where it is not finite."""
        values = self.values(curve)
        return values[-1] if values else None

    @property
    def kind(self) -> str:
        """`day`, or `look` for a candidate."""
        return "look" if self.look else "day"

    @property
    def finite_curve(self) -> list[float]:
        """The values of the metric without those that are not finite."""
        return [value for value in self.curve if value is not None]


@dataclass(frozen=True)
class BestEpoch:
    """The best epoch of all branches, by the study's metric on the validation set."""

    day: int
    epoch: int
    value: float


@dataclass(frozen=True)
class Journal:
    """The life of a panda.

    Attributes:
        origin: the trial that its weights come from; None if it began anew.
        head: the day that the next one builds on.
        branch: the days of the current branch, from the birth on.
        trains: the process that trains it now, as `host:pid (device)`; None if none does.
        waiting, dropped: nudges that take effect with the next epoch, and those that never did, by going back.
        advice: what to do next; None in the middle of a day, after the birth, and while nudges wait.
        best: the best epoch of all branches; None before the first.
    """

    name: str
    subject: str  # what is trained, such as `mlp on digits`
    model: str | None  # None where a loop of its own trains, as is `data`
    data: str | None
    metric: str
    direction: str
    day: DayLength
    origin: Origin | None
    head: int
    branch: tuple[int, ...]
    trains: str | None
    waiting: tuple[Nudge, ...]
    dropped: tuple[Nudge, ...]
    days: tuple[JournalDay, ...]
    advice: Advice | None
    best: BestEpoch | None

    @property
    def last_day(self) -> JournalDay:
        """The day that the next one builds on."""
        return self.days[self.head]
