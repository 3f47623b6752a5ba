"""No process of a command outlives its worker, however it tries, and however the worker ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from caviar.storage.processes import is_alive
from caviar.studies.errors import CommandFailed
from caviar.studies.workers.user.process_group import ProcessGroup, Source, is_guardian
from tests.helpers.command import until

# A process that has left the group, one whose parent has ended, one that has both, and one that hears no SIGTERM.
ESCAPES = """
trap true TERM
echo $$ > pids
setsid sh -c 'echo $$ >> pids; sleep 600' &
sh -c 'sleep 600 & echo $! >> pids'
sh -c 'setsid sh -c "echo \\$\\$ >> pids; trap true TERM HUP INT; while true; do sleep 1; done" &'
sh -c 'trap "" TERM; echo $$ >> pids; while true; do sleep 1; done' &
while [ $(wc -l < pids) -lt 5 ]; do sleep 0.05; done
echo ready
"""
WAIT = "while true; do sleep 1; done"


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., ProcessGroup]]:
    os.mkfifo(tmp_path / "reports")
    groups = list[ProcessGroup]()

    def start_(*arguments: str, grace: float = 0.3) -> ProcessGroup:
        environment = {**os.environ, "REPORTS": str(tmp_path / "reports")}
        groups.append(ProcessGroup(arguments, environment, tmp_path, tmp_path / "reports", grace))
        return groups[-1]

    yield start_
    for group in groups:
        group.end()


def read(group: ProcessGroup) -> dict[Source, bytes]:
    received = dict.fromkeys(Source, b"")
    while not group.is_over:
        for source, data in group.receive(1):
            received[source] += data
    return received


def pids(folder: Path) -> list[int]:
    return [int(line) for line in (folder / "pids").read_text().split()]


def test_everything_that_is_written_is_read(start: Callable[..., ProcessGroup]) -> None:
    group = start("sh", "-c", "echo out; echo err >&2; printf report > $REPORTS; head -c 1000000 /dev/zero; exit 3")
    received = read(group)
    assert sorted(received[Source.OUTPUT].rstrip(b"\0").split()) == [b"err", b"out"]
    assert received[Source.OUTPUT].count(b"\0") == 1_000_000
    assert received[Source.REPORT] == b"report"
    assert group.exit == 3


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV])
def test_the_signal_that_ended_it_is_known(start: Callable[..., ProcessGroup], number: int) -> None:
    group = start("sh", "-c", f"kill -{number} $$")
    read(group)
    assert group.exit == -number


def test_a_program_that_cannot_be_run_is_named(start: Callable[..., ProcessGroup], tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no program")
    for program, why in (("nowhere", "No such file"), ("./text", "Permission denied"), (str(tmp_path), "denied")):
        with pytest.raises(CommandFailed, match=f"{program} cannot be run: .*{why}"):
            start(program)


def test_what_a_command_leaves_behind_ends_with_it(start: Callable[..., ProcessGroup], tmp_path: Path) -> None:
    group = start("sh", "-c", ESCAPES)
    assert read(group)[Source.OUTPUT] == b"ready\n"
    assert group.exit == 0
    assert len(pids(tmp_path)) == 5
    assert not any(map(is_alive, pids(tmp_path)))


def test_the_end_comes_with_sigterm_and_after_the_grace_with_sigkill(
    start: Callable[..., ProcessGroup], tmp_path: Path
) -> None:
    group = start("sh", "-c", ESCAPES + WAIT)
    until(lambda: group.receive(1))
    group.end()
    assert group.exit == -signal.SIGKILL
    assert not any(map(is_alive, pids(tmp_path)))
    mild = start("sh", "-c", "trap 'echo saved; exit 7' TERM; echo ready; while true; do sleep 0.05; done", grace=60)
    until(lambda: mild.receive(1))
    mild.end()
    assert mild.exit == 7


def test_a_command_that_is_stopped_is_ended_too(start: Callable[..., ProcessGroup]) -> None:
    group = start("sh", "-c", "echo ready; kill -STOP $$; sleep 600", grace=60)
    until(lambda: group.receive(1))
    group.end()
    assert group.exit == -signal.SIGTERM


def test_a_command_that_floods_its_output_is_ended(start: Callable[..., ProcessGroup]) -> None:
    group = start("sh", "-c", "trap '' TERM PIPE; while true; do cat /dev/zero; done", grace=0.3)
    until(lambda: group.receive(1))
    group.end()
    assert group.exit == -signal.SIGKILL


def test_a_command_that_forks_all_the_time_is_ended(start: Callable[..., ProcessGroup]) -> None:
    group = start("sh", "-c", "f() { sleep 0.1; f & }; f & f & echo ready; wait; sleep 600", grace=0.1)
    until(lambda: group.receive(1))
    group.end()
    assert group.exit == -signal.SIGTERM


WORKER = """
import os, sys
from pathlib import Path
from caviar.studies.workers.user.process_group import ProcessGroup
here = Path.cwd()
group = ProcessGroup(["sh", "-c", sys.argv[1]], dict(os.environ), here, here / "reports")
while True:
    for source, data in group.receive(1):
        print(data.decode(), end="", flush=True)
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV])
def test_nothing_of_a_command_outlives_its_worker(tmp_path: Path, number: int) -> None:
    os.mkfifo(tmp_path / "reports")
    command = [sys.executable, "-c", WORKER, ESCAPES + WAIT]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, start_new_session=True) as worker:
        assert worker.stdout is not None
        assert worker.stdout.readline() == b"ready\n"
        escaped = pids(tmp_path)
        assert all(map(is_alive, escaped))
        worker.send_signal(number)
    until(lambda: not any(map(is_alive, escaped)))


def test_a_guardian_is_known_from_others(start: Callable[..., ProcessGroup]) -> None:
    group = start("sleep", "600")
    assert group._leader is not None
    assert [is_guardian(pid) for pid in (group._guardian.pid, group._leader, os.getpid(), 2**22)] == [
        True,
        *[False] * 3,
    ]


def test_a_guardian_that_is_killed_takes_the_group_with_it(start: Callable[..., ProcessGroup], tmp_path: Path) -> None:
    group = start("sh", "-c", "echo $$ > pids; sh -c 'echo $$ >> pids; echo ready; sleep 600'; true")
    until(lambda: group.receive(1))
    group._guardian.kill()
    read(group)
    assert group.exit == -signal.SIGKILL
    until(lambda: not any(map(is_alive, pids(tmp_path))))
