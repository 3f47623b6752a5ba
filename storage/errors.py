"""The errors of storage.

StorageError
├── DatabaseError
│   ├── BadDatabaseUrl              the address is not one of a PostgreSQL database
│   ├── DatabaseUnreachable         no connection could be made
│   ├── DatabaseAway                away for longer than the patience (exit code 75)
│   ├── DatabaseRefused             it answers, but does not do what it is asked for
│   ├── EmbeddedServerError         the built-in PostgreSQL could not be started
│   ├── SchemaMismatch              its tables are older or newer than this program
│   └── CannotGrant                 a role cannot be given a worker's rights
├── StudyNotFound
│   ├── ForeignStudy                Optuna has a study of that name that Caviar did not make
│   └── StudyDeleted                another Optuna program deleted its trials
├── StudyInUse                      workers train for the study now
├── TrialNotFound                   the study has no trial of that number
├── TrialNotRunning                 the trial has not begun, or has ended
├── LeaseLost                       another worker has the slot: nothing was written
├── CheckpointError
│   ├── DamagedCheckpoint
│   ├── CheckpointNotWritten
│   ├── CheckpointUnreachable
│   ├── CheckpointNotRemoved
│   └── BadCheckpointsAddress
└── PandaError
    ├── PandaBusy                   the panda is being trained now
    └── UnknownDay                  the panda has no such day to go on from
"""

import os

from caviar.errors import CaviarError


class StorageError(CaviarError):
    """Base class of the errors that storage raises."""


class DatabaseError(StorageError):
    """Base class of what goes wrong with the database as a whole."""


class BadDatabaseUrl(DatabaseError):
    """The address is not one of a PostgreSQL database."""


class DatabaseUnreachable(DatabaseError):
    """No connection could be made. The message names host and port, never a password."""


class DatabaseAway(DatabaseError):
    """The database was away for longer than the patience allows."""

    exit_code = os.EX_TEMPFAIL


class DatabaseRefused(DatabaseError):
    """The database answers, but does not do what it is asked for."""


class EmbeddedServerError(DatabaseError):
    """The built-in PostgreSQL could not be made or started."""


class SchemaMismatch(DatabaseError):
    """The database's schema is older or newer than this program."""


class CannotGrant(DatabaseError):
    """A role cannot be given a worker's rights, or not by this one."""


class StudyNotFound(StorageError):
    """No study of that name is in the database."""


class ForeignStudy(StudyNotFound):
    """A study of that name is in Optuna's tables, but Caviar did not make it."""


class StudyDeleted(StudyNotFound):
    """Another Optuna program deleted the study's trials; Caviar still has its slots, curves and checkpoints.

    Args:
        name: the study's.
    """

    def __init__(self, name: str) -> None:
        super().__init__(
            f"the study '{name}' was deleted by another Optuna program; remove the rest of it, its checkpoints too, "
            f"with: caviar delete {name}"
        )


class StudyInUse(StorageError):
    """Workers train for the study at this moment."""


class TrialNotFound(StorageError):
    """The study has no trial of that number."""


class TrialNotRunning(StorageError):
    """The trial has not begun, or has ended already."""


class LeaseLost(StorageError):
    """This worker's lease on a slot is gone, so nothing was written.

    Args:
        slot: its number; None for all slots of a study.
        why: how it was lost.
    """

    def __init__(self, slot: int | None, why: str = "another worker has it") -> None:
        super().__init__(f"{'every slot' if slot is None else f'slot {slot}'} is lost: {why}")


class CheckpointError(StorageError):
    """Base class of what goes wrong with checkpoints."""


class DamagedCheckpoint(CheckpointError):
    """A checkpoint's bytes do not match its digest, or its file is missing."""


class CheckpointNotWritten(CheckpointError):
    """A checkpoint could not be written: the trial's previous one is still there."""


class CheckpointUnreachable(CheckpointError):
    """A checkpoint's file cannot be read on this machine, or not now; it is not given up."""


class CheckpointNotRemoved(CheckpointError):
    """The file of a checkpoint that nobody needs could not be removed."""


class BadCheckpointsAddress(CheckpointError):
    """No checkpoint files can be kept, or found, at the address in CAVIAR_CHECKPOINTS."""


class PandaError(StorageError):
    """Base class of what a panda's history does not allow."""


class PandaBusy(PandaError):
    """The panda is being trained now; it is one model, and never trained twice at once."""


class UnknownDay(PandaError):
    """The panda has no such day to go on from."""
