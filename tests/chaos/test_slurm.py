"""Workers on a real Slurm, whose jobs are preempted, requeued and cancelled."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from pathlib import Path

import pytest
from sqlalchemy.engine import URL

from tests.chaos.scene import ROOT, Row, Scene
from tests.helpers.debian import cannot_test
from tests.helpers.slurm import Slurm

TASKS = 4
EPOCHS = 30
_SPARE = 6 * TASKS  # trials that are open while tasks are preempted
Report = Callable[[Row], None]


@pytest.fixture(scope="module")
def slurm() -> Iterator[Slurm]:
    if os.geteuid() != 0:
        cannot_test("slurmd starts the tasks of users, which only root may")
    with Slurm(cpus=TASKS, grace=30) as running:
        yield running


@pytest.fixture
def launch(slurm: Slurm, database_url: URL, new_scene: Callable[..., Scene], tmp_path: Path) -> Callable[..., Launched]:
    def start(*options: str) -> Launched:
        scene = new_scene(database_url)
        scene.begin(_SPARE, EPOCHS, model="CountedNet")
        return Launched(slurm, scene, tmp_path, options)

    return start


class Launched:
    """A study whose workers were put on a Slurm by `caviar launch`, all of which is one array of jobs.

    Attributes:
        job: the array's number.
    """

    def __init__(self, slurm: Slurm, scene: Scene, folder: Path, options: Sequence[str]) -> None:
        self.slurm, self.scene, self.folder = slurm, scene, folder
        self.notes = folder / "notes"
        self.notes.touch()
        self._site = folder / "site.toml"
        self._site.write_text(
            "[worker]\noptions = ['--cohort', '1']\n"
            f"environment = {{ PYTHONPATH = '{ROOT}', CHAOS_NOTES = '{self.notes}' }}\n"
            f"[slurm]\npartition = 'low'\ndirectives = ['--output={folder}/task-%a.log', '--chdir={ROOT}']\n"
        )
        words = ("launch", "chaos", "--on", "slurm", "--workers", str(TASKS), "--grace", "10", "--json", *options)
        said = self.caviar(*words)
        self.job: str = json.loads(said)["submission"]["job"]

    def caviar(self, *words: str) -> str:
        address = self.scene.url.render_as_string(hide_password=False).replace("+psycopg2", "")
        environ = {**self.slurm.environment, "CAVIAR_DATABASE_URL": address, "CAVIAR_HOME": str(self.folder / "home")}
        command = [sys.executable, "-m", "caviar", *words]
        if words[0] == "launch":
            command += ["--site", str(self._site)]
        done = subprocess.run(command, env=environ, cwd=ROOT, text=True, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def tasks(self, *states: str) -> list[str]:
        """Return the tasks of the array in one of these states, or in any if none is given."""
        return [task for task, state, _ in self._rows() if not states or state in states]

    def _rows(self) -> list[list[str]]:
        """Return each task of the array that has not ended: its name, its state, and when it is to begin."""
        command = ("squeue", "--noheader", "--array", f"--jobs={self.job}", "--format=%i %T %S")
        return [row.split() for row in self.slurm.call(*command, check=False).splitlines()]

    def begin_anew(self) -> None:
        """Let requeued tasks begin soon: Slurm makes each of them wait for two minutes.

        Not at once: in the second in which it has ended, a node refuses a task as one that was revoked.
        """
        for task, state, begins in self._rows():
            late = state == "PENDING" and begins != "N/A"
            if late and (datetime.fromisoformat(begins) - datetime.now()).total_seconds() > 10:
                self.slurm.call("scontrol", "update", f"JobId={task}", "StartTime=now+3seconds", check=False)

    def all_run(self) -> bool:
        assert self.scene.left(), self.said()
        assert len(self.tasks()) == TASKS, self.said()
        self.begin_anew()
        return len(self.tasks("RUNNING")) == TASKS

    def preempt(self, share: int) -> None:
        """Run a job of higher priority that needs so many of the processors, and let the tasks that left come back."""
        higher, before = self._submit_higher(share), self.restarts
        self.scene.wait_until(lambda: higher not in self.slurm.call("squeue", "--noheader", "--format=%i").split())
        self.scene.wait_until(lambda: self.restarts > before)

    def _submit_higher(self, share: int) -> str:
        return self.slurm.submit("#!/bin/sh\n", f"--ntasks={share}", "--partition=high", "--output=/dev/null")

    @property
    def restarts(self) -> int:
        """How often tasks of the array were requeued."""
        shown = self.slurm.call("scontrol", "show", "job", self.job, "--oneliner", check=False)
        return sum(int(word.partition("=")[2]) for word in shown.split() if word.startswith("Restarts="))

    def said(self) -> str:
        return "\n".join(f"--- {log.name}\n{log.read_text()[-1500:]}" for log in sorted(self.folder.glob("task-*.log")))


@pytest.mark.slow
@pytest.mark.parametrize(
    "preemptions", [pytest.param(20, marks=pytest.mark.short), pytest.param(200, marks=pytest.mark.chaos)]
)
def test_tasks_that_are_preempted_lose_nothing(
    launch: Callable[..., Launched], preemptions: int, report: Report
) -> None:
    launched = launch()
    scene, chance = launched.scene, random.Random(os.environ.get("CHAOS_SEED", "0"))
    while launched.restarts < preemptions:
        scene.wait_until(launched.all_run)
        if chance.random() < 0.75:  # else some are preempted while they start
            scene.wait_until(lambda: len(scene.at_work()) == TASKS or scene.left() < TASKS)
        if scene.left() < _SPARE:
            scene.extend(_SPARE)
        scene.note_hit()
        launched.preempt(chance.choice((1, TASKS, TASKS)))
    count = launched.restarts
    scene.wait_until(lambda: launched.begin_anew() or not scene.left())  # type: ignore[func-returns-value]
    scene.wait_until(lambda: launched.begin_anew() or not launched.tasks())  # type: ignore[func-returns-value]
    row = scene.audit("a task of Slurm's preempted and requeued", count)
    trained, kept = launched.notes.read_text().count("epoch"), scene.epochs()
    assert kept == len(scene.rows("SELECT 1 FROM caviar.slot")) * EPOCHS
    assert trained - kept <= count, f"{trained - kept} epochs were trained again"
    report(row)


@pytest.mark.slow
def test_a_job_that_is_stopped_gives_its_trials_back_and_does_not_come_again(launch: Callable[..., Launched]) -> None:
    launched = launch()
    scene = launched.scene
    scene.wait_until(lambda: scene.at_work())
    status = json.loads(launched.caviar("launch", "status", "chaos", "--json"))
    assert [job["submission"]["job"] for job in status] == [launched.job]
    assert {task["name"] for task in status[0]["tasks"]} == {f"{launched.job}_{n}" for n in range(1, TASKS + 1)}
    jobs = {worker["job"] for worker in json.loads(launched.caviar("workers", "chaos", "--json"))}
    assert jobs <= {task["name"] for task in status[0]["tasks"]}
    launched.caviar("launch", "stop", "chaos")
    scene.wait_until(lambda: not launched.tasks())
    assert launched.restarts == 0
    assert not scene.rows("SELECT 1 FROM caviar.slot WHERE state = 'leased'"), launched.said()
    assert scene.rows("SELECT 1 FROM caviar.event WHERE kind = 'launch stopped'")
    assert launched.caviar("launch", "stop", "chaos").startswith("no job of 'chaos' waits or runs")


@pytest.mark.slow
@pytest.mark.chaos
def test_tasks_whose_time_is_over_get_another_turn(launch: Callable[..., Launched], report: Report) -> None:
    launched = launch("--time", "200s")
    scene = launched.scene
    scene.wait_until(scene.at_work)
    while launched.restarts < TASKS:
        if scene.left() < _SPARE:
            scene.extend(_SPARE)
        launched.begin_anew()
        time.sleep(0.5)
    scene.wait_until(lambda: launched.begin_anew() or not launched.tasks())  # type: ignore[func-returns-value]
    report(scene.audit("the time of a task of Slurm's over", launched.restarts))
