"""One study, several machines, and somebody who disturbs them; then every row is counted.

A machine is a `caviar join`: its own processes, its own CAVIAR_HOME. What is checked in the end is the same for all
faults: each slot is done exactly once, each finished trial has each epoch exactly once, and a trial that was
interrupted has the curve of one that was not.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from sqlalchemy import Engine, text
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError

from caviar.storage.curves import read_curve
from caviar.storage.definitions import load_study
from caviar.storage.engine import make_engine
from caviar.storage.migrate import ensure_schema
from caviar.storage.processes import is_alive
from caviar.storage.records import StudyRecord
from caviar.storage.status import read_trials
from caviar.studies.definition import Study
from caviar.studies.lifecycle.manager import extend_study, open_study
from caviar.studies.space.scales import Log
from caviar.studies.workers.trial.build import THREADS, assemble
from tests.helpers.epochs import figures
from tests.helpers.studies import TIERS
from tests.helpers.workers import digits

LEASE = 2.0  # seconds
TOLERANCE = 1e-2  # of a loss and of an accuracy, in a cohort; as in tests/models/test_cohort.py
ROOT = Path(__file__).parents[2]
_LONGEST = 1800.0  # seconds until what should happen never does, on a machine that is busy with other work
_CAVIAR = [str(Path(sys.executable).parent / "caviar")]


def chaos_study(budget: int, epochs: int, *, one_kind: bool = False) -> Study:
    """Each trial depends on its slot alone, so its curve must be the same whatever happened to its worker.

    Args:
        one_kind: let every trial fit into every cohort, at learning rates that make little of a rounding error.
    """
    tiers = ({"learning_rate": Log(1e-3, 0.1, default=0.1), "decay": Log(1e-3, 1, default=0, or_zero=True)},)
    return Study(
        name="chaos", model="tests.chaos.slow_net:SlowNet", data="digits", epochs=epochs, budget=budget,
        strategy="random", pruner="none", tiers=tiers if one_kind else TIERS,
        fixed={"batch_size": 256} if one_kind else {},
    )  # fmt: skip


@dataclass
class Row:
    """What a fault did: one line of the README's table."""

    fault: str
    injected: int
    lost: int
    doubled: int
    overshoot: int
    slowest: float  # seconds
    interrupted: int  # trials whose curves were compared


@dataclass
class Scene:
    """The machines that work on one study.

    Args:
        url: of the database, as this process reaches it.
        folder: of everything that the machines keep.
        cohort: trials that each worker trains as one program.
    """

    url: URL
    folder: Path
    lease: float = LEASE
    environ: dict[str, str] = field(default_factory=dict)
    patience: float = 120
    cohort: int = 1

    def __post_init__(self) -> None:
        self.machines: list[subprocess.Popen[str]] = []
        self.engine: Engine = make_engine(self.url)
        self.slowest = 0.0
        self.hit: set[int] = set()  # trials that a fault met
        self.ended_by_others: set[int] = set()  # trials that another Optuna program ended
        self._logs: list[Path] = []

    def begin(self, budget: int, epochs: int = 20, model: str = "SlowNet") -> StudyRecord:
        ensure_schema(self.engine)
        study = chaos_study(budget, epochs, one_kind=self.cohort > 1)
        self.study = study.model_copy(update={"model": f"tests.chaos.slow_net:{model}"})
        self.record = open_study(self.engine, self.study)
        return self.record

    def extend(self, more: int) -> None:
        """Let there be more trials."""
        budget = self.study.budget + more
        extend_study(self.engine, load_study(self.engine, "chaos"), budget)
        self.study = self.study.model_copy(update={"budget": budget})

    def start(self, workers: int, *arguments: str, url: URL | None = None, prefix: tuple[str, ...] = ()) -> Any:
        """Start a machine."""
        words = arguments or ("join", "chaos", "--gpus", "none")
        return self.launch(*words, "--workers", str(workers), "--cohort", str(self.cohort), url=url, prefix=prefix)

    def launch(self, *arguments: str, url: URL | None = None, prefix: tuple[str, ...] = ()) -> Any:
        """Start a command that trains, with this scene's lease and patience."""
        command = [*prefix, *_CAVIAR, *arguments, "--lease", str(self.lease), "--renew", str(self.lease / 4)]
        command += ["--patience", str(self.patience), "--grace", "5"]
        address = (url or self.url).render_as_string(hide_password=False).replace("+psycopg2", "")
        number = len(self._logs)
        log = self.folder / f"machine-{number}.log"
        environ = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "CAVIAR_HOME": str(self.folder / f"home-{number}"),
            "CAVIAR_DATABASE_URL": address,
        }
        with log.open("w") as said:
            machine = subprocess.Popen(
                command, env={**environ, **self.environ}, cwd=ROOT, text=True, start_new_session=True,
                stdin=subprocess.DEVNULL, stdout=said, stderr=subprocess.STDOUT,
            )  # fmt: skip
        self.machines.append(machine)
        self._logs.append(log)
        return machine

    def keep_alive(self, machines: int, workers: int) -> None:
        """Start a machine for each that has left before the study is done."""
        alive = [m for m in self.machines if m.poll() is None]
        for _ in range(machines - len(alive)):
            if self.left():
                self.start(workers)

    def rows(self, query: str, **parameters: Any) -> list[Any]:
        with self.engine.connect() as connection:
            return list(connection.execute(text(query), parameters).all())

    def left(self) -> int:
        """Return how many slots are not spent; many, while the database cannot be asked."""
        try:
            return int(self.rows("SELECT count(*) FROM caviar.slot WHERE state IN ('open', 'leased')")[0][0])
        except DBAPIError:
            return 999

    def epochs(self) -> int:
        return int(self.rows("SELECT coalesce(sum(epoch), 0) FROM caviar.slot")[0][0])

    def at_work(self) -> list[Any]:
        """Return (pid, worker_id, number) of the live workers in the middle of a trial, the least disturbed first.

        One that was met three times in a row is spared: two more, and it would rightly be abandoned.
        """
        found = self.rows("""
            SELECT w.pid, w.worker_id, s.number FROM caviar.slot s JOIN caviar.worker w USING (worker_id)
            WHERE s.state = 'leased' AND s.epoch > 0 AND s.losses < 3 ORDER BY s.attempts, random()
        """)
        return [row for row in found if is_alive(row.pid)]

    def is_any_near_its_end(self) -> bool:
        """Return whether a trial was lost three times in a row: two more, and it would rightly be abandoned."""
        with suppress(DBAPIError):
            return bool(
                self.rows("SELECT 1 FROM caviar.slot WHERE state IN ('open', 'leased') AND losses >= 3 LIMIT 1")
            )
        return False

    def note_hit(self) -> None:
        """Remember which trials are being trained: what happens now happens to them."""
        self.hit |= {row.number for row in self.at_work()}

    def wait_until(self, condition: Callable[[], Any], seconds: float = _LONGEST) -> float:
        """Wait, and return for how long; a fault in between is not this condition's."""
        started = time.monotonic()
        while True:
            with suppress(DBAPIError):
                if condition():
                    return time.monotonic() - started
            if time.monotonic() - started > seconds:
                raise AssertionError(f"it never happened; the machines said:\n{self.said()}")
            time.sleep(0.05)

    def recovered(self, seconds: float = _LONGEST) -> float:
        """Wait until a new epoch is written, and note how long that took."""
        known = [-1]

        def newer() -> bool:
            now = self.epochs()
            if known[0] < 0:
                known[0] = now
            return now > known[0] or not self.left()

        took = self.wait_until(newer, seconds)
        self.slowest = max(self.slowest, took)
        return took

    def finish(self, seconds: float = _LONGEST) -> None:
        """Wait until the study is done and all machines have left."""
        self.wait_until(lambda: not self.left(), seconds)
        for machine in self.machines:
            machine.wait(_LONGEST)

    def said(self) -> str:
        return "\n".join(f"--- {log.name}\n{log.read_text()[-1500:]}" for log in self._logs)

    def close(self) -> None:
        for machine in self.machines:
            with suppress(ProcessLookupError):
                os.killpg(machine.pid, signal.SIGKILL)
            machine.wait()
        self.engine.dispose()

    def audit(self, fault: str, injected: int) -> Row:
        """Count every row, and train every interrupted trial again, undisturbed and alone.

        The curves must be equal, bit for bit where the trial was trained alone before.
        """
        record = load_study(self.engine, "chaos")
        trials = read_trials(self.engine, record.study_id)
        numbers = [n for (n,) in self.rows("SELECT number FROM public.trials ORDER BY number")]
        (made,) = self.rows("SELECT count(DISTINCT trial_id) FROM caviar.slot")[0]
        whole = [t for t in trials if t.state in ("complete", "pruned")]
        others = {t.slot.number for t in trials if t.state == "ended elsewhere"} & self.ended_by_others
        lost = sorted({t.slot.number for t in trials} - {t.slot.number for t in whole} - others)
        doubled = len(numbers) - len(set(numbers))
        how = {t.slot.number: (str(t.state), t.attempts, t.attributes) for t in trials if t.slot.number in lost}
        assert lost == [], f"trials lost: {how}\n{self.said()}"
        assert numbers == list(range(len(numbers)))  # those of other programs, too
        assert made == len(trials) == self.study.budget
        assert not self.rows("SELECT 1 FROM caviar.slot WHERE state NOT IN ('done', 'ended elsewhere')")
        assert not self.rows("SELECT trial_id FROM public.trial_values GROUP BY trial_id HAVING count(*) > 1")
        interrupted = 0
        for trial in whole:
            curve = read_curve(self.engine, record.study_id, trial.slot.number)
            assert [e.epoch for e in curve] == list(range(1, self.study.epochs + 1)), trial
            steps = self.rows(
                "SELECT step, intermediate_value FROM public.trial_intermediate_values JOIN caviar.slot s "
                "USING (trial_id) WHERE s.number = :number ORDER BY step", number=trial.slot.number,
            )  # fmt: skip
            assert [tuple(s) for s in steps] == [(e.epoch, e.metrics["accuracy"]) for e in curve]
            assert trial.value == curve[-1].metrics["accuracy"]
            if trial.attempts > 1 or trial.slot.number in self.hit:
                interrupted += 1
                self._compare(trial.slot.number, trial.parameters, curve)
        return Row(fault, injected, len(lost), doubled, made - self.study.budget, self.slowest, interrupted)

    def _compare(self, number: int, stored: Any, curve: Any) -> None:
        torch.set_num_threads(THREADS)
        quick = self.study.model_copy(update={"model": "mlp"})  # the same network, without its waiting
        training = assemble(quick, number, self.study.values(stored), digits())
        again, found = figures(training.epochs(self.study.epochs)), figures(curve)
        if self.cohort > 1:
            again = [pytest.approx(epoch, abs=TOLERANCE) for epoch in again]
        assert found == again, f"trial {number}"


def send(pid: int, number: int) -> bool:
    """Send a signal; False where the process has ended meanwhile."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True
