"""Workers on Ray: nodes of a real cluster are killed, and everything is counted."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.engine import URL

from caviar.storage.curves import read_curve
from caviar.storage.definitions import load_study
from caviar.storage.status import read_trials
from caviar.studies.definition import Study
from caviar.studies.lifecycle.manager import open_study
from caviar.studies.lifecycle.provenance import provenance_of
from tests.helpers.command import Caviar, rows, until
from tests.helpers.ray_nodes import add_node, kill, new_ray_cluster, processes_with

__all__ = ["new_ray_cluster"]
BUDGET, STEPS = 12, 3
# Trials wait in their middle until a file says that so many may end: what a test kills is at work then.
OBJECTIVE = """
import os, pathlib, time

def objective(trial):
    lr = trial.suggest_float("lr", 0, 1)
    for step in range(3):
        trial.report(lr + 1 / (step + 1), step)
        while step and trial.number >= int(pathlib.Path(os.environ["MAY_END"]).read_text()):
            time.sleep(0.05)
    return lr
"""


class Project:
    """A folder with a study's code, a study in the database, and workers on Ray."""

    def __init__(self, folder: Path, caviar: list[str], url: URL, engine: Engine) -> None:
        self.command = Caviar(caviar, url, folder)
        self.engine = engine
        self._may_end = folder.parent / "may_end"
        (folder / "tune.py").write_text(OBJECTIVE)
        self._url_file = folder.parent / "url"
        (folder.parent / "url").write_text(self.command.environ["CAVIAR_DATABASE_URL"])
        study = Study(name="mine", objective="tune:objective", direction="minimize", budget=BUDGET, tiers=[["lr"]],
                      pruner="none", strategy="random")  # fmt: skip
        self.let_end(0)
        open_study(engine, study, provenance_of(study, folder))

    def launch(self, workers: int, cluster: Any, url_file: Path | None = None) -> None:
        """Put workers on a cluster, which read the database's address from a file."""
        variables = {"CAVIAR_DATABASE_URL_FILE": url_file or self._url_file, "MAY_END": self._may_end}
        lines = ["[ray]", f'address = "{cluster.address}"', "[worker.environment]"]
        lines += [f'{name} = "{value}"' for name, value in variables.items()]
        (self.command.folder / "caviar-launch.toml").write_text("\n".join(lines))
        self.command.run("launch", "mine", "--on", "ray", "--workers", str(workers), "--grace", "1")

    def tasks(self) -> list[dict[str, str]]:
        """Return the tasks of the newest job."""
        return json.loads(self.command.run("launch", "status", "mine", "--json"))[-1]["tasks"]

    def let_end(self, trials: int) -> None:
        """Let so many trials end, of the lowest numbers."""
        new = self._may_end.with_suffix(".new")
        new.write_text(str(trials))
        new.replace(self._may_end)

    def at_work(self) -> set[Any]:
        """Return the workers that are in the middle of a trial."""
        with self.engine.connect() as connection:
            query = "SELECT worker_id FROM caviar.slot WHERE state = 'leased' AND epoch >= 2"
            return set(connection.scalars(text(query)).all())

    def done(self) -> int:
        return int(rows(self.engine, "SELECT count(*) FROM caviar.slot WHERE state = 'done'"))


@pytest.fixture
def project(
    new_ray_cluster: Any, tmp_path: Path, caviar: list[str], database_url: URL, engine: Engine,
    monkeypatch: pytest.MonkeyPatch,
) -> Project:  # fmt: skip
    folder = tmp_path / "project"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(folder)
    return Project(folder, caviar, database_url, engine)


@pytest.mark.slow
def test_a_study_outlives_a_node_and_the_head(project: Project, new_ray_cluster: Callable[[int], Any]) -> None:
    cluster = new_ray_cluster(3)
    project.launch(3, cluster)
    until(lambda: len(project.at_work()) == 3)
    before = project.at_work()
    assert [task["state"] for task in project.tasks()] == ["ALIVE"] * 3

    kill(next(iter(cluster.worker_nodes)))
    add_node(cluster)  # Ray starts the actor there, and nobody calls it
    until(lambda: len(project.at_work()) == 3 and len(project.at_work() - before) == 1)
    project.let_end(4)
    until(lambda: project.done() == 4)

    kill(cluster.head_node)
    project.let_end(8)
    until(lambda: project.done() == 8)  # the workers of the other nodes go on
    for node in cluster.worker_nodes:
        kill(node)

    project.launch(2, new_ray_cluster(2))
    project.let_end(BUDGET)
    until(lambda: project.done() == BUDGET)
    until(lambda: project.tasks() == [])
    count(project.engine)


def count(engine: Engine) -> None:
    """Check that each trial and each of its steps is there exactly once."""
    record = load_study(engine, "mine")
    trials = read_trials(engine, record.study_id)
    assert [(trial.slot.number, trial.state) for trial in trials] == [(n, "complete") for n in range(BUDGET)]
    for trial in trials:
        curve = read_curve(engine, record.study_id, trial.slot.number)
        assert [epoch.epoch for epoch in curve] == [1, 2, 3]
    with engine.connect() as connection:
        assert connection.scalars(text("SELECT number FROM public.trials ORDER BY number")).all() == [*range(BUDGET)]


@pytest.mark.slow
def test_actors_end_for_good_and_say_why(project: Project, new_ray_cluster: Callable[[int], Any]) -> None:
    cluster = new_ray_cluster(1)
    nowhere = project.command.folder.parent / "nowhere"
    project.launch(1, cluster, nowhere)
    until(lambda: [task["state"] for task in project.tasks()] == ["DEAD"])
    assert f"exit code 2: caviar: CAVIAR_DATABASE_URL_FILE: {nowhere} cannot be read" in project.tasks()[0]["reason"]

    project.launch(2, cluster)  # one has no room
    until(project.at_work)
    killed = project.at_work()
    (pid,) = processes_of_join()
    os.kill(pid, signal.SIGKILL)
    until(lambda: project.at_work() - killed)  # it has another turn
    assert sorted(task["state"] for task in project.tasks()) == ["ALIVE", "PENDING_CREATION"]
    project.command.run("launch", "stop", "mine")
    until(lambda: not project.at_work())
    until(lambda: not processes_of_join())
    assert rows(project.engine, "SELECT count(*) FROM caviar.slot WHERE state = 'leased'") == 0


def processes_of_join() -> list[int]:
    """Return the ids of the commands that actors have started."""
    own = processes_with(f"RAY_TMPDIR={os.environ['RAY_TMPDIR']}")
    return [pid for pid in own if b"join" in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")]
