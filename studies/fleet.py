"""Worker processes of this machine: started, watched, replaced when they die, stopped gracefully.

Processes come from Python's fork server, which has imported torch and Optuna once for all of them.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.forkserver import ensure_running
from multiprocessing.process import BaseProcess
from pathlib import Path
from uuid import uuid4

from storage.engine import open_database
from storage.settings import Settings
from studies.errors import EXPECTED_ERRORS, WorkersFailed
from studies.signals import Stop

# What every worker would import for itself; torch._dynamo comes with the first optimizer, and takes a second.
_PRELOAD = ["studies.worker", "torch._dynamo", "scipy.stats", "sklearn.datasets"]
_RESTARTS = 5  # of one place among the workers, before the run gives up
_LONG_LIFE_SECONDS = 600.0  # after which an earlier death is forgotten
_TOLD = 8000  # characters of a traceback; more would not fit into a pipe that nobody reads yet
_BACK_OFF_SECONDS = 1.0  # doubled with every restart


@dataclass(frozen=True)
class Order:
    """What a worker process is to do: small enough to hand over, without a password in any argument list."""

    settings: Settings
    study: str
    data_dir: Path
    lease_seconds: float = 60.0


@dataclass
class _Place:
    """One of the fleet's workers, and those that came before it."""

    process: BaseProcess
    errors: Connection
    started: float = field(default_factory=time.monotonic)
    restarts: int = 0
    restart_at: float | None = None


class Fleet:
    """`count` workers on one order, from `with` to its end."""

    def __init__(self, order: Order, count: int) -> None:
        self._order = order
        self.warm_up()
        self._context = multiprocessing.get_context("forkserver")
        self._places = [self._start() for _ in range(count)]

    @staticmethod
    def warm_up() -> None:
        """Let the fork server begin its imports."""
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(_PRELOAD)
        with _no_interrupts():
            ensure_running()

    def __enter__(self) -> Fleet:
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()
        for place in self._places:
            place.process.join()

    def look(self) -> list[int]:
        """Replace workers that died, after a pause that grows; return the process ids of those found dead.

        Raises:
            WorkersFailed: a worker ended with an error, or died too often.
        """
        dead = []
        for place in self._places:
            if place.restart_at is not None:
                if time.monotonic() >= place.restart_at:
                    place.process, place.errors = self._start_process()
                    place.started, place.restart_at = time.monotonic(), None
            elif place.process.exitcode is not None and place.process.exitcode < 0:  # ended by a signal
                dead.append(place.process.pid or 0)
                self._plan_restart(place)
            elif place.process.exitcode:
                said = place.errors.recv() if place.errors.poll() else f"exit code {place.process.exitcode}"
                raise WorkersFailed(f"a worker failed: {said}")
        return dead

    def running(self) -> bool:
        """Say whether any worker is at work, or about to be replaced."""
        return any(place.restart_at is not None or place.process.exitcode is None for place in self._places)

    def wait(self, seconds: float) -> None:
        """Wait, until a worker ends or the time is over."""
        alive = [place.process.sentinel for place in self._places if place.process.exitcode is None]
        if alive:
            wait(alive, timeout=seconds)
        else:
            time.sleep(seconds)

    def stop(self) -> None:
        """Ask all workers to stop: they finish their epoch, keep its state, and give their slots back."""
        for place in self._places:
            place.restart_at = None
            if place.process.exitcode is None:
                place.process.terminate()

    def _plan_restart(self, place: _Place) -> None:
        if time.monotonic() - place.started > _LONG_LIFE_SECONDS:
            place.restarts = 0
        if place.restarts >= _RESTARTS:
            number = -(place.process.exitcode or 0)
            raise WorkersFailed(
                f"a worker was killed {place.restarts + 1} times, last by signal {number}; "
                f"is there enough memory? Fewer workers need less: --workers 1"
            )
        place.restart_at = time.monotonic() + _BACK_OFF_SECONDS * 2**place.restarts
        place.restarts += 1

    def _start(self) -> _Place:
        return _Place(*self._start_process())

    def _start_process(self) -> tuple[BaseProcess, Connection]:
        receiver, sender = self._context.Pipe(duplex=False)
        process = self._context.Process(target=_work, args=(self._order, sender), name="caviar worker")
        with _no_interrupts():
            process.start()
        sender.close()
        return process, receiver


@contextmanager
def _no_interrupts() -> Iterator[None]:
    """Keep Ctrl-C from processes that are being made: it reaches them once they can handle it."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _work(order: Order, errors: Connection) -> None:
    """Be a worker process."""
    with Stop() as stop:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        _follow_parent(stop)
        try:
            _run_worker(order, stop)
        except Exception as error:  # noqa: BLE001 - told to the parent, whose terminal it is
            told = f"{type(error).__name__}: {error}"
            if not isinstance(error, EXPECTED_ERRORS):
                told = "".join(traceback.format_exception(error))[-_TOLD:]
            errors.send(told)
            raise SystemExit(1) from None


def _follow_parent(stop: Stop) -> None:
    """Stop gracefully when the process that started this one is gone, however it went."""
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def follow() -> None:
        wait([parent.sentinel])
        stop.asked = True

    threading.Thread(target=follow, name="parent watch", daemon=True).start()


def _run_worker(order: Order, stop: Stop) -> None:
    import optuna
    import torch

    from models.data import load
    from storage.definitions import load_study
    from storage.ledger import register_worker
    from storage.processes import machine_id
    from storage.records import WorkerRecord
    from studies import host
    from studies.assembly import THREADS
    from studies.manager import definition_of
    from studies.worker import Worker

    optuna.logging.set_verbosity(optuna.logging.ERROR)  # a worker has no terminal of its own
    torch.set_num_threads(THREADS)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    with open_database(order.settings) as engine:
        record = load_study(engine, order.study)
        study = definition_of(record)
        data = load(study.data, order.data_dir, device)
        process = WorkerRecord(
            uuid4(), host.host_name(), machine_id(), os.getpid(), str(device), host.package_versions()
        )
        register_worker(engine, record.study_id, process)
        Worker(engine, record, study, process, data, stop, order.lease_seconds).run()
