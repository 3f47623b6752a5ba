"""What a data set is, and those that have a name here: where each is read from, its shape, and the size of its parts.

A data set that everybody should have is one entry of `DATA_SETS`: a `Torchvision` line, or a `NamedDataSet` of its own.
Those of users are functions of theirs (own_data.py). Imports neither torch nor torchvision before a data set is read,
so that a report can ask for sizes in no time.
"""

from __future__ import annotations

import os.path
import shutil
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from caviar.models.digests import of_files
from caviar.models.errors import DataUnavailable

if TYPE_CHECKING:
    from torch import Tensor

SPLIT_SEED = 20260101  # the split is part of the data set: the same for every study and seed


@dataclass(frozen=True)
class Part:
    """Examples and their targets: x is (n, *sample).

    y is (n,) int64 where the targets are classes, and (n, ...) float32 where they are numbers.
    """

    x: Tensor
    y: Tensor


@dataclass(frozen=True)
class RawData:
    """The parts of a data set as they were read, x uint8 or float. The test part is read when `test` is called.

    `test` returns None where the data set has no such part. `digest` tells two data sets apart that are in no files.
    """

    training: Part
    validation: Part
    test: Callable[[], Part | None]
    digest: str | None = None


def _shuffled(part: Part, *cuts: int) -> list[Part]:
    """Return the examples in the order of the split, cut into parts."""
    import torch

    order = torch.randperm(len(part.y), generator=torch.Generator().manual_seed(SPLIT_SEED))
    return [Part(part.x[rows], part.y[rows]) for rows in order.tensor_split(list(cuts))]


class Shape(NamedTuple):
    """The shape of one example, and how many numbers a network makes of it, such as one for each class."""

    sample: tuple[int, ...]
    outputs: int
    is_classified: bool = True  # else the targets are numbers


class Sizes(NamedTuple):
    """How many examples each part of a data set has; None where it has no test part."""

    training: int
    validation: int
    test: int | None


class DataSet(ABC):
    """Examples with targets, in a fixed split of training, validation and perhaps test examples."""

    normalised: ClassVar[bool]  # whether `data` gives x a mean of 0 and a standard deviation of 1 in each channel

    @abstractmethod
    def shape(self) -> Shape:
        """Return the shape of its examples."""

    @abstractmethod
    def read(self, data_dir: Path) -> RawData:
        """Read it, in the same split each time. DataUnavailable says that it cannot be read."""

    @abstractmethod
    def digest(self, data_dir: Path) -> str:
        """Return a digest of all that is in it."""

    def is_in(self, data_dir: Path) -> bool:  # noqa: ARG002
        """Return whether all of its files exist."""
        return True

    def download(self, name: str, data_dir: Path) -> None:
        """Download it into a folder, completely or not at all. DataUnavailable says that it cannot be."""
        raise DataUnavailable(f"the data set '{name}' cannot be downloaded; copy its files to {data_dir}")


class NamedDataSet(DataSet):
    """A data set of classes that has a name, whose shape is known before it is read from its files."""

    normalised = True
    sample: tuple[int, ...]  # shape of one example as (channels, height, width)
    classes: int
    training: int  # examples
    validation: int
    test: int

    @property
    def sizes(self) -> Sizes:
        """How many examples its parts have, which is known before it is read."""
        return Sizes(self.training, self.validation, self.test)

    @abstractmethod
    def paths(self, data_dir: Path) -> list[Path]:
        """Return the files that it is read from, which need not exist."""

    def shape(self) -> Shape:
        return Shape(self.sample, self.classes)

    def is_in(self, data_dir: Path) -> bool:
        return all(map(os.path.isfile, self.paths(data_dir)))  # which is False too for what no path can be

    def digest(self, data_dir: Path) -> str:
        return of_files(self.paths(data_dir))


class Digits(NamedDataSet):
    """scikit-learn's 1,797 handwritten digits of 8 x 8 pixels, bundled with it; split 60 / 20 / 20 %."""

    sample = (1, 8, 8)
    classes = 10
    training, validation, test = 1078, 359, 360

    def paths(self, data_dir: Path) -> list[Path]:  # noqa: ARG002
        package = find_spec("sklearn")  # looked up and not imported, which takes a second
        if package is None or package.origin is None:
            raise DataUnavailable(
                "digits comes with scikit-learn, which is not installed here: pip install scikit-learn"
            )
        file = Path(package.origin).parent / "datasets" / "data" / "digits.csv.gz"
        if not file.is_file():
            raise DataUnavailable(f"digits comes with scikit-learn, and the one that is installed has no {file}")
        return [file]

    def read(self, data_dir: Path) -> RawData:
        import numpy as np
        import torch

        (file,) = self.paths(data_dir)
        rows = torch.from_numpy(np.loadtxt(file, dtype=np.float32, delimiter=","))  # 64 pixels and the class
        x, y = rows[:, :-1].reshape(-1, 1, 8, 8).contiguous(), rows[:, -1].long()
        training, validation, test = _shuffled(Part(x, y), len(y) * 6 // 10, len(y) * 8 // 10)
        return RawData(training, validation, lambda: test)


@dataclass(frozen=True)
class Torchvision(NamedDataSet):
    """A data set that torchvision reads and downloads; `validation` of its training examples are held out."""

    dataset: str  # name of the class in `torchvision.datasets`
    folder: str  # below the data folder, as torchvision lays it out
    files: tuple[str, ...]  # in that folder
    sample: tuple[int, ...]
    training: int = 50_000
    validation: int = 10_000
    test: int = 10_000
    classes: int = 10

    def paths(self, data_dir: Path) -> list[Path]:
        return [data_dir / self.folder / file for file in self.files]

    def download(self, name: str, data_dir: Path) -> None:
        """Download next to the final place, then move there: a broken download is never taken for the data."""
        try:
            self._download(name, data_dir)
        except OSError as error:
            raise DataUnavailable(
                f"the data set '{name}' cannot be put into {data_dir}: {error.strerror or error}; name another folder: "
                f"--data-dir, CAVIAR_DATA_DIR"
            ) from error

    def _download(self, name: str, data_dir: Path) -> None:
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

    def read(self, data_dir: Path) -> RawData:
        everything = self._part(data_dir, train=True)
        training, validation = _shuffled(everything, len(everything.y) - self.validation)
        return RawData(training, validation, lambda: self._part(data_dir, train=False))

    def _part(self, data_dir: Path, *, train: bool) -> Part:
        import torch

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
            reason = " ".join(str(error).split()) or type(error).__name__
            raise DataUnavailable(
                f"the data set '{self.dataset}' could not be {doing} {data_dir}: {reason}; "
                f"copy it there, or name the folder that has it in CAVIAR_DATA_DIR"
            ) from error


_IDX = tuple(f"{part}-{kind}-ubyte" for part in ("train", "t10k") for kind in ("images-idx3", "labels-idx1"))
_CIFAR = (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch", "batches.meta")
DATA_SETS: dict[str, NamedDataSet] = {
    "digits": Digits(),
    "mnist": Torchvision("MNIST", "MNIST/raw", _IDX, (1, 28, 28)),
    "fashion_mnist": Torchvision("FashionMNIST", "FashionMNIST/raw", _IDX, (1, 28, 28)),
    "cifar10": Torchvision("CIFAR10", "cifar-10-batches-py", _CIFAR, (3, 32, 32), training=40_000),
}
