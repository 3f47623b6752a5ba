"""The base of every error that Caviar expects.

    CaviarError
    ├── ModelError      models/errors.py    networks and data sets
    ├── StorageError    storage/errors.py   the database, checkpoints, stored studies
    └── StudyError      studies/errors.py   definitions, options, workers, output

The command line shows an expected error as one line and exits with the `exit_code` of its class; anything else is a
mistake in Caviar, and ends in a traceback. A message holds what was given, what is allowed, and the next step.
"""

from typing import ClassVar


class CaviarError(Exception):
    """Base class of all errors that Caviar raises on purpose.

    Attributes:
        exit_code: what the command line exits with: 2 for bad input, 1 for a run that failed, 75 for a database that
            does not answer or takes no writes, so that the same command may succeed later.
    """

    exit_code: ClassVar[int] = 2
