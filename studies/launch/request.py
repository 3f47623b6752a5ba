"""What a launch asks a scheduler for: how many workers, and what each of them has."""

from __future__ import annotations

import math
import re
import shlex
from dataclasses import dataclass
from typing import ClassVar

from caviar.limits import DURATION, LAUNCHED, SECONDS, WORKERS
from caviar.storage.timing import GRACE
from caviar.studies.errors import OptionError

_MARGIN = 40  # seconds after the grace in which a worker writes its state, and its processes end


@dataclass(frozen=True)
class LaunchRequest:
    """A number of identical workers for a study.

    Attributes:
        study: its name in the database.
        workers: tasks of the scheduler, 1 to 10,000; each is one command `caviar join`.
        gpus: GPUs of each, 0 for one worker process on the CPU. Ray takes a part of one, such as 0.5.
        workers_per_gpu: worker processes on each GPU of a task.
        seconds: how long a task may take before the scheduler ends it; None for as long as the site allows.
        grace: seconds that the current epoch may take after a signal to stop.
        options: more options of `caviar join`, such as ("--epoch-timeout", "1h").

    Raises:
        OptionError: a number is out of its range.
    """

    LEAST_SECONDS: ClassVar[float] = 120.0  # of a task: less would not outlast the grace

    study: str
    workers: int = 1
    gpus: float = 0
    workers_per_gpu: int = 1
    seconds: float | None = None
    grace: float = GRACE
    options: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not 1 <= self.workers <= LAUNCHED:
            raise OptionError(f"--workers {self.workers:,}: give 1 to {LAUNCHED:,}")
        if not (0 <= self.gpus < 1 or (1 <= self.gpus <= WORKERS and self.gpus % 1 == 0)):
            raise OptionError(f"--gpus-per-worker {self.gpus:g}: give 0 to {WORKERS}, or a part of one, such as 0.5")
        if not 1 <= self.workers_per_gpu <= WORKERS:
            raise OptionError(f"--workers-per-gpu {self.workers_per_gpu}: give 1 to {WORKERS}")
        if self.workers_per_gpu > 1 and self.gpus < 1:
            raise OptionError(f"--workers-per-gpu {self.workers_per_gpu}: give --gpus-per-worker 1 or more with it")
        if not 0 <= self.grace <= SECONDS:
            raise OptionError(f"--grace {self.grace:g}: give 0 to {SECONDS:g} seconds")
        if self.seconds is not None and not self.least_seconds <= self.seconds <= DURATION:
            raise OptionError(f"--time: give {self.least_seconds:.0f}s to 365d: a worker has to leave in it")

    @property
    def least_seconds(self) -> float:
        """The shortest time of a task, in seconds: as long again as it takes to leave."""
        return max(self.LEAST_SECONDS, 2 * self.leaving_seconds)

    @property
    def leaving_seconds(self) -> int:
        """How long before a task's end a worker has to hear of it, in seconds."""
        return math.ceil(self.grace) + _MARGIN

    @property
    def whole_gpus(self) -> int:
        """The GPUs of each task, for a scheduler that gives whole ones.

        Raises:
            OptionError: a part of one is asked for.
        """
        if self.gpus % 1:
            raise OptionError(f"--gpus-per-worker {self.gpus:g}: only Ray shares a GPU among tasks; give 0, 1 or more, "
                              f"and --workers-per-gpu 2 for two workers on each")  # fmt: skip
        return int(self.gpus)

    @property
    def arguments(self) -> list[str]:
        """The arguments of the command caviar in each task."""
        words = ["join", self.study, "--restartable"]
        words += ["--gpus", "all"] if self.gpus else ["--gpus", "none", "--workers", "1"]
        words += ["--workers-per-gpu", str(self.workers_per_gpu)] if self.workers_per_gpu > 1 else []
        words += ["--grace", f"{self.grace:g}"] if self.grace != GRACE else []
        return [*words, *self.options]

    def command(self, caviar: str = "caviar") -> str:
        """Return the command of each task, for a shell."""
        return f"{caviar} {shlex.join(self.arguments)}"

    @property
    def label(self) -> str:
        """A name for what is submitted, which Kubernetes takes too: lower case, digits and dashes, at most 40."""
        return f"caviar-{re.sub('[^a-z0-9]+', '-', self.study.lower())}"[:40].strip("-")
