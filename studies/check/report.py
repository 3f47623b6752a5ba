"""What a check of a study came to: its findings, and what the study costs on this machine."""

from __future__ import annotations

from dataclasses import dataclass

from caviar.studies.findings import Finding, Level, format_size
from caviar.studies.results.formatting import duration


@dataclass(frozen=True)
class Cost:
    """What a study costs on this machine.

    Attributes:
        epoch_seconds: of one epoch at the defaults, on one worker; the first one counts where there is no other.
        memory: bytes of one worker with the processes that it starts, Python and PyTorch included; of the GPU where
            there is one. None where that is not known.
        state: bytes of a trial's state; None where nothing is saved.
        seconds: of the whole budget, if no trial ends early, on `workers` workers; None where nobody knows how many
            epochs a trial has.
    """

    epoch_seconds: float
    memory: int | None
    state: int | None
    workers: int
    seconds: float | None


@dataclass(frozen=True)
class CheckReport:
    """What a check came to; `cost` is None if no epoch could be trained."""

    study: str
    findings: tuple[Finding, ...]
    cost: Cost | None

    @property
    def failed(self) -> bool:
        """Whether something cannot work."""
        return any(finding.level == Level.ERROR for finding in self.findings)


def describe_cost(cost: Cost) -> str:
    """Return what a study costs as a sentence."""
    state = f", a state of {format_size(cost.state)}" if cost.state is not None else ""
    memory = "" if cost.memory is None else f", with {format_size(cost.memory)} of memory"
    epoch = f"an epoch takes {duration(cost.epoch_seconds)}{memory}{state}"
    if cost.seconds is None:
        return epoch
    workers = f"{cost.workers} worker{'s' * (cost.workers != 1)} like this one"
    return f"{epoch}; the budget takes about {duration(cost.seconds)} at full length, with {workers}"
