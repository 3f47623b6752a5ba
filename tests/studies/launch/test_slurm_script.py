"""The script of a job array, by a shell alone; tests/chaos/test_slurm.py has the real Slurm."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from caviar.studies.errors import LaunchFailed, OptionError
from caviar.studies.launch.request import LaunchRequest
from caviar.studies.launch.site import Site
from caviar.studies.launch.slurm import Slurm
from tests.helpers.command import until

# A worker that says which signal it got, and leaves as `join --restartable` does.
WORKER = """\
import pathlib, signal, sys, time
def leave(number, frame):
    pathlib.Path("heard").write_text(signal.Signals(number).name)
    sys.exit({code})
signal.signal(signal.SIGUSR2, leave)
signal.signal(signal.SIGTERM, leave)
pathlib.Path("began").touch()
time.sleep(600)
"""


def test_the_directives_are_those_that_were_asked_for() -> None:
    site = Site.model_validate({
        "slurm": {"partition": "gpu", "account": "me", "cpus": 4, "memory": "16G", "running": 2,
                  "directives": ["--constraint=a100"]},
        "worker": {"setup": ["source activate"], "environment": {"OMP_NUM_THREADS": "1; rm"}},
    })  # fmt: skip
    text = Slurm(site).text(LaunchRequest("My.net", 8, 2, seconds=4 * 3600 + 1))
    directives = [line.removeprefix("#SBATCH ") for line in text.splitlines() if line.startswith("#SBATCH")]
    assert {
        "--job-name=caviar-my-net", "--array=1-8%2", "--requeue", "--open-mode=append", "--signal=B:USR2@60",
        "--time=241", "--gres=gpu:2", "--cpus-per-task=4", "--mem=16G", "--partition=gpu", "--account=me",
        "--constraint=a100",
    } <= set(directives)  # fmt: skip
    assert text.index("source activate") < text.index("export OMP_NUM_THREADS='1; rm'") < text.index("caviar join")


def test_where_workers_print_is_said_as_the_site_has_it() -> None:
    assert Slurm(Site()).output("small", "7") == "caviar-small-7_*.log, where it was submitted"
    site = Site.model_validate({"slurm": {"directives": ["--constraint=a100", "--output=/logs/%A_%a.out"]}})
    assert Slurm(site).output("small", "7") == "the file that --output=/logs/%A_%a.out names"
    again = Site.model_validate({"slurm": {"directives": ["--output=first.out", "--output=last.out"]}})
    assert Slurm(again).output("small", "7") == "the file that --output=last.out names"  # as sbatch has it
    directives = [line for line in Slurm(again).text(LaunchRequest("small")).splitlines() if "--output" in line]
    assert directives[-1] == "#SBATCH --output=last.out"  # behind Caviar's own


@pytest.mark.parametrize(
    ("worker", "command"),
    [
        ({}, f"{shlex.quote(sys.executable)} -m caviar join"),  # the environment that launches has no name there
        ({"setup": ["source activate"]}, "caviar join"),
        ({"setup": ["source activate"], "command": "/opt/caviar"}, "/opt/caviar join"),
    ],
)
def test_the_command_is_the_sites_or_that_of_this_environment(worker: dict[str, Any], command: str) -> None:
    text = Slurm(Site.model_validate({"worker": worker})).text(LaunchRequest("small"))
    assert f"\n  {command} small --restartable" in text


def test_a_time_that_leaves_no_time_to_leave_is_refused() -> None:
    with pytest.raises(OptionError, match=r"--time: give 240s or more"):
        Slurm(Site()).text(LaunchRequest("small", seconds=239))
    with pytest.raises(OptionError, match=r"--grace 70000: Slurm announces a task's end"):
        Slurm(Site()).text(LaunchRequest("small", grace=70_000))


def test_a_part_of_a_gpu_is_not_slurms_to_give() -> None:
    with pytest.raises(OptionError, match=r"--gpus-per-worker 0.5: only Ray"):
        Slurm(Site()).text(LaunchRequest("small", gpus=0.5))


@pytest.mark.parametrize("job", ["", "1 2", "$(id)", "--help", "1,2", "4711; rm", "1" * 30])
def test_a_job_that_the_database_names_goes_to_no_command_unless_it_is_a_number(job: str) -> None:
    with pytest.raises(LaunchFailed, match="no number of a job"):
        Slurm(Site()).tasks(job)
    with pytest.raises(LaunchFailed, match="no number of a job"):
        Slurm(Site()).stop(job)


def test_without_slurm_the_message_says_how_to_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(OptionError, match=r"no command sbatch here.*--dry-run"):
        Slurm(Site()).submit(LaunchRequest("small"))


@pytest.mark.parametrize(
    ("sent", "heard", "code", "is_requeued"),
    [
        (signal.SIGUSR2, "SIGUSR2", 75, True),  # the time is over, or another job is more important
        (signal.SIGUSR1, "SIGUSR2", 75, True),
        (signal.SIGTERM, "SIGTERM", 75, False),  # somebody gave scancel
        (signal.SIGUSR2, "SIGUSR2", 0, False),  # the study is done
        (signal.SIGUSR2, "SIGUSR2", 2, False),  # bad input: it would fail again
    ],
)
def test_a_task_asks_for_another_turn_where_its_worker_was_not_done(
    tmp_path: Path, sent: signal.Signals, heard: str, code: int, is_requeued: bool
) -> None:
    (tmp_path / "worker.py").write_text(WORKER.format(code=code))
    task = start_task(tmp_path, "python3 worker.py")
    until((tmp_path / "began").exists)
    task.send_signal(sent)
    assert task.wait(timeout=60) == code
    assert (tmp_path / "heard").read_text() == heard
    asked = tmp_path / "asked"
    assert (asked.read_text().split() if asked.exists() else None) == (["requeue", "7_3"] if is_requeued else None)


def test_a_worker_that_still_starts_when_it_is_preempted_gets_another_turn(tmp_path: Path) -> None:
    (tmp_path / "worker.py").write_text("import pathlib, time\npathlib.Path('began').touch()\ntime.sleep(600)\n")
    task = start_task(tmp_path, "python3 worker.py")
    until((tmp_path / "began").exists)
    task.send_signal(signal.SIGUSR2)
    assert task.wait(timeout=60) == 128 + signal.SIGUSR2
    assert (tmp_path / "asked").read_text().split() == ["requeue", "7_3"]


# A worker that takes its time to leave, until there is a file.
SLOW = """\
import pathlib, signal, sys, time
def note(number, frame):
    with open("heard", "a") as file:
        print(signal.Signals(number).name, file=file)
for number in (signal.SIGUSR2, signal.SIGTERM):
    signal.signal(number, note)
pathlib.Path("heard").touch()
pathlib.Path("began").touch()
while not pathlib.Path("may_leave").exists():
    time.sleep(0.02)
sys.exit(75)
"""


def test_a_task_that_gets_two_signals_waits_for_its_worker(tmp_path: Path) -> None:
    (tmp_path / "worker.py").write_text(SLOW)
    task = start_task(tmp_path, "python3 worker.py")
    until((tmp_path / "began").exists)
    for sent in (signal.SIGUSR2, signal.SIGTERM):
        task.send_signal(sent)
        until(lambda sent=sent: sent.name in (tmp_path / "heard").read_text())
    (tmp_path / "may_leave").touch()
    assert task.wait(timeout=60) == os.EX_TEMPFAIL
    assert not (tmp_path / "asked").exists()  # somebody gave scancel


def test_a_signal_between_the_workers_start_and_its_number_reaches_the_worker(tmp_path: Path) -> None:
    (tmp_path / "worker.py").write_text("import time\ntime.sleep(600)\n")
    setup = ["""trap 'case "$BASH_COMMAND" in worker=*) kill -USR2 $$;; esac' DEBUG"""]
    for _ in range(5):  # it is a race: the worker may not have begun
        task = start_task(tmp_path, "python3 worker.py", setup=setup)
        assert task.wait(timeout=60) == 128 + signal.SIGTERM
        assert (tmp_path / "asked").read_text().split() == ["requeue", "7_3"]
        (tmp_path / "asked").unlink()


def test_scancel_ends_a_task_that_asks_for_another_turn_where_slurmctld_is_away(tmp_path: Path) -> None:
    (tmp_path / "worker.py").write_text("raise SystemExit(75)\n")
    scontrol = "echo again >>asked; [ $(wc -l <asked) -eq 2 ] && kill -TERM $PPID; exit 1"
    task = start_task(tmp_path, "python3 worker.py", scontrol=scontrol)
    assert task.wait(timeout=60) == os.EX_TEMPFAIL
    assert (tmp_path / "asked").read_text().count("again") == 2


@pytest.mark.parametrize(
    ("command", "error", "said"),
    [
        ("sbatch", "Invalid job array specification", r"--workers 2,000: .*MaxArraySize"),
        ("sbatch", "Access denied", "sbatch failed: .*Access denied"),
        ("squeue", "Socket timed out", "squeue failed: .*Socket timed out"),
        ("squeue", "Invalid job id specified", None),  # it ended so long ago that Slurm has forgotten it
    ],
)
def test_what_slurm_refuses_is_said_and_a_forgotten_job_has_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str, error: str, said: str | None
) -> None:
    (tmp_path / command).write_text(f"#!/bin/sh\necho 'slurm error: {error}' >&2\nexit 1\n")
    (tmp_path / command).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    if said is None:
        assert Slurm(Site()).tasks("4711") == ()
        return
    with pytest.raises((LaunchFailed, OptionError), match=said):
        Slurm(Site()).submit(LaunchRequest("small", 2000)) if command == "sbatch" else Slurm(Site()).tasks("4711")


def start_task(
    folder: Path, command: str, setup: Sequence[str] = (), scontrol: str = 'echo "$@" >asked'
) -> subprocess.Popen[bytes]:
    """Start a task's script with a command instead of Caviar's, and an scontrol that writes what it is given."""
    programs = folder / "bin"
    programs.mkdir(exist_ok=True)
    for name, text in {"scontrol": scontrol, "sleep": "exit 0"}.items():
        (programs / name).write_text(f"#!/bin/sh\n{text}\n")
        (programs / name).chmod(0o755)
    site = Site.model_validate({"worker": {"command": command, "setup": setup}})
    (folder / "task.sh").write_text(Slurm(site).text(LaunchRequest("small")))
    environment = {**os.environ, "PATH": f"{programs}:{os.environ['PATH']}",
                   "SLURM_ARRAY_JOB_ID": "7", "SLURM_ARRAY_TASK_ID": "3"}  # fmt: skip
    return subprocess.Popen(["bash", "task.sh"], cwd=folder, env=environment)


def test_a_worker_that_ends_at_once_has_its_exit_code(tmp_path: Path) -> None:
    for _ in range(20):  # it is a race
        task = start_task(tmp_path, "no-such-command")
        assert task.wait(timeout=60) == 127
    assert not (tmp_path / "asked").exists()


@pytest.mark.parametrize(("sent", "is_requeued"), [(signal.SIGUSR2, True), (signal.SIGTERM, False)])
def test_a_task_that_is_to_leave_while_it_is_set_up_begins_no_worker(
    tmp_path: Path, sent: signal.Signals, is_requeued: bool
) -> None:
    (tmp_path / "worker.py").write_text("import pathlib\npathlib.Path('trained').touch()\n")
    setup = ["touch setup", 'for i in $(seq 600); do [ -n "$asked" ] && break; /bin/sleep 0.1; done']
    task = start_task(tmp_path, "python3 worker.py", setup=setup)
    until((tmp_path / "setup").exists)
    task.send_signal(sent)
    assert task.wait(timeout=60) == os.EX_TEMPFAIL
    assert (tmp_path / "asked").exists() == is_requeued
    assert not (tmp_path / "trained").exists()


def test_slurmctld_is_asked_again_where_it_is_away(tmp_path: Path) -> None:
    (tmp_path / "worker.py").write_text("raise SystemExit(75)\n")
    task = start_task(tmp_path, "python3 worker.py", scontrol="echo again >>asked; [ $(wc -l <asked) -gt 3 ]")
    assert task.wait(timeout=60) == os.EX_TEMPFAIL
    assert (tmp_path / "asked").read_text().count("again") == 4


@pytest.mark.parametrize(
    ("fields", "said"),
    [({"grace": 70_000.0}, "65,535 s"), ({"seconds": 200.0}, "--time: give 240s or more")],
)
def test_times_that_slurm_cannot_keep_are_refused(fields: dict[str, float], said: str) -> None:
    with pytest.raises(OptionError, match=said):
        Slurm(Site()).text(LaunchRequest("small", **fields))  # type: ignore[arg-type]
