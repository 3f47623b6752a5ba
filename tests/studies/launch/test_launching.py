"""`caviar launch`: what is refused, printed and written to the history, with a Slurm of small scripts."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

import caviar
from caviar.storage.definitions import load_study
from caviar.storage.errors import DatabaseAway
from caviar.storage.events import record_event
from caviar.storage.states import EventKind
from caviar.studies.cli import run
from caviar.studies.definition import Study
from caviar.studies.lifecycle.manager import open_study
from caviar.studies.lifecycle.provenance import provenance_of
from tests.helpers.workers import register

_TASKS = r"4711_1|caviar-small|RUNNING|node1|None\n4711_2|caviar-small|PENDING||(Priority)\n"
_PROGRAMS = {
    "sbatch": 'cat >script; echo "$@" >>calls; echo 4711',
    "squeue": f'echo "$0 $@" >>calls; printf "{_TASKS}"',
    "scancel": 'echo "$0 $@" >>calls',
}


@pytest.fixture
def site(engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder on a machine with Slurm's commands, from which the database is reached."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, script in _PROGRAMS.items():
        (programs / name).write_text(f"#!/bin/sh\n{script}\n")
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    monkeypatch.setenv("CAVIAR_DATABASE_URL", engine.url.render_as_string(hide_password=False))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def said(site: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    def say(*words: str, code: int = 0) -> str:
        assert run(list(words)) == code
        return "".join(capsys.readouterr())

    return say


def test_a_job_is_submitted_looked_at_and_ended(engine: Engine, site: Path, said: Callable[..., str]) -> None:
    register(engine)
    printed = said("launch", "--on", "slurm", "small", "--workers", "2")
    assert printed.startswith("job 4711 has 2 workers for 'small'")
    assert "caviar launch status small" in printed
    assert "caviar-small-4711_*.log" in printed
    assert "#SBATCH --array=1-2" in (site / "script").read_text()
    running = said("launch", "status", "small")
    assert "4711_2" in running
    assert "next: caviar workers small" in running
    (job,) = caviar.launched("small", database=engine)
    assert (job.submission.workers, [task.state for task in job.tasks]) == (2, ["RUNNING", "PENDING"])
    assert "slurm ends job 4711" in said("launch", "stop", "small")
    assert "scancel 4711" in (site / "calls").read_text()
    assert "no job of 'small' waits or runs" in said("launch", "stop", "small")
    ended = " ".join(said("launch", "status", "small").split())
    assert "see caviar-small-4711_*.log" in ended
    assert "next: caviar status small" in ended
    history = said("history", "small")
    assert "launched" in history
    assert "launch stopped" in history


@pytest.mark.usefixtures("site")
def test_workers_that_would_wait_are_announced(engine: Engine, said: Callable[..., str]) -> None:
    register(engine)
    assert "start some with: caviar join small" in said("workers", "small")
    assert "paused" not in said("launch", "small", "--on", "slurm")
    assert "job 4711 of slurm was launched: caviar launch status small; or" in said("workers", "small")
    said("pause", "small")
    assert "'small' is paused, and its workers wait until: caviar resume small" in said(
        "launch", "small", "--on", "slurm"
    )
    said("resume", "small")
    said("launch", "stop", "small")
    assert "start some with: caviar join small" in said("workers", "small")


def test_other_code_in_the_folder_is_announced(
    engine: Engine, site: Path, said: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(site)
    code = "def objective(trial):\n    return trial.suggest_float('rate', 0, 1)\n"
    (site / "tune.py").write_text(code)
    study = Study(name="mine", objective="tune:objective", direction="minimize", budget=4, tiers=[["rate"]])
    open_study(engine, study, provenance_of(study, site))
    words = ("launch", "mine", "--on", "slurm", "--dry-run")
    assert "refuse" not in said(*words)
    (site / "tune.py").write_text(code + "# and something else\n")
    refused = "the code here is not that of 'mine', and a worker with it would refuse to train"
    assert f"{refused}: tune.py changed" in said(*words)
    (site / "caviar-launch.toml").write_text("[worker]\noptions = ['--allow-mismatch']\n")
    assert "refuse" not in said(*words)
    (site / "caviar-launch.toml").write_text("[worker]\nsetup = ['cd /elsewhere']\n")
    assert "refuse" not in said(*words)
    (site / "caviar-launch.toml").unlink()
    on_ray = ("launch", "mine", "--on", "ray", "--dry-run")
    assert refused in said(*on_ray)
    (site / "caviar-launch.toml").write_text("[ray]\nfolder = ''\n")  # each node has its own
    assert "refuses it" not in said(*on_ray)
    (site / "tune.py").unlink()
    assert refused in said(*words)


def test_what_a_dry_run_prints_is_the_script_alone(
    engine: Engine, site: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    register(engine)
    assert run(["launch", "small", "--on", "slurm", "--dry-run"]) == 0
    printed = capsys.readouterr()
    assert printed.out.startswith("#!/bin/bash\n#SBATCH")
    assert "| sbatch" in printed.err
    assert not (site / "calls").exists()
    assert caviar.launched("small", database=engine) == ()


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["small", "--on", "pbs"], "--on pbs: give slurm, kubernetes, ray"),
        (["small", "--on", "slurm", "--gpus-per-worker", "0.5"], "only Ray"),
        (["none", "--on", "slurm"], "no study 'none'"),
        (
            ["small.py", "--on", "slurm"],
            "not where it is defined, from which caviar run small.py begins it; there are: small",
        ),
        (["--on", "slurm"], "Missing argument"),
        (["small", "--on", "slurm", "--site", "none.toml"], "caviar launch init"),
    ],
)
def test_what_cannot_be_launched_is_refused_in_one_line(
    engine: Engine, said: Callable[..., str], words: list[str], why: str
) -> None:
    register(engine)
    message = said("launch", *words, code=2)
    assert why in message
    assert message.count("\n") == 1


def test_another_database_than_the_environments_is_refused(
    engine: Engine, said: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    register(engine)
    monkeypatch.delenv("CAVIAR_DATABASE_URL")
    address = engine.url.render_as_string(hide_password=False)
    message = said("launch", "small", "--on", "slurm", "--database-url", address, code=2)
    assert "instead of --database-url" in message


def test_a_stopped_study_is_resumed_first(engine: Engine, said: Callable[..., str]) -> None:
    register(engine)
    caviar.stop("small", database=engine)
    assert "caviar resume small" in said("launch", "small", "--on", "slurm", code=2)


def test_what_others_wrote_into_the_history_goes_to_no_command(
    engine: Engine, site: Path, said: Callable[..., str]
) -> None:
    register(engine)
    study_id = load_study(engine, "small").study_id
    for detail in (
        {}, {"scheduler": "pbs", "job": "1", "workers": 1}, {"scheduler": ["slurm"], "job": 1, "workers": "1"},
        {"scheduler": "slurm", "job": "1", "workers": "1"},
    ):  # fmt: skip
        record_event(engine, study_id, EventKind.LAUNCHED, **detail)
    assert json.loads(said("launch", "status", "small", "--json")) == []
    record_event(engine, study_id, EventKind.LAUNCHED, scheduler="slurm", job="$(touch owned)", workers=1)
    assert "no number of a job" in said("launch", "stop", "small", code=1)
    assert "no number of a job" in caviar.launched("small", database=engine)[-1].error
    assert not (site / "calls").exists()
    assert not (site / "owned").exists()


def test_a_job_of_somebody_elses_is_neither_shown_nor_ended(
    engine: Engine, site: Path, said: Callable[..., str]
) -> None:
    register(engine)
    (site / "bin" / "squeue").write_text("#!/bin/sh\nprintf '12|backup|RUNNING|node1|None\\n'\n")
    record_event(
        engine, load_study(engine, "small").study_id, EventKind.LAUNCHED, scheduler="slurm", job="12", workers=1
    )
    assert "no job of 'small' waits or runs" in said("launch", "stop", "small")
    assert not (site / "calls").exists()


def test_a_scheduler_that_is_not_reached_from_here_hides_no_others_jobs(
    engine: Engine, site: Path, said: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(site / "bin"))  # without kubectl
    register(engine)
    study_id = load_study(engine, "small").study_id
    record_event(engine, study_id, EventKind.LAUNCHED, scheduler="kubernetes", job="research/caviar-x", workers=1)
    record_event(engine, study_id, EventKind.LAUNCHED, scheduler="slurm", job="4711", workers=2)
    shown = said("launch", "status", "small")
    assert "4711_1" in shown
    assert "unknown" in shown
    message = said("launch", "stop", "small", code=1)
    assert "research/caviar-x" in message
    assert "ended: 4711" in message
    assert "scancel 4711" in (site / "calls").read_text()


def test_a_study_that_is_done_or_a_panda_needs_no_workers(
    engine: Engine, said: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    register(engine)
    with engine.begin() as connection:
        connection.execute(text("UPDATE caviar.slot SET state = 'done'"))
    assert "every trial of 'small' is done" in said("launch", "small", "--on", "slurm", code=2)
    monkeypatch.setattr("caviar.studies.lifecycle.manager.is_panda", lambda *_: True)
    assert "'small' is a panda" in said("launch", "small", "--on", "slurm", code=2)


def test_a_launch_that_could_not_be_recorded_is_not_submitted_or_named(
    engine: Engine, site: Path, said: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    register(engine)
    words, module = ("launch", "small", "--on", "slurm"), "caviar.studies.api.launching"

    def lose(*_: object) -> None:
        raise DatabaseAway("it is away")

    with monkeypatch.context() as on_built_in:
        on_built_in.setattr(f"{module}.is_server_of", lambda *_: True)
        assert "which no other machine reaches" in said(*words, code=2)
    with monkeypatch.context() as read_only:
        read_only.setattr(f"{module}.require_writable", lose)
        assert "it is away" in said(*words, code=75)
    assert not (site / "calls").exists()
    monkeypatch.setattr(f"{module}.record_submission", lose)
    assert "slurm has job 4711, which could not be written" in said(*words, code=1)


def test_what_is_asked_for_reaches_the_script(engine: Engine, site: Path, said: Callable[..., str]) -> None:
    register(engine)
    (site / "other.toml").write_text("[worker]\noptions = ['--epoch-timeout', '1h']\n")
    words = (
        "--gpus-per-worker",
        "2",
        "--workers-per-gpu",
        "3",
        "--time",
        "4h",
        "--grace",
        "60",
        "--site",
        "other.toml",
    )
    script = said("launch", "small", "--on", "slurm", *words, "--dry-run")
    for part in ("--gres=gpu:2\n", "--time=240\n", "B:USR2@100\n",
                 "--gpus all --workers-per-gpu 3 --grace 60 --epoch-timeout 1h"):  # fmt: skip
        assert part in script
    assert "--workers 8 --site 'a b.toml' --dry-run" in said("launch", "init", "--on", "slurm", "--site", "a b.toml")


def test_many_tasks_are_counted(engine: Engine, site: Path, said: Callable[..., str]) -> None:
    register(engine)
    said("launch", "small", "--on", "slurm", "--workers", "51")
    for count in (50, 51):
        row = "'4711_%s|caviar-small|RUNNING|node1|None\\n' $(seq"
        (site / "bin" / "squeue").write_text(f"#!/bin/sh\nprintf {row} {count})\n")
        shown = said("launch", "status", "small")
        assert ("4711_50" in shown, "51 tasks" in shown) == (count == 50, count == 51)
