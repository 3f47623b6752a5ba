"""Worker processes of this machine: start, watch, replace and stop them.

Processes come from Python's fork server, which has imported torch and Optuna once for all of them.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.forkserver import ensure_running
from multiprocessing.process import BaseProcess
from multiprocessing.resource_tracker import ensure_running as ensure_tracker_running
from types import ModuleType

from caviar.errors import CaviarError
from caviar.storage.engine import open_database
from caviar.storage.errors import DatabaseAway
from caviar.storage.records import StudyRecord
from caviar.studies.errors import MachineMismatch, WorkersFailed
from caviar.studies.lifecycle.loader import importing_project
from caviar.studies.workers.local.options import WorkerOptions
from caviar.studies.workers.local.signals import GRACEFUL, Stop

# What every worker would import for itself; torch._dynamo comes with the first optimizer, and takes a second.
# The last one freezes what is there, for a fork server that ends in a moment and workers that collect no such garbage.
_PRELOAD = [
    "caviar.studies.workers.worker", "torch._dynamo", "scipy.stats", "sklearn.datasets",
    "caviar.studies.workers.local.freeze",
]  # fmt: skip
_LOST = 255  # what multiprocessing makes of the exit code when the fork server, which knew it, has died
_RESTARTS = 5  # of one place among the workers, before the run gives up
_LONG_LIFE_SECONDS = 600.0  # after which an earlier death is forgotten
_LONGEST_MESSAGE = 8000  # characters of a traceback; more would not fit into a pipe that nobody reads yet
_KILL_SECONDS = 10.0  # after its grace
_BACK_OFF_SECONDS, _LONGEST_BACK_OFF = 1.0, 4.0  # doubled with every restart
_one_start = threading.Lock()  # of a process at a time: all threads share sys.modules


@dataclass
class _Place:
    """The place of one worker in the pool, and the process that has it now."""

    device: str
    process: BaseProcess
    errors: Connection
    started: float = field(default_factory=time.monotonic)
    restarts: int = 0
    restart_at: float | None = None


class WorkerPool:
    """Worker processes from `with` to its end: one for each of `devices`, such as cpu or cuda:0."""

    def __init__(self, options: WorkerOptions, devices: Sequence[str]) -> None:
        self._options = options
        self.warm_up()
        self._context = multiprocessing.get_context("forkserver")
        self.restarts = 0  # of workers that were killed, so far
        self.pids: set[int] = set()  # of all workers that were ever started
        self._places = [_Place(device, *self._start_process(device)) for device in devices]

    @staticmethod
    def warm_up() -> None:
        """Start the fork server, which begins its imports."""
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(_PRELOAD)
        with _no_signals():
            ensure_tracker_running()  # it would lift the block that the fork server is to inherit
        with _no_signals():
            ensure_running()

    def __enter__(self) -> WorkerPool:
        return self

    def __exit__(self, *exception: object) -> None:
        """Stop all workers, and kill one that still runs ten seconds after its grace."""
        self.stop()
        deadline = time.monotonic() + self._options.grace + _KILL_SECONDS
        for place in self._places:
            place.process.join(max(0.0, deadline - time.monotonic()))
            if place.process.exitcode is None:
                place.process.kill()
                place.process.join()

    def replace_dead(self, *, wanted: bool) -> list[int]:
        """Replace workers that were killed, after a pause that grows with each; return their process ids.

        If `wanted`, there is work again for workers that ended normally too: they begin with the code and the
        definition of that moment.

        Raises:
            WorkersFailed: a worker ended with an error, or died too often.
            DatabaseAway: a worker's patience with the database is over.
        """
        dead = []
        for place in self._places:
            if place.restart_at is not None:
                if wanted and time.monotonic() >= place.restart_at:
                    place.process, place.errors = self._start_process(place.device)
                    place.started, place.restart_at = time.monotonic(), None
            elif place.process.exitcode == 0 and wanted:
                place.restart_at = time.monotonic() + _BACK_OFF_SECONDS
            elif place.process.exitcode is not None and place.process.exitcode < 0:  # ended by a signal
                dead.append(place.process.pid or 0)
                self._plan_restart(place)
            elif place.process.exitcode == _LOST and not place.errors.poll():
                with suppress(ProcessLookupError):  # it may live, without anybody who waits for it
                    os.kill(place.process.pid or 0, signal.SIGTERM)
                dead.append(place.process.pid or 0)
                self._plan_restart(place)
            elif place.process.exitcode:
                message = _message_of(place)
                if place.process.exitcode == os.EX_TEMPFAIL:
                    raise DatabaseAway(message)
                raise WorkersFailed(f"a worker failed: {message}")
        return dead

    def running(self) -> bool:
        """Return True if any worker runs."""
        return any(place.process.exitcode is None for place in self._places)

    def wait(self, seconds: float) -> None:
        """Wait until a worker ends, or for so many seconds."""
        alive = [place.process.sentinel for place in self._places if place.process.exitcode is None]
        if alive:
            wait(alive, timeout=seconds)
        else:
            time.sleep(seconds)

    def stop(self) -> None:
        """Ask all workers to stop: they finish their epoch, save its state, and give their slots back."""
        for place in self._places:
            place.restart_at = None
            if place.process.exitcode is None:
                place.process.terminate()

    def _plan_restart(self, place: _Place) -> None:
        if time.monotonic() - place.started > _LONG_LIFE_SECONDS:
            place.restarts = 0
        if place.restarts >= _RESTARTS:
            code = place.process.exitcode or 0
            how = f"by signal {-code}" if code < 0 else "with the process that starts workers"
            raise WorkersFailed(
                f"a worker was killed {place.restarts + 1} times, last {how}; "
                f"is there enough memory? Fewer workers need less: --workers 1"
            )
        place.restart_at = time.monotonic() + min(_LONGEST_BACK_OFF, _BACK_OFF_SECONDS * 2**place.restarts)
        place.restarts += 1
        self.restarts += 1

    def _start_process(self, device: str) -> tuple[BaseProcess, Connection]:
        receiver, sender = self._context.Pipe(duplex=False)
        process = self._context.Process(target=_work, args=(self._options, device, sender), name="caviar worker")
        with _no_signals(), no_main_module():
            process.start()
        self.pids.add(process.pid or 0)
        sender.close()
        return process, receiver


def _message_of(place: _Place) -> str:
    """Return what a worker that failed sent before its end."""
    with suppress(EOFError):
        if place.errors.poll():
            return str(place.errors.recv())
    return f"it left with exit code {place.process.exitcode}, and sent no message"


@contextmanager
def _no_signals() -> Iterator[None]:
    """Block the signals to stop in a process that is being made; a worker unblocks them once it can handle them.

    The fork server never does: a signal to the whole group, as of systemd or Slurm, would end it, and nobody would know
    any more which workers live.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, GRACEFUL)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def no_main_module() -> Iterator[None]:
    """Keep a process that is being made from running the user's script once more.

    `multiprocessing` imports the parent's main module in each child, for functions that stand in it; workers need none.
    A script that calls `caviar.run` without an `if __name__ == "__main__"` would start workers in its workers. The
    stand-in has all that the module has but its file and name; other threads may use it, or start workers too.
    """
    with _one_start:
        before, stand_in = sys.modules["__main__"], ModuleType("__main__")
        vars(stand_in).update({**vars(before), "__file__": None, "__spec__": None})
        sys.modules["__main__"] = stand_in
        try:
            yield
        finally:
            sys.modules["__main__"] = before


def _work(options: WorkerOptions, device: str, errors: Connection) -> None:
    """Run a worker to its end, in a process of its own."""
    with Stop(options.grace) as stop:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, GRACEFUL)
        _follow_parent(stop)
        try:
            with importing_project():  # a model's module that runs a study would start workers in this one
                _run_worker(options, device, stop)
        except Exception as error:  # noqa: BLE001 - sent to the parent, whose terminal it is
            message = str(error) if isinstance(error, DatabaseAway) else f"{type(error).__name__}: {error}"
            if not isinstance(error, CaviarError):
                message = "".join(traceback.format_exception(error))[-_LONGEST_MESSAGE:]
            errors.send(message)
            raise SystemExit(os.EX_TEMPFAIL if isinstance(error, DatabaseAway) else 1) from None


def _follow_parent(stop: Stop) -> None:
    """Stop gracefully when the process that started this one has ended, for whatever reason."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def follow() -> None:
        wait([parent.sentinel])
        stop.ask()

    threading.Thread(target=follow, name="parent watch", daemon=True).start()


def _run_worker(options: WorkerOptions, device: str, stop: Stop) -> None:
    from caviar.storage.definitions import load_study
    from caviar.storage.outage import Outage
    from caviar.studies.workers.context import begin_work
    from caviar.studies.workers.worker import Worker

    outage = Outage(options.patience, lambda: stop.overdue)
    with open_database(options.settings, outage=outage, hurry=lambda: stop.overdue) as engine:
        record = outage.insist(lambda: load_study(engine, options.study))
        _check_code(options, record)
        Worker(begin_work(engine, record, options, device, stop)).run()


def _check_code(options: WorkerOptions, record: StudyRecord) -> None:
    """Refuse to train with other code than the study's: its files or its definition may have changed meanwhile."""
    from caviar.models.fingerprint import code_digest
    from caviar.studies.lifecycle.manager import definition_of

    if options.code is None:
        return
    here = code_digest(definition_of(record).model)
    if here != options.code:  # what the fork server has imported is not what stands in the files
        raise MachineMismatch("the code on this machine was changed since this command was started: start it again")
    if record.provenance.code not in (None, here) and not options.allow_mismatch:
        raise MachineMismatch(
            f"'{record.name}' has a new version with other code than this machine's: bring it in line, and start "
            f"this command again"
        )
