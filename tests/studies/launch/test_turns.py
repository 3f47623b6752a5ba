"""A command that is started again: what it ends with decides, and it does not outlive what started it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

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
        ("143 0 1", "", "1"),  # a shell's word for SIGTERM
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


def test_what_a_command_ends_with_after_a_stop_is_no_failure(folder: Path) -> None:
    Path("leaves.sh").write_text("trap 'exit 1' TERM\ntouch began\nwhile :; do sleep 0.1; done\n")
    own, said = Turns(["sh", "leaves.sh"], os.environ, 60), list[str]()
    running = threading.Thread(target=lambda: said.append(own.run()))
    running.start()
    until(Path("began").exists)
    own.stop()
    running.join(60)
    assert said == [""]


def test_a_command_that_does_not_leave_is_killed(folder: Path) -> None:
    Path("stays.sh").write_text("trap '' TERM\necho $$ >pid.new\nmv pid.new pid\nwhile :; do sleep 0.1; done\n")
    own = Turns(["sh", "stays.sh"], os.environ, leaving=0.1)
    running = threading.Thread(target=own.run, daemon=True)
    running.start()
    until(Path("pid").exists)
    own.stop()
    running.join(60)
    if running.is_alive():  # nothing of this test outlives it
        os.kill(int(Path("pid").read_text()), signal.SIGKILL)
        pytest.fail("it goes on")


def test_a_command_has_the_variables_that_it_is_given_and_no_others(folder: Path) -> None:
    given = {"PATH": os.environ["PATH"], "CAVIAR_JOB": "caviar-small_1"}
    assert Turns(["sh", "-c", 'echo "$CAVIAR_JOB $HOME" >said'], given, 60).run() == ""
    assert Path("said").read_text() == "caviar-small_1 \n"


def test_the_reason_is_the_last_line_that_says_something(folder: Path) -> None:
    assert Turns(["sh", "-c", "echo why >&2; echo >&2; exit 3"], os.environ, 60).run() == "exit code 3: why"


def test_a_command_whose_parent_has_ended_does_not_begin(folder: Path) -> None:
    bound = [sys.executable, "-m", "caviar.studies.launch.bound", "1", "touch", "began"]
    assert subprocess.run(bound, check=False).returncode == os.EX_TEMPFAIL
    assert not Path("began").exists()


def test_a_turn_that_lasts_makes_the_next_pause_short_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counts = list[int]()
    monkeypatch.setattr(turns, "pause_after", lambda quick: counts.append(quick) or 0.0)
    times = iter([0.0, 1.0, 1.0, 2.0, 2.0, 70.0, 70.0, 71.0, 71.0])  # when each turn begins and ends
    monkeypatch.setattr(turns, "time", SimpleNamespace(monotonic=lambda: next(times)))
    assert turns_of("75 75 75 75 0").run() == ""
    assert counts == [1, 2, 0, 1]


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
