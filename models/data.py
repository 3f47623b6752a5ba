"""Data sets as whole tensors on the device, normalised once, in a fixed split.

The test part is loaded by a function of its own, so that a search can't touch it by accident.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from caviar.models.errors import DataUnavailable, UnknownData

_SPLIT_SEED = 20260101  # the split is part of the data set: the same for every study and seed


@dataclass(frozen=True)
class Part:
    """Examples and their classes: x is (n, channels, height, width) float32, y is (n,) int64."""

    x: Tensor
    y: Tensor


@dataclass(frozen=True)
class Data:
    """What a search may see of a data set."""

    training: Part
    validation: Part
    classes: int

    @property
    def sample(self) -> tuple[int, ...]:
        return tuple(self.training.x.shape[1:])


def load(name: str, data_dir: Path, device: torch.device) -> Data:
    """Load the training and validation parts.

    Raises:
        UnknownData: there is no data set of that name.
        DataUnavailable: it is not in `data_dir`.
    """
    parts = _read(name, data_dir)
    mean, deviation = _moments(parts.training.x)
    return Data(
        _normalised(parts.training, mean, deviation, device),
        _normalised(parts.validation, mean, deviation, device),
        int(parts.training.y.max()) + 1,
    )


def load_test(name: str, data_dir: Path, device: torch.device) -> Part:
    """Load the test part, normalised as the training part is. It is for the winner, once.

    Raises:
        UnknownData: there is no data set of that name.
        DataUnavailable: it is not in `data_dir`.
    """
    parts = _read(name, data_dir)
    return _normalised(parts.test(), *_moments(parts.training.x), device)


def moments(name: str, data_dir: Path) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation of the training part's values, by which all parts are normalised: per channel,
    shaped to broadcast over (n, channels, height, width).

    Raises:
        UnknownData: there is no data set of that name.
        DataUnavailable: it is not in `data_dir`.
    """
    return _moments(_read(name, data_dir).training.x)


def check_available(name: str, data_dir: Path) -> None:
    """Raise as `load` does where the data set cannot be loaded, without loading it."""
    reader = _reader(name)
    if isinstance(reader, _Torchvision) and not reader.is_in(data_dir):
        raise DataUnavailable(
            f"the data set '{name}' is not in {data_dir}; fetch it with: caviar data fetch {name} "
            f"(or name the folder that has it in CAVIAR_DATA_DIR)"
        )


def fetch(name: str, data_dir: Path) -> bool:
    """Download a data set into `data_dir`, with a progress bar on stderr; return False where it was there already.

    Raises:
        UnknownData: there is no data set of that name.
        DataUnavailable: it could not be downloaded.
    """
    reader = _reader(name)
    if not isinstance(reader, _Torchvision) or reader.is_in(data_dir):
        return False
    reader.download(name, data_dir)
    return True


def files(name: str, data_dir: Path) -> list[Path]:
    """Return the files of a data set on this machine.

    Raises:
        UnknownData: there is no data set of that name.
        DataUnavailable: it is not in `data_dir`.
    """
    check_available(name, data_dir)
    return _reader(name).paths(data_dir)


def shape(name: str) -> tuple[tuple[int, ...], int]:
    """Return the shape of one example and the number of classes, without loading anything.

    Raises:
        UnknownData: there is no data set of that name.
    """
    reader = _reader(name)
    return reader.sample, reader.classes


def data_names() -> list[str]:
    """Return the names of all data sets."""
    return list(_READERS)


@dataclass(frozen=True)
class _Raw:
    """As read: x uint8 or float of (n, channels, height, width). The test part is read when it is asked for."""

    training: Part
    validation: Part
    test: Callable[[], Part]


@dataclass(frozen=True)
class _Torchvision:
    """A data set that torchvision reads and downloads; the last `validation` training examples are held out."""

    dataset: str
    folder: str
    files: tuple[str, ...]
    sample: tuple[int, ...]
    validation: int = 10_000
    classes: int = 10

    def paths(self, data_dir: Path) -> list[Path]:
        return [data_dir / self.folder / file for file in self.files]

    def is_in(self, data_dir: Path) -> bool:
        return all(path.is_file() for path in self.paths(data_dir))

    def download(self, name: str, data_dir: Path) -> None:
        """Download beside the place and move there: what a broken download leaves is never taken for the data."""
        data_dir.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=data_dir))  # containers have the same process ids
        try:
            for train in (True, False):
                self._open(staging, train=train, download=True)
            (data_dir / self.folder).mkdir(parents=True, exist_ok=True)
            for file in self.files:
                (staging / self.folder / file).replace(data_dir / self.folder / file)
        finally:
            shutil.rmtree(staging, ignore_errors=True)

    def read(self, data_dir: Path) -> _Raw:
        everything = self._part(data_dir, train=True)
        cut = len(everything.y) - self.validation
        order = torch.randperm(len(everything.y), generator=torch.Generator().manual_seed(_SPLIT_SEED))
        training, validation = order[:cut], order[cut:]
        return _Raw(
            Part(everything.x[training], everything.y[training]),
            Part(everything.x[validation], everything.y[validation]),
            lambda: self._part(data_dir, train=False),
        )

    def _part(self, data_dir: Path, *, train: bool) -> Part:
        dataset = self._open(data_dir, train=train, download=False)
        x = torch.as_tensor(dataset.data)
        x = x.unsqueeze(1) if x.ndim == 3 else x.permute(0, 3, 1, 2)  # CIFAR keeps (n, height, width, channels)
        return Part(x, torch.as_tensor(dataset.targets, dtype=torch.int64))

    def _open(self, data_dir: Path, *, train: bool, download: bool) -> Any:
        import torchvision

        try:
            return getattr(torchvision.datasets, self.dataset)(data_dir, train=train, download=download)
        except (OSError, RuntimeError, ValueError, AssertionError) as error:  # torchvision has none of its own
            doing = "downloaded to" if download else "read in"
            raise DataUnavailable(
                f"the data set '{self.dataset}' could not be {doing} {data_dir}: {_in_one_line(error)}; "
                f"copy it there, or name the folder that has it in CAVIAR_DATA_DIR"
            ) from error


class _Digits:
    """scikit-learn's 1,797 handwritten digits of 8 x 8 pixels, bundled with it: 60 / 20 / 20 %."""

    sample = (1, 8, 8)
    classes = 10

    def paths(self, data_dir: Path) -> list[Path]:  # noqa: ARG002
        import sklearn.datasets

        return [Path(sklearn.datasets.__file__).parent / "data" / "digits.csv.gz"]

    def read(self, data_dir: Path) -> _Raw:  # noqa: ARG002
        from sklearn.datasets import load_digits

        pixels, classes = load_digits(return_X_y=True)
        x = torch.from_numpy(pixels.astype(np.float32)).reshape(-1, 1, 8, 8)
        y = torch.from_numpy(classes.astype(np.int64))
        order = torch.randperm(len(y), generator=torch.Generator().manual_seed(_SPLIT_SEED))
        training, validation, test = order.tensor_split([len(y) * 6 // 10, len(y) * 8 // 10])
        return _Raw(Part(x[training], y[training]), Part(x[validation], y[validation]), lambda: Part(x[test], y[test]))


_IDX = tuple(f"{part}-{kind}-ubyte" for part in ("train", "t10k") for kind in ("images-idx3", "labels-idx1"))
_CIFAR = (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch", "batches.meta")
_READERS: dict[str, _Digits | _Torchvision] = {
    "digits": _Digits(),
    "mnist": _Torchvision("MNIST", "MNIST/raw", _IDX, (1, 28, 28)),
    "fashion_mnist": _Torchvision("FashionMNIST", "FashionMNIST/raw", _IDX, (1, 28, 28)),
    "cifar10": _Torchvision("CIFAR10", "cifar-10-batches-py", _CIFAR, (3, 32, 32)),
}


def _reader(name: str) -> _Digits | _Torchvision:
    try:
        return _READERS[name]
    except KeyError:
        near = get_close_matches(name, _READERS, n=3)
        raise UnknownData(
            f"no data set '{name}'; {'did you mean ' + ' or '.join(near) + '? ' if near else ''}"
            f"there are: {', '.join(_READERS)}"
        ) from None


def _in_one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _read(name: str, data_dir: Path) -> _Raw:
    check_available(name, data_dir)
    return _reader(name).read(data_dir)


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
