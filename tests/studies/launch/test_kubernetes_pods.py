"""What the pods of a Job do on a real database: deleted, lost, and replaced, until the study is done."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from sqlalchemy.engine import URL

from caviar.storage.curves import read_curve
from caviar.storage.definitions import load_study
from caviar.storage.engine import make_engine
from caviar.storage.status import read_trials
from caviar.studies.definition import Study
from caviar.studies.launch.kubernetes import Kubernetes
from caviar.studies.launch.request import LaunchRequest
from caviar.studies.launch.site import Site
from caviar.studies.lifecycle.manager import open_study
from caviar.studies.space.scales import Log
from tests.helpers.command import until
from tests.helpers.pods import Job

BUDGET, EPOCHS = 6, 12
NOBODY = URL.create("postgresql", "me", host="127.0.0.1", port=1, database="caviar")
# Each epoch takes a moment, and leaves a line: of which pod, trial and epoch.
SCRIPT = """\
n=$(cat $CAVIAR_FOLDER/n 2> /dev/null || echo 0)
while [ $n -lt $2 ]; do
  sleep 0.2; n=$((n + 1)); echo $n > $CAVIAR_FOLDER/new; mv $CAVIAR_FOLDER/new $CAVIAR_FOLDER/n
  echo "$JOB_COMPLETION_INDEX $1 $n" >> trained
  echo "epoch $n rmse $((100 - n))"
done
"""
SHORT_LEASE = ("--lease", "12", "--renew", "2")  # a lost node is noticed soon


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that stands for the image's: the project is in it."""
    (tmp_path / "train.sh").write_text(SCRIPT)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def job(here: Path, caviar: list[str], database_url: URL) -> Iterator[Callable[..., Job]]:
    """Makes Jobs of pods, which have the address of the test's database, unless another is given."""
    made = []

    def make(study: str, workers: int, *options: str, url: URL = database_url) -> Job:
        site = {"kubernetes": {"image": "me/project"}, "worker": {"command": caviar[0]}}
        text = Kubernetes(Site.model_validate(site)).text(LaunchRequest(study, workers, options=options))
        image = {name: os.environ[name] for name in ("PATH", "HOME")}
        made.append(Job(yaml.safe_load(text), here, url.render_as_string(hide_password=False), image))
        return made[-1]

    yield make
    for each in made:
        each.close()


def trained(folder: Path) -> list[list[int]]:
    """Each epoch that a program has trained: the pod's index, the trial, the epoch."""
    file = folder / "trained"
    return [[int(word) for word in line.split()] for line in file.read_text().splitlines()] if file.exists() else []


def until_at_work(job: Job, folder: Path, index: int) -> int:
    """Wait until a pod has trained an epoch since now, and another one follows; return its trial."""
    before = len(trained(folder))

    def new() -> list[list[int]]:
        return [row for row in trained(folder)[before:] if row[0] == index and 1 < row[2] < EPOCHS - 2]

    until(lambda: new() or job.pods[index].poll() is not None)
    assert new(), job.said()
    return new()[-1][1]


@pytest.mark.slow
def test_pods_that_are_deleted_and_lost_come_back_and_the_budget_stays_exact(
    job: Callable[..., Job], here: Path, database_url: URL
) -> None:
    engine = make_engine(database_url)
    study = Study(
        name="own", command="sh train.sh {number} {epochs} {lr}", report=r"epoch (?P<epoch>\d+) rmse (?P<rmse>\S+)",
        metric="rmse", direction="minimize", epochs=EPOCHS, budget=BUDGET, pruner="none",
        tiers=({"lr": Log(0.1, 1, default=0.5)},),
    )  # fmt: skip
    record = open_study(engine, study)
    pods = job("own", 2, *SHORT_LEASE)
    for index in (0, 1):
        until_at_work(pods, here, index)
        ended = pods.delete(index)
        assert (ended.code, ended.action) == (75, "Ignore"), pods.said()
    lost = until_at_work(pods, here, 0)
    assert pods.lose_node(0).action == "Ignore"

    for index in (0, 1):
        ended = pods.wait(index)
        assert (ended.code, ended.action) == (0, "Complete"), pods.said()

    trials = read_trials(engine, record.study_id)
    assert [(t.slot.number, t.state, t.epoch) for t in trials] == [(n, "complete", EPOCHS) for n in range(BUDGET)]
    for number in range(BUDGET):
        curve = read_curve(engine, load_study(engine, "own").study_id, number)
        assert [(e.epoch, e.value("rmse")) for e in curve] == [(n, 100 - n) for n in range(1, EPOCHS + 1)]
    again = Counter((trial, epoch) for _, trial, epoch in trained(here) if trial != lost)
    assert sum(again.values()) - len(again) <= 2  # an epoch for each pod that was deleted
    engine.dispose()


@pytest.mark.slow
def test_bad_input_ends_an_index_and_a_database_that_is_away_does_not(job: Callable[..., Job]) -> None:
    unknown = job("nowhere", 1)
    ended = unknown.wait(0)
    assert (ended.code, ended.action) == (2, "FailIndex"), unknown.said()
    assert not unknown.pods
    away = job("nowhere", 1, url=NOBODY)
    ended = away.wait(0)
    assert (ended.code, ended.action) == (75, "Ignore"), away.said()
    ended = away.delete(0)  # the pod that replaces it still starts
    assert (ended.code, ended.action) == (143, "Ignore"), away.said()
