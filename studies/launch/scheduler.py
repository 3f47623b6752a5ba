"""What Caviar asks of a scheduler, and the words in which it answers."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

from caviar.studies.errors import LaunchFailed, OptionError
from caviar.studies.launch.request import LaunchRequest
from caviar.text import one_line

if TYPE_CHECKING:
    from sqlalchemy.engine import URL

_SECONDS = 120  # that a scheduler's command may take: a busy one answers late


class SchedulerKind(StrEnum):
    """The schedulers that workers can be put on."""

    SLURM = "slurm"
    KUBERNETES = "kubernetes"
    RAY = "ray"


@dataclass(frozen=True)
class Task:
    """A task of a scheduler that runs, or is to run, one command `caviar join`.

    Attributes:
        name: as the scheduler's own commands take it.
        state: in the scheduler's own word, such as PENDING.
        node: the machine, where it has one.
        reason: why it waits or ended, where the scheduler says so.
    """

    name: str
    state: str
    node: str = ""
    reason: str = ""


class Scheduler(Protocol):
    """A scheduler at a site."""

    def check_database(self, url: URL) -> None:
        """Check that workers there would come to a database.

        Args:
            url: its address, as this machine has it.

        Raises:
            OptionError: they would not, or the way there would show a password.
        """
        ...

    def text(self, request: LaunchRequest) -> str:
        """Return what is submitted: a script, a manifest or a program.

        Raises:
            OptionError: the scheduler, or the site's settings, cannot give what is asked for.
        """
        ...

    def by_hand(self) -> str:
        """Return the command that takes the text from its standard input and submits it."""
        ...

    def submit(self, request: LaunchRequest) -> str:
        """Submit a request; return the job's name, by which the scheduler knows it.

        Raises:
            LaunchFailed: the scheduler refuses it, or is not here.
        """
        ...

    def tasks(self, job: str) -> tuple[Task, ...]:
        """Return the tasks of a job that wait or run; none once it has ended.

        Raises:
            LaunchFailed: the scheduler does not answer, or the name cannot be one of its jobs.
        """
        ...

    def output(self, study: str, job: str) -> str:
        """Return where one can read what a job's workers printed, such as why they ended: files, or a command."""
        ...

    def stop(self, job: str) -> None:
        """End a job: its workers finish their epoch within the grace, and give their trials back.

        Raises:
            LaunchFailed: the scheduler refuses it, or the name cannot be one of its jobs.
        """
        ...


def call(words: Sequence[str], given: str = "", name: str = "") -> str:
    """Return what a command of a scheduler prints.

    Args:
        words: the program and its arguments.
        given: what it reads from its standard input.
        name: what a message calls it; the program's name, if it is empty.

    Raises:
        OptionError: there is no such program here.
        LaunchFailed: it fails, or takes longer than two minutes.
    """
    if shutil.which(words[0]) is None:
        raise OptionError(f"there is no command {words[0]} here: give this on a machine that can submit jobs; "
                          f"caviar launch STUDY --dry-run prints, anywhere, what can be submitted by hand")  # fmt: skip
    try:
        done = subprocess.run(words, input=given, capture_output=True, text=True, timeout=_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        raise LaunchFailed(f"{name or words[0]} did not answer for {_SECONDS} s; try again later") from None
    if done.returncode:
        why = one_line(done.stderr or done.stdout) or f"exit code {done.returncode}"
        raise LaunchFailed(f"{name or words[0]} failed: {why}")
    return done.stdout
