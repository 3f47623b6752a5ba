"""What can go wrong in storage. Each message holds what was given, what is allowed, and the next step."""


class StorageError(Exception):
    """Base of every error that storage expects; the command line shows it as one line."""


class BadDatabaseUrl(StorageError):
    """The address is not one of a PostgreSQL database."""


class DatabaseUnreachable(StorageError):
    """No connection could be made; the message names host and port, never a password."""


class DatabaseAway(StorageError):
    """The database was away for longer than one's patience."""


class DatabaseRefused(StorageError):
    """The database answers, but does not do what it is asked for."""


class StudyInUse(StorageError):
    """Workers train for the study at this moment."""


class CannotGrant(StorageError):
    """A role cannot be made one for workers, or not by this one."""


class EmbeddedServerError(StorageError):
    """The built-in PostgreSQL could not be made or started."""


class SchemaMismatch(StorageError):
    """The database's schema is older or newer than this program."""


class StudyNotFound(StorageError):
    """No study of that name is in the database."""


class ForeignStudy(StorageError):
    """A study of that name exists in Optuna's tables, but Caviar did not make it."""


class NotComparable(StorageError):
    """A study cannot be changed like that: its trials could not be compared any more."""


class TrialNotRunning(StorageError):
    """A trial that is to be ended has not begun, or has ended."""


class LeaseLost(StorageError):
    """This worker's lease on a slot is gone: another worker may have it, so nothing was written."""


class DamagedCheckpoint(StorageError):
    """A checkpoint's bytes do not match its digest, or its file is not there."""


class CheckpointNotWritten(StorageError):
    """A checkpoint could not be kept: the trial's last one is still there."""


class CheckpointUnreachable(StorageError):
    """A checkpoint's file cannot be read on this machine, or not now; it is not given up."""


class CheckpointNotRemoved(StorageError):
    """The file of a checkpoint that nobody needs stays where it is."""


class BadCheckpointsAddress(StorageError):
    """No checkpoints' files can be kept, or found, at the address."""


class PandaBusy(StorageError):
    """Somebody trains a panda at this moment; it is one model, and never trained twice at once."""


class NotThatDay(StorageError):
    """A panda cannot go on from there."""
