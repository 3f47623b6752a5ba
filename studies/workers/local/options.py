"""What a worker process is to do: small enough to hand over, without a password in any argument list."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from caviar.storage.outage import PATIENCE
from caviar.storage.settings import Settings
from caviar.studies.errors import OptionError
from caviar.studies.workers.local.signals import GRACE

LEASE, RENEW = 60.0, 15.0  # seconds


@dataclass(frozen=True)
class WorkerOptions:
    """Attributes:
        lease_seconds: how long a lease lasts without being renewed; then any other worker takes the slot over.
        renew_seconds: between two renewals.
        grace: seconds that the epoch in progress may take after a signal to stop.
        patience: seconds that a database that is away is waited for.
        cohort: trials that each worker trains as one program; None for as many as pay.
        code: digest of the code that trains, when the workers' command was started; None leaves it unchecked.
        allow_mismatch: work although this machine's code is not the study's.

    Raises:
        OptionError: a lease would end before it is renewed.
    """

    settings: Settings
    study: str
    data_dir: Path
    lease_seconds: float = LEASE
    renew_seconds: float = RENEW
    grace: float = GRACE
    patience: float = PATIENCE
    cohort: int | None = 1
    code: str | None = None
    allow_mismatch: bool = False

    def __post_init__(self) -> None:
        if self.renew_seconds * 2 > self.lease_seconds:
            raise OptionError(
                f"a lease of {self.lease_seconds:g} s cannot be renewed every {self.renew_seconds:g} s: "
                f"one that misses a renewal must outlive it; give --renew {self.lease_seconds / 4:g} or less"
            )
