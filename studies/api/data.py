"""List and download the data sets that studies are trained on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from caviar.models.data_sets import DATA_SETS
from caviar.studies.api.session import data_folder


@dataclass(frozen=True)
class DataSet:
    """A data set by its name, and whether it is on this machine."""

    name: str
    is_here: bool


def data_sets(*, data_dir: str | Path | None = None) -> tuple[DataSet, ...]:
    """Return the data sets that Caviar knows by name.

    Examples:
        >>> [data.name for data in caviar.data_sets() if data.is_here]
    """
    folder = data_folder(data_dir)
    return tuple(DataSet(name, data.is_in(folder)) for name, data in DATA_SETS.items())


def fetch_data(name: str, *, data_dir: str | Path | None = None) -> bool:
    """Download a data set, unless it is on this machine.

    Args:
        name: a name of `data_sets`.

    Returns:
        True if it was downloaded, False if it was here already.

    Raises:
        UnknownData: there is no data set of that name.
        DataUnavailable: it cannot be downloaded.

    Examples:
        >>> caviar.fetch_data("mnist")
    """
    from caviar.models.data import fetch, named_data_set  # which load PyTorch

    named_data_set(name)
    return fetch(name, data_folder(data_dir))
