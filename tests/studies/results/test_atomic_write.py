"""A target is written as a whole or not at all, and nothing but a file or a folder is ever replaced."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from caviar.studies.errors import OutputError
from caviar.studies.results.atomic_write import atomic_write


def write(target: Path, text: str) -> None:
    with atomic_write(target, "-o") as unfinished:
        unfinished.write_text(text)


def test_a_pipe_gets_the_bytes_and_stays(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    (tmp_path / "link").symlink_to(pipe)  # as /dev/stdout is one
    for target in (pipe, tmp_path / "link"):
        with ThreadPoolExecutor(1) as pool:
            read = pool.submit(pipe.read_text)
            write(target, "whole")
            if not target.is_fifo():  # nobody writes to it any more
                pytest.fail("the pipe was replaced")
            assert read.result(60) == "whole"
    assert (tmp_path / "link").is_symlink()
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    assert {path.name for path in tmp_path.iterdir()} == {"pipe", "link"}


@pytest.mark.parametrize("named", ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1", "link"])
@pytest.mark.parametrize("mode", ["wb", "ab"])
def test_a_file_that_standard_output_goes_to_keeps_what_is_written_before_and_after(
    tmp_path: Path, mode: str, named: str
) -> None:
    (tmp_path / "link").symlink_to("/dev/stdout")
    log = tmp_path / "log"
    log.write_text("of yesterday\n")
    inode = log.stat().st_ino
    program = (
        "import pathlib, sys\n"
        "from caviar.studies.results.atomic_write import atomic_write\n"
        "print('before')\n"
        "with atomic_write(pathlib.Path(sys.argv[1]), '-o') as unfinished:\n"
        "    unfinished.write_text('whole\\n')\n"
        "print('after')\n"
    )
    with log.open(mode) as stream:
        subprocess.run([sys.executable, "-c", program, tmp_path / named], stdout=stream, check=True)
    kept = "of yesterday\n" if mode == "ab" else ""
    assert log.read_text() == f"{kept}before\nwhole\nafter\n"
    assert log.stat().st_ino == inode


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a device, and replace one")
def test_a_device_that_takes_nothing_is_an_error_and_stays(tmp_path: Path) -> None:
    device = tmp_path / "full"
    os.mknod(device, stat.S_IFCHR | 0o666, os.makedev(1, 7))
    with pytest.raises(OutputError, match=r"full cannot be written: .*name another place: -o"):
        write(device, "whole")
    assert stat.S_ISCHR(device.stat().st_mode)
    assert [path.name for path in tmp_path.iterdir()] == ["full"]


def test_what_a_link_points_at_is_replaced_and_the_link_stays(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "link").symlink_to("there/file")
    for text in ("first", "second"):
        write(tmp_path / "link", text)
        assert (tmp_path / "there" / "file").read_text() == text
    assert (tmp_path / "link").is_symlink()
    assert [path.name for path in (tmp_path / "there").iterdir()] == ["file"]


def test_several_may_write_the_same_file_at_the_same_time(tmp_path: Path) -> None:
    together = threading.Barrier(3, timeout=60)

    def write_together(text: str) -> None:
        with atomic_write(tmp_path / "file", "-o") as unfinished:
            unfinished.write_text(text)
            together.wait()

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(write_together, ["a" * 9, "b" * 9, "c" * 9]))
    assert (tmp_path / "file").read_text() in ("a" * 9, "b" * 9, "c" * 9)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_the_longest_name_is_written(tmp_path: Path) -> None:
    write(tmp_path / ("x" * 255), "whole")
    assert (tmp_path / ("x" * 255)).read_text() == "whole"


def test_an_error_leaves_what_was_there(tmp_path: Path) -> None:
    write(tmp_path / "file", "before")

    def fail() -> None:
        with atomic_write(tmp_path / "file", "-o") as unfinished:
            unfinished.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("file", "before")]
