"""The errors of storage."""

import os

from caviar.errors import CaviarError


class StorageError(CaviarError):
    """Base class of the errors of storage."""


class BadSetting(StorageError):
    """A variable of the environment or an option names no folder or place that can be used."""


class DatabaseError(StorageError):
    """Base class of errors that concern the whole database."""


class BadDatabaseUrl(DatabaseError):
    """The address is not one of a PostgreSQL database."""


class DatabaseUnreachable(DatabaseError):
    """No connection could be made: nothing answers. The message names host and port, but no password."""

    exit_code = os.EX_TEMPFAIL


class DatabaseAway(DatabaseError):
    """The database stopped answering, or was away for longer than the patience of who waits for it."""

    exit_code = os.EX_TEMPFAIL


class DatabaseReadOnly(DatabaseError):
    """The database answers, but takes no writes, as a standby does until it is promoted."""

    exit_code = os.EX_TEMPFAIL


class DatabaseRefused(DatabaseError):
    """The database answers, but refuses what it is asked for."""


class EmbeddedServerError(DatabaseError):
    """The built-in PostgreSQL server could not be installed or started."""


class SchemaMismatch(DatabaseError):
    """The database's schema is older or newer than this program."""


class CannotGrant(DatabaseError):
    """A role cannot get a worker's rights, or not from the current role."""


class StudyNotFound(StorageError):
    """The database has no study of that name."""


class ForeignStudy(StudyNotFound):
    """Optuna's tables have a study of that name that Caviar did not create."""


class StudyDeleted(StudyNotFound):
    """Another Optuna program deleted the study's trials; Caviar still has its slots, curves and checkpoints."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"the study '{name}' was deleted by another Optuna program; remove the rest of it, its checkpoints too, "
            f"with: caviar delete {name}"
        )


class StudyInUse(StorageError):
    """Workers are training trials of the study."""


class WorkerNotFound(StorageError):
    """No worker is at work on that host, or in that job of a scheduler."""


class TrialNotFound(StorageError):
    """The study has no trial of that number."""


class TrialNotRunning(StorageError):
    """The trial has not begun, or has ended already."""


class NoSlotLeft(StorageError):
    """No slot of the study could take the trial that is to be enqueued."""


class LeaseLost(StorageError):
    """This worker's lease on a slot is gone, or on every slot of a study, so nothing was written."""

    def __init__(self, slot: int | None, why: str = "another worker has it") -> None:
        super().__init__(f"{'every slot' if slot is None else f'slot {slot}'} is lost: {why}")


class CheckpointError(StorageError):
    """Base class of errors that concern checkpoints."""


class DamagedCheckpoint(CheckpointError):
    """A checkpoint's bytes do not match its digest, or its file is missing."""


class CheckpointNotWritten(CheckpointError):
    """A checkpoint could not be written. The trial's previous one remains."""


class CheckpointUnreachable(CheckpointError):
    """A checkpoint's file cannot be read on this machine now, though it may exist."""


class CheckpointNotRemoved(CheckpointError):
    """The file of a checkpoint that is no longer needed could not be removed."""


class BadCheckpointsAddress(CheckpointError):
    """The address in CAVIAR_CHECKPOINTS cannot be used for checkpoint files."""


class PandaError(StorageError):
    """Base class of errors that concern a panda's days."""


class PandaBusy(PandaError):
    """A worker trains the panda now. It is one model, and never trained twice at once."""


class UnknownDay(PandaError):
    """The panda has no such day to continue from."""
