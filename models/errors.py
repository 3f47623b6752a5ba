"""What can go wrong in models. Each message holds what was given, what is allowed, and the next step."""


class ModelError(Exception):
    """Base of every error that models expects; the command line shows it as one line."""


class UnknownModel(ModelError):
    """No model of that name, or no class at that path."""


class UnknownData(ModelError):
    """No data set of that name."""


class DataUnavailable(ModelError):
    """The data set is not on this machine, and could not be downloaded."""


class BadCheckpoint(ModelError):
    """A checkpoint is not one of this model, or of this version."""
