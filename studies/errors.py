"""What can go wrong in studies. Each message holds what was given, what is allowed, and the next step."""

from caviar.models.errors import ModelError
from caviar.storage.errors import StorageError


class StudyError(Exception):
    """Base of every error that studies expects; the command line shows it as one line."""


class BadDefinition(StudyError):
    """A study's definition is not valid."""


class UnknownStudy(StudyError):
    """Nothing in the catalog, no file and no module answers to this name."""


class DefinitionChanged(StudyError):
    """A study of that name exists with another definition."""


class BadOrder(StudyError):
    """Workers are told something that contradicts itself, or that this machine cannot do."""


class BadOptions(StudyError):
    """Options that do not go together."""


class BadNudge(StudyError):
    """A model cannot be trained like that, or not from now on."""


class Mismatch(StudyError):
    """This machine would compute something else than the study's trials are."""


class WorkersFailed(StudyError):
    """The workers of a run cannot go on."""


class AddressUnavailable(StudyError):
    """Nothing can listen at that host and port."""


class PasswordMissing(StudyError):
    """Something that others reach is not to be shown without a password."""


class ExtraMissing(StudyError):
    """A package that only some need is not installed."""


class BadTarget(StudyError):
    """Nothing can be exported to what is named."""


class NothingToExport(StudyError):
    """There is no trial to export, or no place for it."""


class NotWritten(StudyError):
    """A file cannot be written."""


class NothingToCompare(StudyError):
    """There is no winner, or nothing else to compare it with."""


class NothingToSave(StudyError):
    """There is no model to write, or no place for it."""


EXPECTED_ERRORS = (StudyError, StorageError, ModelError)  # shown as one line; anything else is a mistake in Caviar
