"""Trials of several ranks on a database: in workers, whose ranks are killed, and in a program that torchrun starts."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from sqlalchemy import Engine
from sqlalchemy.engine import URL

import caviar
from caviar.storage.curves import read_curves
from caviar.storage.definitions import load_study
from caviar.storage.events import read_events
from caviar.storage.processes import descendants, is_alive
from caviar.storage.records import StudyRecord
from caviar.storage.settings import read_settings
from caviar.storage.states import EventKind
from caviar.storage.status import read_trials
from caviar.storage.timing import LEAST_RENEW
from caviar.storage.trial_logs import TrialLogs
from caviar.studies.definition import Study
from caviar.studies.errors import OptionError, RanksDied
from caviar.studies.lifecycle.manager import open_study
from caviar.studies.space.scales import Log
from caviar.studies.workers.local.pool import WorkerPool
from caviar.studies.workers.local.signals import Stop
from tests.helpers.command import Caviar, rows, until
from tests.helpers.rank_trainings import notes
from tests.helpers.workers import ledger, worker

ROOT = Path(__file__).parents[4]


def study_of(function: str, **fields: object) -> Study:
    values = {"name": "ranks", "epochs": 4, "budget": 3, "gpus": 2, "pruner": "none", **fields}
    tiers = ({"lr": Log(1e-4, 1e-1, default=1e-2)},)
    return Study(train=f"tests.helpers.rank_trainings:{function}", metric="loss", tiers=tiers, **values)


def curves(engine: Engine, record: StudyRecord) -> dict[int, list[dict[str, float]]]:
    return {n: [dict(e.metrics) for e in curve] for n, curve in read_curves(engine, record.study_id).items()}


def test_a_worker_trains_its_trials_in_ranks_and_ends_with_one_that_dies(engine: Engine, tmp_path: Path) -> None:
    WorkerPool.warm_up()
    study = study_of("ddp")
    record = open_study(engine, study)
    worker(engine, record, study).run()
    assert [(trial.state, trial.epoch) for trial in read_trials(engine, record.study_id)] == [("complete", 4)] * 3

    fixed = {"notes": str(tmp_path / "notes"), "how": "kill", "rank": 1}
    study = study_of("failing", name="killed", fixed=fixed)
    record = open_study(engine, study)
    with pytest.raises(RanksDied, match="rank 1 was killed"):
        worker(engine, record, study).run()
    trial = read_trials(engine, record.study_id)[0]
    assert (trial.state, trial.epoch) == ("running", 1), "its lease ends with the worker, as if that had died"


def test_an_error_of_a_rank_fails_its_trial(engine: Engine, tmp_path: Path) -> None:
    WorkerPool.warm_up()
    fixed = {"notes": str(tmp_path / "notes"), "how": "raise", "rank": 1}
    study = study_of("failing", budget=1, fixed=fixed)
    record = open_study(engine, study)
    worker(engine, record, study).run()

    assert read_trials(engine, record.study_id)[0].state == "fail"
    (event,) = read_events(engine, record.study_id, EventKind.TRIAL_FAILED)
    assert event.detail["error"] == "ValueError: no good, in rank 1"
    assert "rank_trainings.py:" in event.detail["place"]


@pytest.mark.parametrize("way", ["stop", "pause --now"])
def test_a_worker_leaves_ranks_that_still_build(engine: Engine, tmp_path: Path, way: str) -> None:
    WorkerPool.warm_up()
    path, stop = tmp_path / "notes", Stop(grace=0.0)
    study = study_of("building", fixed={"notes": str(path)})
    record = open_study(engine, study)

    def ask() -> None:
        while len(notes(path)) < 2:
            time.sleep(0.05)
        if way == "stop":
            stop.ask()
        else:
            caviar.pause("ranks", now=True, database=engine)

    thread = threading.Thread(target=ask)
    thread.start()
    worker(engine, record, study, stop, renew_seconds=LEAST_RENEW).run()
    thread.join()

    assert not any(is_alive(note["pid"]) for note in notes(path))
    standing = ledger(engine, record).standing()
    assert (standing.leased, standing.open) == (0, 3), "another worker may begin it again at once"


@pytest.mark.slow
def test_a_killed_rank_or_worker_is_lost_and_its_trial_goes_on(engine: Engine, tmp_path: Path) -> None:
    path = tmp_path / "notes"
    study = study_of("slow", budget=2, epochs=12, fixed={"notes": str(path)})

    def disturb() -> None:
        for what in ("pid", "worker"):
            hit = set[int]()
            while not hit:
                time.sleep(0.05)
                new = [n for n in notes(path) if n["rank"] == 1 and n["epoch"] == 3 and n["pid"] not in known]
                hit = {note[what] for note in new if is_alive(note["pid"])}
                known.update(note["pid"] for note in new)
            for pid in hit:
                os.kill(pid, signal.SIGKILL)

    known = set[int]()
    thread = threading.Thread(target=disturb)
    thread.start()
    caviar.run(study, database=engine)
    thread.join()

    record = load_study(engine, "ranks")
    why = [event.detail.get("why") for event in read_events(engine, record.study_id, EventKind.WORKER_DIED)]
    assert why[0] == "rank 1 was killed by signal 9 (SIGKILL)"
    assert len(why) == 2
    assert not any(is_alive(note["pid"]) or os.path.exists(note["folder"]) for note in notes(path))
    printed = TrialLogs(read_settings().home, record.label).last_lines(1)
    assert {f"rank {rank} of trial 1 trains epoch 12" for rank in range(2)} <= set(printed.splitlines())
    other = study_of("slow", budget=2, epochs=12, name="undisturbed", fixed={"notes": str(tmp_path / "others")})
    undisturbed = open_study(engine, other)
    worker(engine, undisturbed, other).run()
    assert curves(engine, record) == curves(engine, undisturbed)


@pytest.mark.slow
def test_an_announced_end_reaches_every_rank_and_ends_only_the_epoch(
    engine: Engine, database_url: URL, tmp_path: Path, caviar: list[str]
) -> None:
    """As submitit and `srun` let Slurm send it: to all processes of a job."""
    path = tmp_path / "notes"
    study = study_of("slow", budget=1, epochs=200, fixed={"notes": str(path)})
    record = open_study(engine, study)
    machine = Caviar(caviar, database_url, tmp_path)
    machine.environ["PYTHONPATH"] = str(ROOT)
    job = machine.start("join", "ranks", "--gpus", "none", "--workers", "1", "--restartable")
    until(lambda: any(note["rank"] == 1 and note["epoch"] == 3 for note in notes(path)))
    family = {job.pid} | {process.pid for process in descendants(job.pid)}
    ranks = {note["pid"] for note in notes(path)}
    assert ranks < family
    for pid in family:
        os.kill(pid, signal.SIGUSR2)
    said, _ = job.communicate(timeout=240)
    assert job.returncode == os.EX_TEMPFAIL, said
    assert not any(map(is_alive, ranks))
    assert not read_events(engine, record.study_id, EventKind.WORKER_DIED)
    (trial,) = read_trials(engine, record.study_id)
    assert 3 <= trial.epoch < 200
    assert trial.epoch == max(note["epoch"] for note in notes(path))  # the epoch in progress came to its end
    assert trial.epoch == rows(engine, "SELECT epoch FROM caviar.checkpoint")
    assert rows(engine, "SELECT state FROM caviar.slot") == "open"


@pytest.mark.slow
def test_a_rank_that_hangs_is_named_with_its_stack(engine: Engine, tmp_path: Path) -> None:
    """Its worker waits for it, and so do the others, whose stacks say nothing."""
    fixed = {"notes": str(tmp_path / "notes"), "how": "sleep", "rank": 1}
    caviar.run(study_of("failing", budget=1, fixed=fixed), database=engine, epoch_timeout=8.0)

    record = load_study(engine, "ranks")
    first = read_events(engine, record.study_id, EventKind.WORKER_DIED)[0].detail
    assert re.match(r"its training hung in rank 1, in fail \(.*rank_trainings\.py:\d+\): no batch for", first["why"])
    ranks = first["traceback"].split("Rank ")
    assert [part[0] for part in ranks[1:]] == ["0", "1"]
    assert "all_reduce" in ranks[1]
    assert not any(is_alive(note["pid"]) for note in notes(tmp_path / "notes"))


@pytest.mark.slow
def test_the_processes_of_torchrun_follow_the_first_one(engine: Engine, database_url: URL, tmp_path: Path) -> None:
    address = database_url.render_as_string(hide_password=False)
    environ = {**os.environ, "CAVIAR_DATABASE_URL": address, "NOTES": str(tmp_path / "notes"), "PYTHONPATH": str(ROOT)}
    subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m",
         "tests.helpers.torchrun_program"], check=True, env=environ, cwd=ROOT, timeout=300,
    )  # fmt: skip

    seen = [json.loads((tmp_path / f"notes-{rank}").read_text()) for rank in range(2)]
    assert seen[0] == seen[1]
    assert [trial[0] for trial in seen[0]] == [0, 1, 2]
    record = load_study(engine, "torchrun")
    WorkerPool.warm_up()
    study = study_of("ddp", budget=1)
    by_workers = open_study(engine, study)
    worker(engine, by_workers, study).run()
    trials, expected = curves(engine, record), curves(engine, by_workers)
    assert trials[0] == expected[0]
    assert [len(trials[number]) for number in range(3)] == [4, 4, 2]


def test_a_program_has_as_many_processes_as_its_study_has_gpus(engine: Engine) -> None:
    with pytest.raises(OptionError, match=r"has gpus=2, and this program has 1 process.*torchrun --nproc-per-node 2"):
        next(caviar.lease_trials(study_of("ddp"), database=engine))
