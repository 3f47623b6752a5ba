"""The errors of models.

ModelError
├── UnknownModel
├── UnknownData
├── DataUnavailable
└── BadCheckpoint
"""

from caviar.errors import CaviarError


class ModelError(CaviarError):
    """Base class of the errors that models raise."""


class UnknownModel(ModelError):
    """No model has that name, or no class is at that path."""


class UnknownData(ModelError):
    """No data set has that name."""


class DataUnavailable(ModelError):
    """The data set is not on this machine, and could not be downloaded."""


class BadCheckpoint(ModelError):
    """The checkpoint belongs to another model, or to another version of it."""
