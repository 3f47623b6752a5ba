"""A command that is started again: what it ends with decides, and it does not outlive what started it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from caviar.studies.launch import turns
from caviar.studies.launch.turns import Turns
from tests.helpers.command import until

# Ends with the next number of a file, negative for a signal; with "wait" it writes down which signal ends it.
PROGRAM = """\
import os, pathlib, signal, sys, time

def leave(number, frame):
    pathlib.Path("heard").write_text(signal.Signals(number).name)
    sys.exit(75)

signal.signal(signal.SIGTERM, leave)
how, *rest = pathlib.Path("ends").read_text().split()
pathlib.Path("ends").write_text(" ".join(rest))
if how == "wait":
    pathlib.Path("began").touch()
    time.sleep(600)
print("some line\\nwhy it ended", file=sys.stderr)
if int(how) < 0:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.kill(os.getpid(), -int(how))
sys.exit(int(how))
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "program.py").write_text(PROGRAM)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(turns, "_PAUSE", 0.01)
    return tmp_path


def turns_of(ends: str, leaving: float = 60) -> Turns:
    Path("ends").write_text(ends)
    return Turns([sys.executable, "program.py"], os.environ, leaving)


@pytest.mark.parametrize(
    ("ends", "reason", "left"),
    [
        ("0 1", "", "1"),
        ("75 -9 -15 75 0 1", "", "1"),
        ("75 2 1", "exit code 2: why it ended", "1"),
        ("1 0", "exit code 1: why it ended", "0"),
    ],
)
def test_what_a_turn_ends_with_decides_whether_there_is_another(
    folder: Path, ends: str, reason: str, left: str
) -> None:
    assert turns_of(ends).run() == reason
    assert Path("ends").read_text() == left


def test_a_program_that_is_not_there_is_a_failure_for_good(folder: Path) -> None:
    said = Turns(["./nothing"], os.environ, 60).run()
    assert said == "exit code 2: ./nothing cannot be run: No such file or directory"


def test_a_stop_lets_the_command_leave_and_begins_no_other_turn(folder: Path) -> None:
    own = turns_of("wait 0")
    running = threading.Thread(target=own.run)
    running.start()
    until(Path("began").exists)
    own.stop()
    running.join(60)
    assert Path("heard").read_text() == "SIGTERM"
    assert Path("ends").read_text() == "0"


def test_turns_that_do_not_last_come_ever_slower() -> None:
    pauses = [turns.pause_after(quick) for quick in range(60)]
    assert pauses[0] <= 1
    assert 4 <= pauses[3] <= 8
    assert 150 <= min(pauses[9:]) <= max(pauses) <= 300


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process that its parent has died")
def test_the_command_hears_when_its_actor_is_killed(folder: Path) -> None:
    Path("ends").write_text("wait")
    start = "import os, sys; from caviar.studies.launch.turns import Turns; " \
            "Turns([sys.executable, 'program.py'], os.environ, 60).run()"  # fmt: skip
    actor = subprocess.Popen([sys.executable, "-c", start])
    until(Path("began").exists)
    os.kill(actor.pid, signal.SIGKILL)
    actor.wait()
    until(Path("heard").exists)
    until(lambda: Path("heard").read_text() == "SIGTERM")
