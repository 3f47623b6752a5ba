"""A machine is freed: the workers of one host, or of a scheduler's job, leave after their epoch, and others do not."""

from __future__ import annotations

import json
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import Engine, text

from caviar.storage.control import free_machine
from caviar.storage.curves import read_curve
from caviar.storage.engine import make_engine
from caviar.storage.errors import WorkerNotFound
from caviar.storage.events import read_events
from caviar.storage.records import Report, StudyRecord
from caviar.storage.states import EventKind
from caviar.storage.workers import read_workers, register_worker
from caviar.studies.lifecycle.manager import progress
from caviar.studies.results.sentences import sentence
from tests.helpers.command import Caviar, rows, until
from tests.helpers.epochs import measured
from tests.helpers.workers import ledger, log, register, register_process, worker


def on(engine: Engine, record: StudyRecord, host: str, job: str | None = None) -> None:
    """Register a worker on a host."""
    one = register_process(engine, record)
    register_worker(engine, record.study_id, replace(one, worker_id=uuid4(), host=host, job=job))
    execute(engine, f"DELETE FROM caviar.worker WHERE worker_id = '{one.worker_id}'")


def execute(engine: Engine, statement: str) -> None:
    with engine.begin() as connection:
        connection.execute(text(statement))


def leaving(engine: Engine) -> set[str]:
    return {w.job or w.host for w in read_workers(engine) if w.is_leaving}


@pytest.mark.parametrize(
    ("target", "who"),
    [
        ("gpu7.lan", {"gpu7.lan"}),
        ("gpu7", {"gpu7.lan"}),
        ("gpu", None),
        ("12", {"12_0", "12_13", "12"}),
        ("12_1", {"12_1"}),
        ("12_", None),
        ("%", None),
        ("1", None),
        ("", None),
        ("digits-2", {"digits-2_0"}),
        ("digits", None),
    ],
)
def test_a_host_or_a_job_is_meant_as_a_whole(engine: Engine, target: str, who: set[str] | None) -> None:
    record, _ = register(engine)
    for host in ("gpu7.lan", "gpu70", "gpu8"):
        on(engine, record, host)
    for job in ("12_0", "12_13", "12", "120_0", "12_x", "digits-2_0"):
        on(engine, record, "node", job)
    if target == "12_1":
        on(engine, record, "node", "12_1")
    if who is None:
        with pytest.raises(
            WorkerNotFound, match=r"there are workers on gpu7\.lan, gpu70, gpu8, node and in the jobs 12, "
        ):
            free_machine(engine, target, record.study_id)
        assert leaving(engine) == set()
        assert not read_events(engine, record.study_id, EventKind.FREED)
        return
    freed = free_machine(engine, target, record.study_id, by="anna@laptop")
    assert leaving(engine) == who
    assert (freed.workers, freed.knew, freed.studies) == (len(who), 0, ("small",))
    again = free_machine(engine, target, record.study_id, by="anna@laptop")
    assert again.knew == again.workers
    (event,) = read_events(engine, record.study_id, EventKind.FREED)  # the second one asks nobody anew
    assert event.detail == {"host_or_job": target, "workers": len(who), "by": "anna@laptop"}
    assert sentence(event).startswith(f"anna@laptop frees {target}: {len(who)} worker")


def test_workers_of_all_studies_are_meant_without_one_and_the_gone_are_not_there(engine: Engine) -> None:
    small, _ = register(engine)
    other, _ = register(engine, name="other")
    for record in (small, other):
        on(engine, record, "gpu7")
    on(engine, other, "gone")
    execute(engine, "UPDATE caviar.worker SET ended_at = now() WHERE host = 'gone'")
    on(engine, other, "silent")
    execute(engine, "UPDATE caviar.worker SET last_seen = now() - interval '1 hour' WHERE host = 'silent'")
    for target in ("gone", "silent"):
        with pytest.raises(WorkerNotFound, match=r"'(gone|silent)'; there are workers on gpu7$"):
            free_machine(engine, target)
    # A silent one that has a trial is there: it may only stand still.
    assert ledger(engine, other).lease() is not None
    execute(
        engine, "UPDATE caviar.worker SET host = 'still', last_seen = now() - interval '1 hour' WHERE host = 'test'"
    )
    assert free_machine(engine, "still").studies == ("other",)
    on(engine, other, "gpu7", "12_0")
    assert free_machine(engine, "gpu7", small.study_id).studies == ("small",)
    freed = free_machine(engine, "gpu7")
    assert (freed.studies, freed.workers, freed.knew) == (("other", "small"), 3, 1)
    counts = {record.name: [e.detail["workers"] for e in read_events(engine, record.study_id, EventKind.FREED)]
              for record in (small, other)}  # fmt: skip
    assert counts == {"small": [1], "other": [1, 2]}
    execute(engine, "UPDATE caviar.worker SET ended_at = now()")
    with pytest.raises(WorkerNotFound, match=r"no worker is at work$"):
        free_machine(engine, "gpu7")


def test_a_worker_hears_it_whenever_it_renews_writes_an_epoch_or_looks_for_a_slot(engine: Engine) -> None:
    record, _ = register(engine)
    own, written = ledger(engine, record), log(engine, record)
    lease = own.lease()
    assert lease is not None
    written.begin(lease, {}, {})

    def heard() -> list[bool]:
        (renewed,), (reported,) = (
            own.renew([lease]).values(),
            written.record([Report(lease, measured(1, 0.5, 0.6, 0.7, 0.1, 0.01), 0.7)]).values(),
        )
        return [renewed.leave, reported.leave, own.standing().leave]

    assert heard() == [False, False, False]
    free_machine(engine, "test")
    assert heard() == [True, True, True]


def test_a_worker_leaves_after_its_epoch_and_another_goes_on_with_its_trial(engine: Engine) -> None:
    record, study = register(engine, epochs=2000, budget=4, strategy="random", pruner="none")
    own = make_engine(engine.url)
    leaver = worker(own, record, study)
    execute(engine, f"UPDATE caviar.worker SET host = 'gpu7' WHERE worker_id = '{leaver.context.process.worker_id}'")
    thread = threading.Thread(target=leaver.run)
    thread.start()
    until(lambda: read_curve(engine, record.study_id, 0))
    other = register_process(engine, record)  # on another host
    free_machine(engine, "gpu7", by="anna")
    thread.join(60)
    assert not thread.is_alive()
    own.dispose()
    assert leaver.context.pulse.leaves
    trained = len(read_curve(engine, record.study_id, 0))
    assert rows(engine, "SELECT epoch FROM caviar.checkpoint") == trained  # nothing is trained twice
    assert rows(engine, "SELECT state FROM caviar.slot WHERE number = 0") == "open"
    assert rows(engine, "SELECT sum(losses) FROM caviar.slot") == 0
    states = {w.host: (str(w.state), w.is_leaving) for w in read_workers(engine)}
    assert states == {"gpu7": ("ended", False), other.host: ("idle", False)}


def test_a_worker_that_waits_leaves_too_and_gets_no_slot(engine: Engine) -> None:
    record, study = register(engine)
    leaver = worker(engine, record, study)
    free_machine(engine, leaver.context.process.host)
    leaver.run()
    assert leaver.context.pulse.leaves
    now = progress(engine, record)
    assert (now.open, now.done, now.epochs_trained) == (8, 0, 0)
    assert [str(w.state) for w in read_workers(engine)] == ["ended"]


# Trials go on until a file is there: whoever begins late has something to do, too.
TUNE = """
import os, pathlib, time

from caviar import Linear, Study

def train(trial):
    for epoch in trial.epochs():
        time.sleep(0.05)
        trial.report(loss=trial["rate"])
        if pathlib.Path(os.environ["MAY_END"]).exists():
            break

STUDY = Study(name="small", train="tune:train", metric="loss", direction="minimize", epochs=20_000, budget=6,
              tiers=[{"rate": Linear(0.0, 1.0, default=0.5)}], strategy="random", pruner="none")
"""


@pytest.mark.slow
def test_the_join_of_a_freed_machine_leaves_with_all_of_its_workers_and_another_one_may_come(
    engine: Engine, caviar: list[str], tmp_path: Path
) -> None:
    machines = dict[str, Any]()
    for host, job, words in (("gpu8", "12_1", ["run", "tune.py"]), ("gpu7", "12_0", ["join", "small"])):
        (tmp_path / host).mkdir()
        (tmp_path / host / "tune.py").write_text(TUNE)
        machine = Caviar(caviar, engine.url, tmp_path / host)
        machine.environ["MAY_END"] = str(tmp_path / "may_end")
        machine.environ |= {"SLURMD_NODENAME": host, "SLURM_ARRAY_JOB_ID": "12", "SLURM_ARRAY_TASK_ID": job[-1]}
        machines[host] = (machine, machine.start(*words, "--workers", "2"))
        until(lambda host=host: rows(engine, "SELECT count(*) FROM caviar.slot JOIN caviar.worker USING (worker_id) "
                                             f"WHERE slot.epoch > 0 AND host = '{host}'") == 2)  # fmt: skip
    commander = machines["gpu8"][0]
    listed = json.loads(commander.run("workers", "small", "--json"))
    assert {(w["host"], w["job"]) for w in listed} == {("gpu7", "12_0"), ("gpu8", "12_1")}
    said = commander.run("workers", "small", "--stop", "gpu9", code=2)
    assert "there are workers on gpu7, gpu8 and in the jobs 12_0, 12_1" in said
    # As where a worker was being replaced at that moment: one of the two does not know.
    execute(engine, "UPDATE caviar.worker SET host = 'gpu7b' WHERE worker_id = "
                    "(SELECT worker_id FROM caviar.worker WHERE host = 'gpu7' LIMIT 1)")  # fmt: skip
    said = commander.run("workers", "small", "--stop", "gpu7")
    assert "1 worker on gpu7 leaves after the current epoch" in said
    freed, running = machines["gpu7"][1], machines["gpu8"][1]
    said, _ = freed.communicate(timeout=240)
    assert freed.returncode == 0, said
    assert "frees gpu7: 1 worker leaves after the epoch; " in said
    assert "nothing is lost; come back with: caviar join small" in said
    assert "was stopped" not in said
    assert running.poll() is None
    (tmp_path / "may_end").touch()
    again = machines["gpu7"][0].start("join", "small", "--workers", "1")
    said, _ = again.communicate(timeout=240)
    assert again.returncode == 0, said
    assert "small is complete" in said
    said, _ = running.communicate(timeout=240)
    assert running.returncode == 0, said
    assert rows(engine, "SELECT count(*) FROM caviar.slot WHERE state = 'done'") == 6
    assert rows(engine, "SELECT sum(losses) FROM caviar.slot") == 0
    assert rows(engine, "SELECT count(*) FROM public.trials") == 6
