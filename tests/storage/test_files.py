"""Checkpoints as files: whole or not there at all, found by every machine, and no key shown by any message."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, ClassVar

import pytest
from fsspec import AbstractFileSystem
from fsspec.registry import _registry as registry

from caviar.storage import files as files_module
from caviar.storage import local_files
from caviar.storage.errors import (
    BadCheckpointsAddress,
    CheckpointNotRemoved,
    CheckpointNotWritten,
    CheckpointUnreachable,
    DamagedCheckpoint,
)
from caviar.storage.files import CheckpointFiles


class FakeS3(AbstractFileSystem):
    """What s3fs does with one bucket, as far as Caviar asks for it; s3fs itself is an extra that no test needs."""

    protocol = "s3"
    cachable = False
    objects: ClassVar[dict[str, bytes]] = {}
    broken: ClassVar[Exception | None] = None

    def _key(self, path: str) -> str:
        if self.broken is not None:
            raise self.broken
        if not f"{path}/".startswith("bucket/"):
            raise FileNotFoundError(errno.ENOENT, "The specified bucket does not exist")
        return path

    def pipe_file(self, path: str, value: bytes, **_: Any) -> None:
        self.objects[self._key(path)] = value

    def cat_file(self, path: str, **_: Any) -> bytes:
        if self._key(path) not in self.objects:
            raise FileNotFoundError(path)
        return self.objects[path]

    def size(self, path: str) -> int:
        return len(self.cat_file(path))

    def rm_file(self, path: str) -> None:
        self.objects.pop(self._key(path), None)

    def find(self, path: str, **_: Any) -> dict[str, dict[str, Any]]:
        folder = f"{self._key(path)}/"
        return {
            name: {"name": name, "size": len(self.objects[name]), "type": "file"}
            for name in sorted(self.objects)
            if name.startswith(folder)
        }


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> type[FakeS3]:
    monkeypatch.setitem(registry, "s3", FakeS3)
    monkeypatch.setattr(FakeS3, "objects", {})
    monkeypatch.setattr(FakeS3, "broken", None)
    return FakeS3


@pytest.fixture(params=["file", "s3"])
def root(request: pytest.FixtureRequest, tmp_path: Path, s3: type[FakeS3]) -> str:
    return "s3://bucket/some/prefix" if request.param == "s3" else f"file://{tmp_path}/not yet/there"


def everything_under(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def is_folder(descriptor: int) -> bool:
    return stat.S_ISDIR(os.fstat(descriptor).st_mode)


def test_a_file_is_found_by_its_address_alone_and_replaced(root: str) -> None:
    files = CheckpointFiles(root)
    assert list(files.list()) == []
    address = files.write("3/17-4", b"first")
    assert address == f"{root}/3/17-4.checkpoint"
    assert files.read(address) == b"first"
    assert files.write("3/17-4", b"second") == address
    assert files.read(address) == b"second"
    other = files.write("4/0-1", b"")
    assert sorted(files.list()) == sorted([(address, 6), (other, 0)])


def test_a_removed_file_is_gone_and_may_be_removed_again(root: str) -> None:
    files = CheckpointFiles(root)
    address, other = files.write("a", b"1"), files.write("b", b"22")
    files.remove(address)
    files.remove(address)
    assert list(files.list()) == [(other, 2)]
    with pytest.raises(DamagedCheckpoint, match=r"a\.checkpoint is not there"):
        files.read(address)


@pytest.mark.parametrize("spelling", ["{}/", "{}//"])
def test_each_spelling_of_the_root_makes_the_same_addresses(root: str, spelling: str) -> None:
    assert CheckpointFiles(spelling.format(root)).write("a", b"") == CheckpointFiles(root).write("a", b"")


def test_a_doubled_slash_is_the_same_folder(tmp_path: Path) -> None:
    assert CheckpointFiles(f"file:///{tmp_path}").write("a", b"") == f"file://{tmp_path}/a.checkpoint"


def test_what_others_keep_there_is_not_listed(root: str, s3: type[FakeS3], tmp_path: Path) -> None:
    files = CheckpointFiles(root)
    ours = files.write("a", b"1")
    CheckpointFiles(f"{root}2").write("a", b"of another root")
    s3.objects["bucket/some/prefix/model.pt"] = b"a colleague's"
    (tmp_path / "not yet/there").mkdir(parents=True, exist_ok=True)
    (tmp_path / "not yet/there/model.pt").write_bytes(b"a colleague's")
    (tmp_path / "not yet/there/a.checkpoint.tmp").write_bytes(b"a colleague's")
    assert list(files.list()) == [(ours, 1)]


def test_a_file_that_goes_while_files_are_listed_is_left_out(tmp_path: Path) -> None:
    address = CheckpointFiles(f"file://{tmp_path}").write("b", b"1")
    (tmp_path / "a.checkpoint").symlink_to("gone")  # has a name and no file, as one has that was just removed
    assert list(CheckpointFiles(f"file://{tmp_path}").list()) == [(address, 1)]


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("/shared/dir", "write file:///shared/dir"),
        ("shared/dir", r"file:///FOLDER.*or s3://BUCKET/PREFIX"),
        ("", r"file:///FOLDER.*or s3://BUCKET/PREFIX"),
        ("file:/shared/dir", r"does not begin with file:// or s3://.*file:///FOLDER"),
        ("file://shared/dir", r"no absolute folder.*file:///FOLDER"),
        ("file://", r"no absolute folder.*file:///FOLDER"),
        ("s3://", r"no bucket.*s3://BUCKET/PREFIX"),
        ("s3:///prefix", r"no bucket.*s3://BUCKET/PREFIX"),
        ("gs://bucket/prefix", r"'gs://'.*file:///FOLDER.*or s3://BUCKET/PREFIX"),
        ("memory://x", "'memory://'"),
        ("KEY:secret@bucket", "does not begin with"),
        ("https://KEY:secret@host/x", "'https://'"),
        ("file://KEY:secret@host/x", "no absolute folder"),
        ("s3://KEY:secret@bucket/prefix", "AWS_SECRET_ACCESS_KEY"),
        ("s3://KEY:one/secret@bucket/prefix", "AWS_SECRET_ACCESS_KEY"),
        ("s3://bucket/prefix?key=secret", "AWS_SECRET_ACCESS_KEY"),
    ],
)
def test_a_bad_address_is_told_with_the_next_step_and_no_secret(address: str, said: str) -> None:
    with pytest.raises(BadCheckpointsAddress, match=said) as caught:
        CheckpointFiles(address)
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_without_s3fs_the_command_that_installs_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(registry, "s3", raising=False)
    monkeypatch.setitem(sys.modules, "s3fs", None)
    with pytest.raises(BadCheckpointsAddress, match=r"pip install --editable '\.\[s3\]'"):
        CheckpointFiles("s3://bucket/prefix")


def test_neither_fsspec_nor_s3fs_is_loaded_before_it_is_used() -> None:
    code = "import sys, caviar.storage.files; sys.exit(sorted({'fsspec', 's3fs'} & set(sys.modules)) or 0)"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("step", ["fsync", "replace"])
@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
def test_a_write_that_fails_leaves_nothing_but_the_file_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, error: BaseException
) -> None:
    files = CheckpointFiles(f"file://{tmp_path}")
    address = files.write("a", b"before")

    def fail(*_: object) -> None:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(os, step, fail)
        for key in ("a", "new"):
            with pytest.raises((CheckpointNotWritten, KeyboardInterrupt)) as caught:
                files.write(key, b"after")
            if isinstance(error, OSError):
                assert f"{key}.checkpoint: No space left on device;" in str(caught.value)
    assert files.read(address) == b"before"
    assert everything_under(tmp_path) == [tmp_path / "a.checkpoint"]


def test_the_bytes_are_on_the_disk_before_the_name_and_the_name_before_write_returns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = []
    fsync, replace = os.fsync, os.replace

    def note_fsync(descriptor: int) -> None:
        done.append("folder" if is_folder(descriptor) else "file")
        fsync(descriptor)

    def note_replace(source: str, target: str) -> None:
        done.append("replace")
        replace(source, target)

    monkeypatch.setattr(os, "fsync", note_fsync)
    monkeypatch.setattr(os, "replace", note_replace)
    CheckpointFiles(f"file://{tmp_path}").write("a", b"1")
    assert done == ["file", "replace", "folder"]


def test_a_file_system_that_cannot_sync_folders_is_good_enough_but_a_failing_one_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files, fsync = CheckpointFiles(f"file://{tmp_path}"), os.fsync
    answer = errno.EINVAL

    def refuse_folders(descriptor: int) -> None:
        if is_folder(descriptor):
            raise OSError(answer, os.strerror(answer))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", refuse_folders)
    assert files.read(files.write("a", b"1")) == b"1"
    answer = errno.EIO
    with pytest.raises(CheckpointNotWritten, match="Input/output error"):
        files.write("a", b"2")


def test_a_writer_that_is_killed_leaves_a_file_that_is_listed_and_the_one_before(tmp_path: Path) -> None:
    files = CheckpointFiles(f"file://{tmp_path}")
    address = files.write("1/a", b"before")
    code = (
        "import os, signal, sys\n"
        "from caviar.storage.files import CheckpointFiles\n"
        "os.fsync = lambda _: os.kill(os.getpid(), signal.SIGKILL)\n"
        "CheckpointFiles(sys.argv[1]).write('1/a', b'after that')\n"
    )
    killed = subprocess.run([sys.executable, "-c", code, f"file://{tmp_path}"], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert files.read(address) == b"before"
    (left,) = [(found, size) for found, size in files.list() if found != address]
    assert left[0].startswith(f"{address}.")
    assert left[1] == len(b"after that")
    files.remove(left[0])
    assert list(files.list()) == [(address, 6)]


def test_nobody_reads_half_a_file_while_it_is_replaced(tmp_path: Path) -> None:
    files = CheckpointFiles(f"file://{tmp_path}")
    states = [bytes([number]) * 2_000_000 for number in range(4)]
    address = files.write("a", states[0])
    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(lambda: [files.write("a", state) for _ in range(10) for state in states])
        while not writing.done():
            assert files.read(address) in states
        writing.result()


def test_other_accounts_may_read_what_the_umask_lets_them(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        CheckpointFiles(f"file://{tmp_path}").write("a", b"1")
    finally:
        os.umask(before)
    assert (tmp_path / "a.checkpoint").stat().st_mode & 0o777 == 0o640


ELSEWHERE = [
    "file:///etc/shadow", "file:///etc/no-such-file", "file:///dev/zero", "file:///etc/x.checkpoint",
    "{root}", "{root}/", "{root}/1/model.pt", "{root}/1/.checkpoint", "{root}/1/a.checkpoint\n",
    "{root}/1/a.checkpoint/", "{root}/../secret.checkpoint", "{root}/./1/a.checkpoint", "{root}//1/a.checkpoint",
    "{root}2/a.checkpoint",
    "s3://other/prefix/a.checkpoint", "s3://bucket/some/prefix/../a.checkpoint", "gs://x/a.checkpoint",
    "a.checkpoint", "",
]  # fmt: skip


@pytest.mark.parametrize("address", ELSEWHERE)
def test_what_is_not_under_the_root_or_not_caviars_is_neither_read_nor_removed_nor_looked_for(
    root: str, tmp_path: Path, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = CheckpointFiles(root)
    files.write("1/a", b"1")
    (tmp_path / "not yet/secret.checkpoint").parent.mkdir(exist_ok=True)
    (tmp_path / "not yet/secret.checkpoint").write_bytes(b"not Caviar's")
    before = sorted(everything_under(tmp_path))
    named = address.format(root=root)
    monkeypatch.setattr(os, "open", lambda *_, **__: pytest.fail("a file was opened"))
    with pytest.raises(CheckpointUnreachable) as caught:
        files.read(named)
    with pytest.raises(CheckpointNotRemoved):
        files.remove(named)
    assert str(caught.value) == (
        f"the checkpoint {named} is not at {root}, which CAVIAR_CHECKPOINTS names on this machine: set it to the "
        f"address that the study's other machines have"
    )
    assert sorted(everything_under(tmp_path)) == before


@pytest.mark.parametrize("what", ["link to a file", "link to a folder", "pipe", "device", "folder"])
def test_only_regular_files_are_read_or_removed(tmp_path: Path, what: str) -> None:
    (tmp_path / "shared").mkdir()
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/a.checkpoint").write_bytes(b"secret")
    place = tmp_path / "shared/1"
    if what == "link to a folder":
        place.symlink_to(tmp_path / "outside")
    else:
        place.mkdir()
        file = place / "a.checkpoint"
        if what == "link to a file":
            file.symlink_to(tmp_path / "outside/a.checkpoint")
        elif what == "pipe":
            os.mkfifo(file)
        elif what == "folder":
            file.mkdir()
        elif os.geteuid() == 0:
            os.mknod(file, stat.S_IFCHR | 0o600, os.makedev(1, 5))  # /dev/zero
        else:
            pytest.skip("only root can make a device")
    files = CheckpointFiles(f"file://{tmp_path}/shared")
    address = f"file://{tmp_path}/shared/1/a.checkpoint"
    with pytest.raises(CheckpointUnreachable):
        files.read(address)
    with pytest.raises(CheckpointNotRemoved):
        files.remove(address)
    assert list(files.list()) == []
    assert os.path.lexists(place / "a.checkpoint")
    assert (tmp_path / "outside/a.checkpoint").read_bytes() == b"secret"


def test_a_file_that_is_too_large_is_not_read(root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (files_module, local_files):
        monkeypatch.setattr(module, "LIMIT", 3)
    files = CheckpointFiles(root)
    assert files.read(files.write("a", b"123")) == b"123"
    with pytest.raises(CheckpointUnreachable, match="it is larger than"):
        files.read(files.write("b", b"1234"))


@contextlib.contextmanager
def small_disk(folder: Path) -> Iterator[None]:
    """Mount one megabyte of memory on the folder; skip the test where that is not allowed."""
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("only root on Linux can mount the small disk that this test fills")
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    mounted = subprocess.run(command, check=False, capture_output=True, text=True)
    if mounted.returncode != 0:
        pytest.skip(f"mounting the small disk that this test fills is not allowed here: {mounted.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_is_told_and_keeps_what_it_has(tmp_path: Path) -> None:
    with small_disk(tmp_path):
        files = CheckpointFiles(f"file://{tmp_path}")
        address = files.write("a", b"x" * 400_000)
        for key in ("a", "b"):
            with pytest.raises(
                CheckpointNotWritten, match="No space left on device; every machine needs free space there"
            ):
                files.write(key, b"y" * 900_000)
        assert files.read(address) == b"x" * 400_000
        assert everything_under(tmp_path) == [tmp_path / "a.checkpoint"]
        assert files.read(files.write("b", b"z" * 400_000)) == b"z" * 400_000  # the room was given back


def test_each_failure_on_a_disk_has_its_own_error_and_reason(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(CheckpointNotWritten, match=f"file://{tmp_path}/file/a.checkpoint: File exists;"):
        CheckpointFiles(f"file://{tmp_path}/file").write("a", b"1")
    with pytest.raises(BadCheckpointsAddress, match=f"cannot list .*file://{tmp_path}/file: Not a directory"):
        list(CheckpointFiles(f"file://{tmp_path}/file").list())
    (tmp_path / "folder.checkpoint").mkdir()
    with pytest.raises(CheckpointUnreachable, match="it is no regular file"):
        CheckpointFiles(f"file://{tmp_path}").read(f"file://{tmp_path}/folder.checkpoint")
    with pytest.raises(CheckpointNotRemoved, match=r"it is no regular file; .*remove it by hand"):
        CheckpointFiles(f"file://{tmp_path}").remove(f"file://{tmp_path}/folder.checkpoint")


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (PermissionError(errno.EACCES, "Access Denied"), "Access Denied"),
        (PermissionError("Forbidden"), "Forbidden"),
        (Exception("Unable to locate\ncredentials"), "Unable to locate credentials"),  # botocore's are no OSErrors
        (TimeoutError(), "TimeoutError"),
    ],
)
def test_each_failure_of_s3_has_its_own_error_and_reason(s3: type[FakeS3], error: Exception, reason: str) -> None:
    files = CheckpointFiles("s3://bucket/prefix")
    address = files.write("a", b"1")
    s3.broken = error
    with pytest.raises(CheckpointNotWritten, match=f"{address}: {reason};"):
        files.write("a", b"2")
    with pytest.raises(BadCheckpointsAddress, match=f"cannot list .*s3://bucket/prefix: {reason};"):
        list(files.list())
    with pytest.raises(CheckpointUnreachable, match=f"{address}: {reason};"):
        files.read(address)
    with pytest.raises(CheckpointNotRemoved, match=f"{address}: {reason};"):
        files.remove(address)
    s3.broken = None
    assert files.read(address) == b"1"


def test_a_bucket_that_does_not_exist_is_told(s3: type[FakeS3]) -> None:
    files = CheckpointFiles("s3://elsewhere")
    with pytest.raises(
        CheckpointNotWritten, match=r"s3://elsewhere/a\.checkpoint: The specified bucket does not exist"
    ):
        files.write("a", b"1")
    with pytest.raises(BadCheckpointsAddress, match="The specified bucket does not exist"):
        list(files.list())
