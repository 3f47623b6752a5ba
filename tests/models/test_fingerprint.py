"""Digests of Caviar's training code and of data."""

from __future__ import annotations

from pathlib import Path

import pytest

import caviar.models
from caviar.models.data import files
from caviar.models.errors import DataUnavailable, UnknownData
from caviar.models.fingerprint import code_digest, data_digest


def test_caviars_code_has_one_digest_wherever_it_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    copy = tmp_path / "models"
    copy.mkdir()
    for file in Path(caviar.models.__file__).parent.glob("*.py"):
        (copy / file.name).write_bytes(file.read_bytes())
    same = code_digest()
    assert len(same) == 64
    monkeypatch.setattr("caviar.models.fingerprint._OURS", copy)
    assert code_digest() == same
    with (copy / "optim.py").open("a") as opened:
        opened.write("# changed\n")
    assert code_digest() != same


def test_data_are_told_by_their_bytes_wherever_they_are(tmp_path: Path) -> None:
    digests = []
    for place, content in (("here", b"images"), ("there", b"images"), ("elsewhere", b"imagos")):
        data_dir = tmp_path / place
        (data_dir / "MNIST" / "raw").mkdir(parents=True)
        with pytest.raises(DataUnavailable, match="caviar data fetch mnist"):
            data_digest("mnist", data_dir)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("caviar.models.data.check_available", lambda name, folder: None)
            for file in files("mnist", data_dir):
                file.write_bytes(content)
        digests.append(data_digest("mnist", data_dir))
    assert digests[0] == digests[1] != digests[2]


def test_data_that_change_places_are_other_data(tmp_path: Path) -> None:
    (tmp_path / "MNIST" / "raw").mkdir(parents=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("caviar.models.data.check_available", lambda name, folder: None)
        paths = files("mnist", tmp_path)
    for number, path in enumerate(paths):
        path.write_bytes(b"%d" % number)
    before = data_digest("mnist", tmp_path)
    contents = [path.read_bytes() for path in paths]
    for path, content in zip(paths, reversed(contents), strict=True):
        path.write_bytes(content)
    assert data_digest("mnist", tmp_path) != before


def test_digits_come_with_their_package_and_unknown_data_are_told() -> None:
    assert data_digest("digits", Path("nowhere")) == data_digest("digits", Path("elsewhere"))
    with pytest.raises(UnknownData, match="did you mean digits"):
        data_digest("digit", Path("nowhere"))
