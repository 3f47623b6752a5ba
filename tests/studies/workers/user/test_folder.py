"""The folder of a trial becomes a part of its state and comes back; a hostile state writes nothing anywhere."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import torch

from caviar.models.checkpoint import from_bytes, to_bytes
from caviar.models.errors import BadCheckpoint
from caviar.storage.errors import CheckpointNotWritten
from caviar.studies.workers.user import folder as module
from caviar.studies.workers.user.folder import pack, unpack

BYTES = torch.tensor([1, 2], dtype=torch.uint8)


def content(folder: Path) -> dict[str, bytes]:
    return {str(f.relative_to(folder)): f.read_bytes() for f in sorted(folder.rglob("*")) if f.is_file()}


def test_a_folder_comes_back_as_it_was(tmp_path: Path) -> None:
    files = {"model.pt": b"\0\xff" * 1000, "empty": b"", "logs/a b/ä.txt": b"x", "logs/.hidden": b"y"}
    here, there = tmp_path / "here", tmp_path / "there"
    for name, data in files.items():
        (here / name).parent.mkdir(parents=True, exist_ok=True)
        (here / name).write_bytes(data)
    there.mkdir()
    state = from_bytes(to_bytes({"files": pack(here)}), torch.device("cpu"))
    unpack(state["files"], there)
    assert content(there) == dict(sorted(files.items()))


@pytest.mark.parametrize("kind", ["link", "link to a folder", "pipe", "broken link"])
def test_only_regular_files_are_saved(tmp_path: Path, kind: str) -> None:
    (tmp_path / "last").mkdir()
    odd = tmp_path / "last" / "odd"
    match kind:
        case "link":
            odd.symlink_to("/etc/passwd")
        case "link to a folder":
            odd.symlink_to("/etc")
        case "broken link":
            odd.symlink_to("nowhere")
        case "pipe":
            os.mkfifo(odd)
    what = "no regular file" if kind == "pipe" else "a link"
    with pytest.raises(CheckpointNotWritten, match=f"last/odd in its folder is {what}; only regular files are saved"):
        pack(tmp_path)


def test_names_that_not_every_machine_takes_are_not_saved(tmp_path: Path) -> None:
    (tmp_path / "a\nb").touch()
    with pytest.raises(CheckpointNotWritten, match=r"a\\nb in its folder has the control character"):
        pack(tmp_path)
    (tmp_path / "a\nb").unlink()
    (tmp_path / os.fsdecode(b"\xff")).touch()
    with pytest.raises(CheckpointNotWritten, match="is not UTF-8"):
        pack(tmp_path)


def test_a_folder_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FILES", 2)
    monkeypatch.setattr(module, "FOLDER", 2**20)
    for name in "ab":
        (tmp_path / name).write_bytes(b"x" * 2**19)
    assert len(pack(tmp_path)) == 2
    (tmp_path / "c").touch()
    with pytest.raises(CheckpointNotWritten, match="more than 2 files"):
        pack(tmp_path)
    (tmp_path / "c").unlink()
    with (tmp_path / "b").open("ab") as file:
        file.truncate(2**40)  # sparse: nothing of it is read
    with pytest.raises(CheckpointNotWritten, match=r"more than 0\.000976562 GiB"):
        pack(tmp_path)


def test_a_file_that_is_being_written_is_not_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").write_bytes(b"1")
    asked = os.fstat

    def changed(descriptor: int) -> os.stat_result:
        facts = asked(descriptor)
        with (tmp_path / "a").open("ab") as file:
            file.write(b"2")
        return facts

    monkeypatch.setattr(module.os, "fstat", changed)
    with pytest.raises(CheckpointNotWritten, match="a in its folder was changed while it was saved; write it under"):
        pack(tmp_path)


def step(folder: Path, epoch: int) -> None:
    for name in "ab":
        (folder / "new").write_text(str(epoch))
        (folder / "new").rename(folder / name)


def test_files_of_two_epochs_are_never_saved_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PAUSE", 0)
    step(tmp_path, 1)
    read, epochs = module._read, iter([2])

    def read_and_step(entry: os.DirEntry[str], *given: Any) -> Any:
        content = read(entry, *given)
        if entry.name == "a" and (epoch := next(epochs, None)):
            step(tmp_path, epoch)
        return content

    monkeypatch.setattr(module, "_read", read_and_step)
    assert {path: data.numpy().tobytes() for path, data in pack(tmp_path).items()} == {"a": b"2", "b": b"2"}
    epochs = iter(range(3, 100))
    with pytest.raises(CheckpointNotWritten, match=r"the files in its folder were changed .*, such as a; write one"):
        pack(tmp_path)


@pytest.mark.parametrize(
    "files",
    [
        {"../evil": BYTES},
        {"/tmp/caviar-evil": BYTES},
        {"a/../../evil": BYTES},
        {"a//b": BYTES},
        {"": BYTES},
        {".": BYTES},
        {"..": BYTES},
        {"a/": BYTES},
        {"..\\evil": BYTES},
        {"a\0b": BYTES},
        {"a\nb": BYTES},
        {"\udcff": BYTES},
        {"x" * 256: BYTES},
        {"x/" * 600 + "x": BYTES},
        {1: BYTES},
        {"a": BYTES, "a/b": BYTES},
        {"a/b": BYTES, "a": BYTES},
        {"a": b"bytes"},
        {"a": BYTES.float()},
        {"a": BYTES.view(1, 2)},
        {"a": torch.zeros(1, dtype=torch.uint8).expand(2**31)},
        {"a": torch.zeros(4, dtype=torch.uint8)[::2]},
        {"a": torch.zeros(2, dtype=torch.uint8).to_sparse()},
        {"a": torch.zeros(2**40, dtype=torch.uint8, device="meta")},
        [("a", BYTES)],
        None,
    ],
)
def test_a_hostile_state_writes_nothing(tmp_path: Path, files: Any) -> None:
    folder = tmp_path / "trial" / "folder"
    folder.mkdir(parents=True)
    with pytest.raises(BadCheckpoint, match=r"^the checkpoint has "):
        unpack({"fine": BYTES, **files} if isinstance(files, dict) else files, folder)
    assert content(tmp_path) == {}


def test_a_state_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FILES", 2)
    with pytest.raises(BadCheckpoint, match="at most 2 files"):
        unpack(dict.fromkeys("abc", BYTES), tmp_path)
    monkeypatch.setattr(module, "FOLDER", 3)
    with pytest.raises(BadCheckpoint, match="more than"):
        unpack(dict.fromkeys("ab", BYTES), tmp_path)
    assert content(tmp_path) == {}
