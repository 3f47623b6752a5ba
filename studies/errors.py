"""The errors of studies."""

from caviar.errors import CaviarError


class StudyError(CaviarError):
    """Base class of the errors that studies raise."""


class DefinitionError(StudyError):
    """The definition of a study is not valid."""


class UnknownStudy(StudyError):
    """No study in the catalog, no file and no module has this name."""


class DefinitionChanged(StudyError):
    """A study of that name exists with another definition."""


class NotComparable(StudyError):
    """The study cannot be changed like that: its earlier trials could not be compared with later ones."""


class OptionError(StudyError):
    """Options contradict each other, are out of range, or ask for what this machine cannot do."""


class MachineMismatch(StudyError):
    """This machine's code, data or versions differ from those of the study."""


class CodeMissing(MachineMismatch):
    """A module that the study names is not on this machine."""


class WorkersFailed(StudyError):
    """The workers of a run cannot go on."""

    exit_code = 1


class LaunchFailed(StudyError):
    """A scheduler refuses what it was asked for, or does not answer."""

    exit_code = 1


class TrialMisused(StudyError):
    """Code of the user's own asks a trial for what it has not, or reports what is no metric."""

    exit_code = 1


class CommandFailed(StudyError):
    """A command that trains a trial failed: it ended without the study's metric, or reported what cannot be.

    Attributes:
        cause: what is the same where the command fails in the same way once more.
        missing: the study's metric, if the command came to a good end without it; else None.
    """

    def __init__(self, message: str, cause: str | None = None, missing: str | None = None) -> None:
        super().__init__(message)
        self.cause = message if cause is None else cause
        self.missing = missing


class RanksDied(StudyError):
    """A process of the several that train a trial together was killed, or crashed: the others cannot go on.

    Attributes:
        is_own: whether the training did it: it crashed or left the process; else nobody knows.
    """

    exit_code = 1

    def __init__(self, message: str, *, is_own: bool = False) -> None:
        super().__init__(message)
        self.is_own = is_own


class NothingToDo(StudyError):
    """There is no trial, winner or model for what was asked."""


class OutputError(StudyError):
    """A file cannot be written, or nothing can be exported to the target."""


class ServerError(StudyError):
    """The dashboard cannot be served."""


class AddressUnavailable(ServerError):
    """Nothing can listen on that host and port."""


class PasswordMissing(ServerError):
    """The dashboard would be reachable from other machines without a password."""


class ExtraMissing(StudyError):
    """An optional package is not installed; the message says how to install the extra that has it."""

    def __init__(self, what: str, error: ModuleNotFoundError, extra: str) -> None:
        super().__init__(f"{what} needs {error.name}; in Caviar's folder, run: pip install '.[{extra}]'")
