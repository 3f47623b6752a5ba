"""Options of worker processes, with their defaults: small enough to hand over, and without a password in any argument.

Importing this loads neither PyTorch nor Optuna nor SQLAlchemy, so that `caviar run --help` can show the defaults.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from caviar.durations import to_seconds
from caviar.limits import COHORT, SECONDS
from caviar.storage.timing import GRACE, LEASE, LEAST_LEASE, LEAST_RENEW, PATIENCE, RENEW
from caviar.studies.errors import OptionError

if TYPE_CHECKING:
    from caviar.storage.settings import Settings


def read_duration(option: str, given: float | str | None) -> float | None:
    """Return the seconds of a duration that an option was given, such as `30min`; None if it was not given.

    Raises:
        OptionError: it is no duration.
    """
    try:
        return None if given is None else to_seconds(given)
    except ValueError as error:
        raise OptionError(f"--{option}: {error}") from None


@dataclass(frozen=True)
class WorkerOptions:
    """How the worker processes of one command train one study.

    Raises:
        OptionError: a time or the size of a cohort is out of its range, or a lease would not outlive a renewal.
    """

    settings: Settings  # the database and the folders of this machine
    study: str  # its name in the database
    data_dir: Path  # the folder of data sets
    lease_seconds: float = LEASE  # that a lease lasts without a renewal; then any other worker may take the slot over
    renew_seconds: float = RENEW  # between two renewals; at most half of `lease_seconds`
    grace: float = GRACE  # seconds that the epoch in progress may take after a signal to stop
    patience: float = PATIENCE  # seconds that a database which is away is waited for
    cohort: int | None = 1  # trials that each worker trains as one program; None for as many as make it faster
    code: str | None = None  # digest of all training code when the command was started; None leaves it unchecked
    allow_mismatch: bool = False  # whether to work although this machine's code is not that of the study
    ranks: int = 0  # processes of each trial, beside the worker; 0 if it trains itself
    epoch_timeout: float | None = None  # seconds without a batch after which a training hangs; None as `watchdog` says
    until: float | None = None  # the moment of the monotonic clock at which the command's time is over; None if never

    def __post_init__(self) -> None:
        for option, seconds, least in (
            ("lease", self.lease_seconds, LEAST_LEASE),
            ("renew", self.renew_seconds, LEAST_RENEW),
            ("grace", self.grace, 0.0),
            ("patience", self.patience, 0.0),
        ):
            if not least <= seconds <= SECONDS:
                raise OptionError(f"--{option} {seconds:g}: give {least:g} to {SECONDS:,.0f} seconds")
        if self.cohort is not None and not 1 <= self.cohort <= COHORT:
            raise OptionError(f"--cohort {self.cohort}: give auto, or 1 to {COHORT:,} trials")
        if self.renew_seconds * 2 > self.lease_seconds:
            raise OptionError(
                f"a lease of {self.lease_seconds:g} s cannot be renewed every {self.renew_seconds:g} s: "
                f"one that misses a renewal must outlive it; give --renew {self.lease_seconds / 4:g} or less"
            )
