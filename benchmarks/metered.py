"""Workers of Caviar and of plain Optuna that count their statements and time themselves; for storage_cost.py.

A Caviar worker is the class Worker with all its parts, as studies/workers/local/pool.py makes it. A plain Optuna worker
is what Optuna's documentation shows: get_storage, TPE, MedianPruner; ask, suggest, report, should_prune, tell. Both are
processes that have imported everything before their clock starts.
"""

from __future__ import annotations

import os
import random
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import optuna
import torch
from filled import NAME
from sqlalchemy import Engine, event
from sqlalchemy.engine import URL, make_url

from caviar.models.data import Data, Part
from caviar.storage.definitions import load_study
from caviar.storage.engine import make_engine
from caviar.storage.processes import machine_id
from caviar.storage.records import WorkerRecord
from caviar.storage.settings import read_settings
from caviar.storage.workers import register_worker
from caviar.studies.catalog.digits import STUDY
from caviar.studies.definition import change
from caviar.studies.lifecycle.manager import definition_of
from caviar.studies.lifecycle.provenance import package_versions
from caviar.studies.workers.context import WorkerContext
from caviar.studies.workers.local.options import WorkerOptions
from caviar.studies.workers.local.signals import Stop
from caviar.studies.workers.trial.build import Bench
from caviar.studies.workers.worker import Worker


class Meter:
    """Counts the statements of an engine, and the seconds that its process waits for the server, by what calls them."""

    def __init__(self, engine: Engine) -> None:
        self.statements, self.finished, self.begun = 0, [], []  # when trials were begun and ended
        # Seconds of each call: for the server to answer its statements, to commit, and in all.
        self.answers: dict[str, list[float]] = defaultdict(list)
        self.commits: dict[str, list[float]] = defaultdict(list)
        self.takes: dict[str, list[float]] = defaultdict(list)
        self._here = threading.local()
        event.listen(engine, "before_cursor_execute", self._before)
        event.listen(engine, "after_cursor_execute", self._after)
        commit = engine.dialect.do_commit

        def timed_commit(connection: Any) -> None:
            started = time.perf_counter()
            commit(connection)
            self._here.committed = getattr(self._here, "committed", 0.0) + time.perf_counter() - started

        engine.dialect.do_commit = timed_commit  # type: ignore[method-assign]

    def _before(self, *_: Any) -> None:
        self.statements += 1
        self._here.started = time.perf_counter()

    def _after(self, *_: Any) -> None:
        self._here.answered = getattr(self._here, "answered", 0.0) + time.perf_counter() - self._here.started

    def time(self, owner: Any, name: str, then: Callable[[], None] = lambda: None) -> None:
        """Time the calls of one method, whatever its arguments are."""
        call = getattr(owner, name)

        def timed(*arguments: Any, **options: Any) -> Any:
            self._here.answered = self._here.committed = 0.0
            started = time.perf_counter()
            result = call(*arguments, **options)
            self.takes[name].append(time.perf_counter() - started)
            self.answers[name].append(self._here.answered)
            self.commits[name].append(self._here.committed)
            then()
            return result

        setattr(owner, name, timed)

    def calls(self) -> dict[str, dict[str, list[float]]]:
        return {"statements_ms": dict(self.answers), "commit_ms": dict(self.commits), "ms": dict(self.takes)}


@dataclass
class Run:
    """What one process measured: when it began, and each of its trials was begun and ended, on one clock."""

    started: float
    begun: list[float]
    finished: list[float]
    statements: list[int]  # up to the end of each trial
    calls: dict[str, dict[str, list[float]]] = field(default_factory=dict)  # seconds by share and name


def _few_examples() -> Data:
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(216, 1, 8, 8, generator=generator), torch.arange(216) % 10
    return Data(Part(x[:16], y[:16]), Part(x[16:], y[16:]), 10)


def _work_on_caviar(url: URL, epochs: int, cohort: int) -> Run:
    """Be a worker of Caviar, as studies/workers/local/pool.py starts one, until nothing is left."""
    started = time.perf_counter()
    engine = make_engine(url)
    meter, statements = Meter(engine), []
    record = load_study(engine, NAME)
    study = change(definition_of(record), epochs=epochs)
    process = WorkerRecord(uuid4(), "benchmark", machine_id(), os.getpid(), "cpu", package_versions())
    register_worker(engine, record.study_id, process)
    order = WorkerOptions(
        read_settings(url.render_as_string(hide_password=False)), NAME, Path("nowhere"), cohort=cohort
    )
    bench = Bench(torch.device("cpu"), _few_examples())
    worker = Worker(WorkerContext(engine, record, study, process, bench, Stop(), order))
    # All that this benchmark knows of a worker's parts: their names.
    context = worker.context
    meter.time(context.ledger, "lease")
    meter.time(context.history, "refresh")
    meter.time(worker._trainer._assigner._proposer, "propose")
    meter.time(context.log, "begin", lambda: meter.begun.append(time.perf_counter()))
    meter.time(context.log, "record")

    def ended() -> None:
        meter.finished.append(time.perf_counter())
        statements.append(meter.statements)

    meter.time(context.log, "finish", ended)
    worker.run()
    engine.dispose()
    return Run(started, meter.begun, meter.finished, statements, meter.calls())


def _work_on_optuna(url: URL, epochs: int, trials: int) -> Run:
    """Be a worker of plain Optuna."""
    started = time.perf_counter()
    storage = optuna.storages.get_storage(url.render_as_string(hide_password=False))
    meter = Meter(storage._backend.engine)
    study = optuna.load_study(study_name=NAME, storage=storage, sampler=optuna.samplers.TPESampler(),
                              pruner=optuna.pruners.MedianPruner())  # fmt: skip
    run = Run(started, [], [], [])
    for _ in range(trials):
        trial = study.ask()
        for name, distribution in STUDY.distributions().items():
            trial._suggest(name, distribution)  # what suggest_float, _int and _categorical call
        run.begun.append(time.perf_counter())
        for epoch in range(1, epochs + 1):
            trial.report(random.uniform(0.1, 0.2) * epoch, epoch)
            assert not trial.should_prune()
        study.tell(trial, random.uniform(1, 2))
        run.finished.append(time.perf_counter())
        run.statements.append(meter.statements)
    return run


def be_worker(side: str, address: str, epochs: int, trials: int, cohort: int, barrier: Any, results: Any) -> None:
    """Be a worker process of `caviar` or of plain `optuna`; begins when all others are there too."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    torch.set_num_threads(1)
    # Whatever is imported at first use is imported now: imports are not what is measured.
    for sampler in (optuna.samplers.GPSampler(n_startup_trials=1), optuna.samplers.TPESampler(n_startup_trials=1)):
        study = optuna.create_study(sampler=sampler)
        for _ in range(3):
            trial = study.ask(STUDY.distributions())
            study.tell(trial, random.random())
    torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    url = make_url(address)
    barrier.wait()
    results.put(_work_on_caviar(url, epochs, cohort) if side == "caviar" else _work_on_optuna(url, epochs, trials))
