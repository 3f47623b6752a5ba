"""What can go wrong in storage. Each message holds what was given, what is allowed, and the next step."""


class StorageError(Exception):
    """Base of every error that storage expects; the command line shows it as one line."""


class BadDatabaseUrl(StorageError):
    """The address is not one of a PostgreSQL database."""


class DatabaseUnreachable(StorageError):
    """No connection could be made; the message names host and port, never a password."""


class DatabaseRefused(StorageError):
    """The database answers, but does not do what it is asked for."""


class StudyInUse(StorageError):
    """Workers train for the study at this moment."""


class EmbeddedServerError(StorageError):
    """The built-in PostgreSQL could not be made or started."""


class SchemaMismatch(StorageError):
    """The database's schema is older or newer than this program."""


class StudyNotFound(StorageError):
    """No study of that name is in the database."""


class ForeignStudy(StorageError):
    """A study of that name exists in Optuna's tables, but Caviar did not make it."""


class LeaseLost(StorageError):
    """This worker's lease on a slot is gone: another worker may have it, so nothing was written."""


class DamagedCheckpoint(StorageError):
    """A checkpoint's bytes do not match its digest."""
