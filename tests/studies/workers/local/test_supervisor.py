"""Workers without a terminal: from a thread, and from a script that has no guard."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from multiprocessing import forkserver
from pathlib import Path

import pytest
from sqlalchemy import Engine

from caviar.storage.events import read_events
from caviar.storage.losses import leases_on
from caviar.storage.processes import is_alive, machine_id
from caviar.storage.settings import read_settings
from caviar.studies.errors import DefinitionError
from caviar.studies.lifecycle.loader import select_study
from caviar.studies.workers.local.events import Progressed, RunEvent
from caviar.studies.workers.local.options import WorkerOptions
from caviar.studies.workers.local.preparation import begin_or_resume
from caviar.studies.workers.local.process import no_main_module
from caviar.studies.workers.local.signals import Stop
from caviar.studies.workers.local.supervisor import Outcome, supervise
from tests.helpers.studies import small_study

# It would begin itself again in each worker, were it imported there as multiprocessing does.
SCRIPT = """
import os
from pathlib import Path
from caviar.storage.engine import open_database
from caviar.storage.settings import read_settings
from caviar.studies.definition import Study
from caviar.studies.space.scales import Log
from caviar.studies.workers.local.options import WorkerOptions
from caviar.studies.workers.local.preparation import begin_or_resume
from caviar.studies.workers.local.signals import Stop
from caviar.studies.workers.local.supervisor import supervise

with open("began", "a") as file:
    file.write("once\\n")
STUDY = Study(name="mine", model="models.net:Net", data="digits", epochs=1, budget=3,
              tiers=({"learning_rate": Log(1e-3, 1, default=0.1)},))
settings = read_settings()
with Stop() as stop, open_database(settings, print) as engine:
    opened = begin_or_resume(engine, STUDY, WorkerOptions(settings, "mine", Path("nowhere")))
    print(supervise(engine, opened.record, opened.options, ["cpu", "cpu"], stop).now.complete)
"""
NET = """
from torch import nn

class Net(nn.Sequential):
    def __init__(self, sample, classes):
        super().__init__(nn.Flatten(), nn.Linear(sample[0] * sample[1] * sample[2], classes))
"""


@pytest.mark.slow
def test_a_script_without_a_guard_runs_once_with_the_model_beside_it(engine: Engine, tmp_path: Path) -> None:
    project = tmp_path / "project"
    (project / "models").mkdir(parents=True)
    (project / "models" / "net.py").write_text(NET)
    (project / "tune.py").write_text(SCRIPT)
    url = engine.url.render_as_string(hide_password=False).replace("+psycopg2", "")
    done = subprocess.run(
        [sys.executable, str(project / "tune.py")], env={**os.environ, "CAVIAR_DATABASE_URL": url}, cwd=tmp_path,
        capture_output=True, text=True, timeout=240,
    )  # fmt: skip
    assert done.stdout == "3\n", done.stderr
    assert (tmp_path / "began").read_text() == "once\n"


@pytest.mark.slow
def test_workers_run_from_a_thread_and_their_progress_is_reported(engine: Engine) -> None:
    study = small_study(budget=3, epochs=1)
    options = WorkerOptions(read_settings(engine.url.render_as_string(hide_password=False)), "small", Path("nowhere"))
    heard: list[RunEvent] = []
    outcomes: list[Outcome] = []

    def work() -> None:
        with Stop() as stop:  # which cannot handle signals here
            opened = begin_or_resume(engine, study, options, on_event=heard.append)
            assert opened.begun
            outcomes.append(supervise(engine, opened.record, opened.options, ["cpu"], stop, heard.append))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(240)
    (outcome,) = outcomes
    assert (outcome.now.done, outcome.trials, outcome.restarts) == (3, 3, 0)
    last = heard[-1]
    assert isinstance(last, Progressed)
    assert last.snapshot.progress == outcome.now
    assert not begin_or_resume(engine, study, options).begun


def test_two_threads_that_start_workers_leave_the_main_module_as_it_was() -> None:
    main, inside, entered = sys.modules["__main__"], threading.Event(), threading.Event()

    def first() -> None:
        with no_main_module():
            inside.set()
            entered.wait(0.3)

    def second() -> None:
        inside.wait(10)
        with no_main_module():
            entered.set()
            threads[0].join(10)

    threads = [threading.Thread(target=first), threading.Thread(target=second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert sys.modules["__main__"] is main


@pytest.mark.slow
@pytest.mark.parametrize("with_worker", [False, True])
def test_when_the_process_that_starts_workers_is_killed_the_run_goes_on(engine: Engine, with_worker: bool) -> None:
    study = small_study(budget=3, epochs=60, strategy="random", pruner="none")
    options = WorkerOptions(read_settings(engine.url.render_as_string(hide_password=False)), "small", Path("nowhere"))
    killed: list[int] = []

    def kill_once(event: object) -> None:
        if not isinstance(event, Progressed) or not event.snapshot.progress.running or killed:
            return
        worker = int(event.snapshot.progress.running[0].worker.rpartition(":")[2])
        if with_worker and not frozen_in_a_trial(worker):
            return
        killed.append(forkserver._forkserver._forkserver_pid)  # type: ignore[attr-defined]
        if with_worker:
            killed.append(worker)
        for pid in killed:
            os.kill(pid, signal.SIGKILL)

    def frozen_in_a_trial(pid: int) -> bool:
        """Freeze a worker; let it go on if it is between two trials, where its death costs nothing."""
        os.kill(pid, signal.SIGSTOP)
        if pid in leases_on(engine, opened.record.study_id, machine_id()):
            return True
        os.kill(pid, signal.SIGCONT)
        return False

    with Stop() as stop:
        opened = begin_or_resume(engine, study, options)
        outcome = supervise(engine, opened.record, opened.options, ["cpu"], stop, kill_once)
    assert len(killed) == 1 + with_worker
    assert not any(is_alive(pid) for pid in killed)
    assert outcome.restarts == 1
    assert len(read_events(engine, opened.record.study_id, "worker died")) == with_worker  # or given back
    assert (outcome.now.complete, outcome.now.failed) == (3, 0)


def test_a_file_that_runs_a_study_when_it_is_imported_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "tune.py"
    file.write_text("from caviar.studies.lifecycle.loader import refuse_nested_run\nrefuse_nested_run()\n")
    with pytest.raises(DefinitionError, match=r'tune\.py, line 2: .* put that line under: if __name__ == "__main__":'):
        select_study(str(file))
