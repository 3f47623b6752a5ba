"""Data sets: fixed split, normalised by the training part, the test part apart; files as torchvision lays them out."""

from __future__ import annotations

import struct
from importlib.machinery import ModuleSpec
from pathlib import Path

import numpy as np
import pytest
import torch

from caviar.models.data import check_available, fetch, load, load_all, shape
from caviar.models.data_sets import DATA_SETS
from caviar.models.errors import DataUnavailable, UnknownData

CPU = torch.device("cpu")


@pytest.fixture
def small_mnist(tmp_path: Path) -> Path:
    """MNIST as it is on disk, with 10,100 random images for training and 50 for the test."""
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    random = np.random.default_rng(0)
    for part, count in (("train", 10_100), ("t10k", 50)):
        images = random.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        labels = (np.arange(count) % 10).astype(np.uint8)
        (raw / f"{part}-images-idx3-ubyte").write_bytes(struct.pack(">IIII", 2051, count, 28, 28) + images.tobytes())
        (raw / f"{part}-labels-idx1-ubyte").write_bytes(struct.pack(">II", 2049, count) + labels.tobytes())
    return tmp_path


def test_digits_are_those_of_scikit_learn() -> None:
    from sklearn.datasets import load_digits

    pixels, classes = load_digits(return_X_y=True)
    raw = DATA_SETS["digits"].read(Path("nowhere"))
    parts = (raw.training, raw.validation, raw.test())
    rows = sorted([*part.x[n].flatten().tolist(), float(part.y[n])] for part in parts for n in range(len(part.y)))
    assert rows == sorted([*row, float(of)] for row, of in zip(pixels.tolist(), classes.tolist(), strict=True))
    assert raw.training.y.dtype == torch.int64


@pytest.mark.parametrize(
    ("package", "why"),
    [(None, "which is not installed here: pip install"), (ModuleSpec("sklearn", None, origin="/x/y.py"), "has no /x/")],
)
def test_digits_without_scikit_learn_say_where_they_come_from(
    monkeypatch: pytest.MonkeyPatch, package: ModuleSpec | None, why: str
) -> None:
    monkeypatch.setattr("caviar.models.data_sets.find_spec", lambda name: package)
    with pytest.raises(DataUnavailable, match=rf"digits comes with scikit-learn, .*{why}"):
        load("digits", Path("nowhere"), CPU)


def test_digits_are_split_60_20_20_without_overlap() -> None:
    data, test = load_all("digits", Path("nowhere"), CPU)
    assert test is not None
    parts = [data.training.x, data.validation.x, test.x]
    assert [len(x) for x in parts] == [1078, 359, 360]
    assert DATA_SETS["digits"].validation == 359
    assert data.sample == (1, 8, 8)
    assert data.classes == 10
    rows = torch.cat([x.flatten(1) for x in parts])
    assert len(torch.unique(rows, dim=0)) == 1797
    again = load("digits", Path("elsewhere"), CPU)
    assert torch.equal(again.training.x, data.training.x)


def test_the_training_part_alone_sets_mean_and_deviation() -> None:
    data = load("digits", Path("nowhere"), CPU)
    assert data.training.x.double().mean().item() == pytest.approx(0, abs=1e-5)
    assert data.training.x.double().std().item() == pytest.approx(1, abs=1e-3)
    assert abs(data.validation.x.double().mean().item()) > 1e-5  # it would be 0 if it had been normalised by itself


def test_mnist_is_read_as_torchvision_lays_it_out(small_mnist: Path) -> None:
    data, test = load_all("mnist", small_mnist, CPU)
    assert test is not None
    assert data.sample == (1, 28, 28)
    assert [len(part.y) for part in (data.training, data.validation, test)] == [100, 10_000, 50]
    assert data.training.x.dtype == torch.float32
    assert fetch("mnist", small_mnist) is False


def test_what_is_not_there_says_how_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(DataUnavailable, match="caviar data fetch mnist"):
        load("mnist", tmp_path, CPU)


def test_an_absent_network_is_one_clear_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from torchvision.datasets import MNIST

    monkeypatch.setattr(MNIST, "mirrors", ["http://127.0.0.1:9/"])
    with pytest.raises(DataUnavailable, match="could not be downloaded") as caught:
        fetch("mnist", tmp_path)
    assert "\n" not in str(caught.value)
    with pytest.raises(DataUnavailable):
        check_available("mnist", tmp_path)  # and nothing half-made is taken for it


def test_a_folder_without_the_files_is_not_the_data_set(tmp_path: Path) -> None:
    (tmp_path / "MNIST" / "raw").mkdir(parents=True)
    with pytest.raises(DataUnavailable, match="fetch it with"):
        load("mnist", tmp_path, CPU)


def test_files_that_cannot_be_read_are_one_clear_line(small_mnist: Path) -> None:
    (small_mnist / "MNIST" / "raw" / "train-images-idx3-ubyte").write_bytes(b"nonsense")
    with pytest.raises(DataUnavailable, match="could not be read in"):
        load("mnist", small_mnist, CPU)


def test_shapes_are_known_without_the_data() -> None:
    assert shape("digits") == ((1, 8, 8), 10, True)
    assert shape("cifar10") == ((3, 32, 32), 10, True)


def test_unknown_data_offers_the_nearest_names() -> None:
    with pytest.raises(UnknownData, match="did you mean mnist"):
        fetch("mnst", Path("nowhere"))
