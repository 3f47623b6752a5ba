"""Data sets by name or by the user's function, as whole tensors on the device, in a fixed split.

A function of its own loads the test part too, so that a search cannot touch it by accident. Every function that takes a
name raises UnknownData where no data set has it, and one that needs the data DataUnavailable where they are not there,
or BadData where the user's function returns what nothing can be trained on.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from caviar.models.data_sets import DATA_SETS, DataSet, NamedDataSet, Part, RawData, Shape
from caviar.models.errors import DataUnavailable, UnknownData
from caviar.models.own_data import OwnData, is_class, numbers_of
from caviar.suggestions import did_you_mean

__all__ = [
    "Data", "Part", "check_available", "data_set", "digest", "fetch", "files", "load", "load_all", "moments",
    "named_data_set", "shape",
]  # fmt: skip


@dataclass(frozen=True)
class Data:
    """The parts of a data set that a search may see.

    Those of a data set with a name have a mean of 0 and a standard deviation of 1 in each channel; others are as the
    user's function returned them.

    Attributes:
        outputs: how many numbers a network makes of an example: one for each class, or for each number of a target.
        digest: tells apart what a user's function returned here and elsewhere; None for data that are in files.
    """

    training: Part
    validation: Part
    outputs: int
    digest: str | None = None

    @property
    def sample(self) -> tuple[int, ...]:
        """Shape of one example, such as (channels, height, width)."""
        return tuple(self.training.x.shape[1:])

    @property
    def classes(self) -> int | None:
        """The number of classes; None where the targets are numbers."""
        return self.outputs if is_class(self.training.y) else None


def data_set(name: str) -> DataSet:
    """Return the data set of a name, or of the path of a function, `package.module:function`."""
    return OwnData(name) if ":" in name else named_data_set(name)


def named_data_set(name: str) -> NamedDataSet:
    """Return the data set of a name; UnknownData suggests the nearest names."""
    if name not in DATA_SETS:
        raise UnknownData(
            f"no data set '{name}'; {did_you_mean(name, DATA_SETS)}there are: {', '.join(DATA_SETS)}, or give the path "
            f"of a function that returns yours, package.module:function"
        )
    return DATA_SETS[name]


def load(name: str, data_dir: Path, device: torch.device) -> Data:
    """Load the training and validation parts onto a device."""
    return _on_device(name, _read(name, data_dir), device)[0]


def load_all(name: str, data_dir: Path, device: torch.device) -> tuple[Data, Part | None]:
    """Load the test part as well, which is for the winner, once; None where there is none."""
    return _on_device(name, _read(name, data_dir), device, with_test=True)


def moments(name: str, data_dir: Path) -> tuple[Tensor, Tensor] | None:
    """Return mean and standard deviation of the training part, by which all parts are normalised: per channel, shaped
    to broadcast over (n, channels, height, width). None for data that are taken as they are."""
    return _moments(_read(name, data_dir).training.x) if data_set(name).normalised else None


def check_available(name: str, data_dir: Path) -> None:
    """Raise the error that `load` would raise where the files are not there, without loading anything."""
    if not data_set(name).is_in(data_dir):
        raise DataUnavailable(
            f"the data set '{name}' is not in {data_dir}; fetch it with: caviar data fetch {name} "
            f"(or name the folder that has it in CAVIAR_DATA_DIR)"
        )


def fetch(name: str, data_dir: Path) -> bool:
    """Download a data set into `data_dir`, with a progress bar on stderr; return False if it is there already.

    Raises:
        DataUnavailable: it could not be downloaded.
    """
    chosen = data_set(name)
    if chosen.is_in(data_dir):
        return False
    chosen.download(name, data_dir)
    return True


def files(name: str, data_dir: Path) -> list[Path]:
    """Return the files of a data set on this machine; none for a function's."""
    check_available(name, data_dir)
    chosen = data_set(name)
    return chosen.paths(data_dir) if isinstance(chosen, NamedDataSet) else []


def digest(name: str, data_dir: Path) -> str:
    """Return a digest of a data set: of its files, or of the tensors that a user's function returned in this process.

    That function is called if it was not yet.
    """
    check_available(name, data_dir)
    return data_set(name).digest(data_dir)


def shape(name: str) -> Shape:
    """Return the shape of a data set's examples.

    A data set that has a name is not loaded for it; the user's function is called if it was not yet in this process.
    """
    return data_set(name).shape()


def _read(name: str, data_dir: Path) -> RawData:
    check_available(name, data_dir)
    return data_set(name).read(data_dir)


def _on_device(name: str, parts: RawData, device: torch.device, *, with_test: bool = False) -> tuple[Data, Part | None]:
    """Return the parts of a data set as they are trained on, and the test part if it is asked for."""
    scale = _moments(parts.training.x) if data_set(name).normalised else None
    test = parts.test() if with_test else None
    training, validation = (_prepared(part, scale, device) for part in (parts.training, parts.validation))
    data = Data(training, validation, numbers_of(parts.training.y), parts.digest)
    return data, None if test is None else _prepared(test, scale, device)


def _moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation per channel, shaped to broadcast over (n, channels, height, width)."""
    count = x.numel() // x.shape[1]
    total, squares = torch.zeros(x.shape[1], dtype=torch.float64), torch.zeros(x.shape[1], dtype=torch.float64)
    for chunk in torch.split(x, 4096):  # in double precision, without a copy of the whole set in it
        total += chunk.double().sum((0, 2, 3))
        squares += chunk.double().square().sum((0, 2, 3))
    mean = total / count
    deviation = (squares / count - mean.square()).sqrt()
    return mean.float().reshape(1, -1, 1, 1), deviation.float().reshape(1, -1, 1, 1)


def _prepared(part: Part, scale: tuple[Tensor, Tensor] | None, device: torch.device) -> Part:
    x = part.x if scale is None else (part.x.float() - scale[0]) / scale[1]
    return Part(x.to(device), part.y.to(device))
