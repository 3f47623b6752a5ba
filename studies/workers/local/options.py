"""Options of worker processes, with their defaults: small enough to hand over, and without a password in any argument.

Importing this loads neither PyTorch nor Optuna nor SQLAlchemy, so that `caviar run --help` can show the defaults.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from caviar.storage.timing import GRACE, LEASE, PATIENCE, RENEW
from caviar.studies.errors import OptionError

if TYPE_CHECKING:
    from caviar.storage.settings import Settings


@dataclass(frozen=True)
class WorkerOptions:
    """How the worker processes of one command train one study.

    Attributes:
        settings: the database and the folders of this machine.
        study: the name of the study in the database.
        data_dir: the folder of data sets.
        lease_seconds: how long a lease lasts without being renewed; then any other worker may take the slot over.
        renew_seconds: between two renewals; at most half of `lease_seconds`.
        grace: seconds that the epoch in progress may take after a signal to stop.
        patience: seconds that a database which is away is waited for.
        cohort: trials that each worker trains as one program; None for as many as make it faster.
        code: digest of the training code when the command was started; None leaves the code unchecked.
        allow_mismatch: whether to work although this machine's code is not that of the study.

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
