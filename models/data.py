"""Data sets as whole tensors on the device, normalised once, in a fixed split.

A function of its own loads the test part, so that a search cannot touch it by accident. Every function that takes a
name raises UnknownData where no data set has it, and one that needs the files DataUnavailable where they are not there.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from caviar.models.data_sets import Part, RawData, data_set
from caviar.models.errors import DataUnavailable

__all__ = ["Data", "Part", "check_available", "fetch", "files", "load", "load_test", "moments", "shape"]


@dataclass(frozen=True)
class Data:
    """The parts of a data set that a search may see, x float32 with mean 0 and standard deviation 1 in each channel."""

    training: Part
    validation: Part
    classes: int

    @property
    def sample(self) -> tuple[int, ...]:
        """Shape of one example as (channels, height, width)."""
        return tuple(self.training.x.shape[1:])


def load(name: str, data_dir: Path, device: torch.device) -> Data:
    """Load the training and validation parts onto a device."""
    parts = _read(name, data_dir)
    mean, deviation = _moments(parts.training.x)
    training, validation = (_normalised(part, mean, deviation, device) for part in (parts.training, parts.validation))
    return Data(training, validation, int(parts.training.y.max()) + 1)


def load_test(name: str, data_dir: Path, device: torch.device) -> Part:
    """Load the test part, normalised as the training part is. It is for the winner, once."""
    parts = _read(name, data_dir)
    return _normalised(parts.test(), *_moments(parts.training.x), device)


def moments(name: str, data_dir: Path) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation of the training part, by which all parts are normalised: per channel, shaped
    to broadcast over (n, channels, height, width)."""
    return _moments(_read(name, data_dir).training.x)


def check_available(name: str, data_dir: Path) -> None:
    """Raise the error that `load` would raise, without loading anything."""
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
    """Return the files of a data set on this machine."""
    check_available(name, data_dir)
    return data_set(name).paths(data_dir)


def shape(name: str) -> tuple[tuple[int, ...], int]:
    """Return the shape of one example and the number of classes, without loading anything."""
    chosen = data_set(name)
    return chosen.sample, chosen.classes


def _read(name: str, data_dir: Path) -> RawData:
    check_available(name, data_dir)
    return data_set(name).read(data_dir)


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


def _normalised(part: Part, mean: Tensor, deviation: Tensor, device: torch.device) -> Part:
    return Part(((part.x.float() - mean) / deviation).to(device), part.y.to(device))
