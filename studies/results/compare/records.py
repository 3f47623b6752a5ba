"""A comparison of studies as frozen records: the same for the terminal, the page and `--json`."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from caviar.studies.results.gain import Gain
from caviar.studies.results.report.records import DeviceTime
from caviar.studies.results.summaries import StudyState


@dataclass(frozen=True)
class Spent:
    """What a study had spent at some moment.

    Attributes:
        trials, epochs: of the trials that had ended.
        seconds: since its first trial began.
        device_seconds: for how long all of its devices had been busy, together, every attempt counted.
    """

    trials: int
    epochs: int
    seconds: float
    device_seconds: float


@dataclass(frozen=True)
class BestAt(Spent):
    """The best value of a study's complete trials at the moment at which one of its trials had ended."""

    value: float


@dataclass(frozen=True)
class WinnerMean:
    """The mean of many trainings of a winner.

    Attributes:
        low, high: its interval, of 95 % where it was measured, and of 90 % where it is expected; None without one.
        is_measured: whether fresh trainings measured it; else it is expected, or, without an interval, the value of one
            training.
    """

    value: float
    low: float | None
    high: float | None
    is_measured: bool


class Place(StrEnum):
    """Where the mean of a winner lies beside that of the best one."""

    LEADS = "leads"  # it is the best one
    WITHIN = "within"  # their intervals overlap: the difference may be luck
    BEHIND = "behind"  # its whole interval is worse
    OPEN = "open"  # one of the two has no interval


@dataclass(frozen=True)
class ComparedWinner:
    """The winner of a study, or its best trial so far.

    Attributes:
        value: its own value of the metric.
        test: the metric on the test set; None where it was not measured.
        behind: how much worse its mean is than the best one; 0 of the best.
    """

    trial: int
    value: float
    mean: WinnerMean
    place: Place
    behind: float
    test: float | None
    gain: Gain | None
    is_final: bool


@dataclass(frozen=True)
class ComparedStudy:
    """One of the studies that are compared.

    Attributes:
        winner: None before a trial is complete and sound.
        total: what all of its trials have cost.
        devices: the device time of `total` by kind.
        best: its best value whenever that became better, in the order of time; and at its end.
        to_common: what it had spent when it came to the common value; None where it did not.
    """

    name: str
    subject: str
    state: StudyState
    budget: int
    winner: ComparedWinner | None
    total: Spent
    devices: tuple[DeviceTime, ...]
    best: tuple[BestAt, ...]
    to_common: Spent | None


@dataclass(frozen=True)
class Difference:
    """Something that is not the same in all studies that are compared, with its value in each, in their order."""

    what: str
    values: tuple[str, ...]


@dataclass(frozen=True)
class StudyComparison:
    """Several studies of one metric beside one another.

    Attributes:
        common: the value that all studies came to: the worst of their best values; None before all have one.
        differences: what differs in their definitions, data, code and versions; nothing that is equal.
        remarks: what to bear in mind, in sentences.
    """

    metric: str
    direction: str
    studies: tuple[ComparedStudy, ...]
    common: float | None
    differences: tuple[Difference, ...]
    remarks: tuple[str, ...]

    @property
    def maximize(self) -> bool:
        """Whether a higher value is better."""
        return self.direction == "maximize"
