"""Events of a run on this machine: what `supervise` and its preparation report to a callback while they work.

Each is a frozen record of facts. Nothing in this room prints: the command line turns them into sentences, a notebook
may draw them, and a caller without a callback hears nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from pathlib import Path

    from caviar.storage.snapshot import Snapshot
    from caviar.studies.definition import Study
    from caviar.studies.lifecycle.provenance import Difference


@dataclass(frozen=True)
class CheckBegan:
    """The study's model, data and training are being checked, which loads PyTorch."""

    study: Study


@dataclass(frozen=True)
class CheckEnded:
    """The check is over, however it went."""


@dataclass(frozen=True)
class DataFetched:
    """A data set was downloaded into a folder of this machine."""

    name: str
    folder: Path


@dataclass(frozen=True)
class CommandFound:
    """A command that only the database names is run in a folder of this machine."""

    command: str
    folder: Path


@dataclass(frozen=True)
class ModelFound:
    """This machine matches the study, and is about to run the code of a model that is not Caviar's own."""

    model: str
    file: Path
    owner: str  # the user to whom the file belongs


@dataclass(frozen=True)
class MachineDiffers:
    """This machine's code, data, clock or versions differ from those that the study was begun with."""

    differences: tuple[Difference, ...]


@dataclass(frozen=True)
class EarlierVersion:
    """The given definition is an earlier version of the study's, which goes on with its current one.

    Attributes:
        changes: how that differs from the given one, a sentence each.
    """

    study: str
    version: int
    changes: tuple[str, ...] = ()


@dataclass(frozen=True)
class WorkersStarted:
    """Workers of this machine are being started, one on each device, such as cpu or cuda:0."""

    study: Study
    devices: tuple[str, ...]


@dataclass(frozen=True)
class StatesNotKept:
    """The state of a trial could not be saved, for this reason: if it is interrupted, it begins again."""

    reason: str


@dataclass(frozen=True)
class WorkersEnded:
    """The workers of this machine have ended."""

    workers: int  # how many there were
    trials: int  # that they finished
    restarts: int  # workers that died and were replaced
    seconds: float  # from their start to their end


@dataclass(frozen=True)
class WinnerTrainedAgain:
    """The weights of the trial that won are not kept: it is trained once more to be measured on the test set."""

    trial: int
    epochs: int


@dataclass(frozen=True)
class TestedElsewhere:
    """This machine cannot measure the winner on the test set, for this reason; another machine will."""

    reason: str


@dataclass(frozen=True)
class TrialsFreed:
    """Unfinished trials of workers that died on this machine are open again."""

    count: int


@dataclass(frozen=True)
class WorkerDied:
    """A worker of this machine died, or was ended since its training hung; another one takes its place."""

    why: str


@dataclass(frozen=True)
class Progressed:
    """The study as it is now, about twice a second."""

    study: Study  # by the definition of this moment
    snapshot: Snapshot


@dataclass(frozen=True)
class CohortSized:
    """A worker has measured how many trials it trains as one program."""

    size: int  # 1 for one by one
    times_as_fast: float | None = None  # as training them one by one; None where that was not measured
    why: str | None = None  # what keeps the size down; None where it was measured


@dataclass(frozen=True)
class DatabaseLost:
    """The database does not answer. Workers train on; it is waited for, for at most `patience` seconds."""

    patience: float


@dataclass(frozen=True)
class DatabaseBack:
    """The database answers again, after so many seconds."""

    seconds: float


@dataclass(frozen=True)
class ServerNotice:
    """A sentence of the built-in database server, which is being started again."""

    text: str


@dataclass(frozen=True)
class NoTimeLeft:
    """No further trial begins here: one is expected to take `expected` seconds, and `left` are left."""

    expected: float
    left: float


@dataclass(frozen=True)
class Stopping:
    """This process was asked to stop: each worker has `grace` seconds to finish its epoch."""

    grace: float


RunEvent: TypeAlias = (
    CheckBegan | CheckEnded | DataFetched | CommandFound | ModelFound | MachineDiffers | EarlierVersion | WorkersStarted
    | TrialsFreed | WorkerDied | Progressed | CohortSized | DatabaseLost | DatabaseBack | ServerNotice | Stopping
    | WorkersEnded | StatesNotKept | WinnerTrainedAgain | TestedElsewhere | NoTimeLeft
)  # fmt: skip
Listener: TypeAlias = Callable[[RunEvent], None]


def ignore(event: object) -> None:
    """Listen to nothing: the callback of a caller that gives none."""
