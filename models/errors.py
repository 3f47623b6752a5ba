"""The errors of models.

ModelError
├── UnknownModel
├── UnknownData
├── DataUnavailable
├── BadData
├── UnknownFunction
├── BadMeasure
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


class BadData(ModelError):
    """What the user's function returns as data cannot be trained on."""


class UnknownFunction(ModelError):
    """No function is at that path."""


class BadMeasure(ModelError):
    """A loss or a metric of the user's cannot be measured."""


class BadCheckpoint(ModelError):
    """The checkpoint belongs to another model, or to another version of it."""
