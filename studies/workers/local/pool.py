"""Worker processes of this machine: start, watch, replace and stop them.

Processes come from Python's fork server, which has imported torch and Optuna once for all of them.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import wait
from multiprocessing.forkserver import ensure_running
from multiprocessing.resource_tracker import ensure_running as ensure_tracker_running

from caviar.storage.errors import DatabaseAway
from caviar.storage.processes import is_alive
from caviar.storage.records import WorkerDeath
from caviar.storage.trial_logs import TrialLogs
from caviar.studies.errors import WorkersFailed
from caviar.studies.workers.local.options import WorkerOptions
from caviar.studies.workers.local.place import LOST, Place
from caviar.studies.workers.local.process import KILL_SECONDS, RANKS_CRASHED, RANKS_DIED, no_signals

# What every worker would import for itself; torch._dynamo comes with the first optimizer, and takes a second.
# The last one freezes what is there, for a fork server that ends in a moment and workers that collect no such garbage.
PRELOAD = [
    "caviar.studies.workers.worker",
    "torch._dynamo",
    "scipy.stats",
    "caviar.studies.workers.local.freeze",
]


@dataclass(frozen=True)
class _Orphan:
    """A worker whose fork server has died: it may live, and nobody can wait for it."""

    death: WorkerDeath  # to be reported once it is dead
    deadline: float  # when to kill it


class WorkerPool:
    """Worker processes from `with` to its end: one for each of `devices`, such as cpu or cuda:0.

    Args:
        logs: get what the trainings print.
    """

    def __init__(self, options: WorkerOptions, devices: Sequence[str], logs: TrialLogs) -> None:
        self._options = options
        self.warm_up()
        context = multiprocessing.get_context("forkserver")
        self.restarts = 0  # of workers that died, so far
        self.too_long: float | None = None  # seconds of a trial for which a worker had no time, and left
        self._places = [Place(context, options, device, logs) for device in devices]
        self.pids = {place.pid for place in self._places}  # of all workers that were ever started
        self.is_freed = False  # whether somebody frees this machine: all workers leave, and none comes back
        self._longest_epoch = 0.0  # seconds, of any worker so far
        self._orphans: dict[int, _Orphan] = {}  # by process id

    @staticmethod
    def warm_up() -> None:
        """Start the fork server, which begins its imports."""
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(PRELOAD)
        with no_signals():
            ensure_tracker_running()  # it would lift the block that the fork server is to inherit
        with no_signals():
            ensure_running()

    def __enter__(self) -> WorkerPool:
        return self

    def __exit__(self, *exception: object) -> None:
        """Stop all workers, and kill one that still runs ten seconds after its grace."""
        self.stop()
        deadline = time.monotonic() + self._options.grace + KILL_SECONDS
        for place in self._places:
            place.process.join(max(0.0, deadline - time.monotonic()))
            if place.exit_code is None:
                place.process.kill()
                place.process.join()
            place.clear()
        while self._orphans:
            self._bury_orphans()
            time.sleep(0.1 * bool(self._orphans))

    def replace_dead(self, deaths: dict[int, WorkerDeath], *, wanted: bool, asked: Collection[int] = ()) -> None:
        """End workers whose training hangs, and replace those that died.

        Args:
            deaths: gets how they ended, by process id; also the last one before this raises.
            wanted: whether there is work, again, for workers that ended normally too: they begin with the code and the
                definition of that moment.
            asked: the ids of those whose training somebody has asked to leave in the middle of an epoch.

        Raises:
            WorkersFailed: a worker ended with an error, or died too often.
            DatabaseAway: a worker's patience with the database is over.
        """
        deaths.update(self._bury_orphans())
        self._let_all_leave_with_one()
        wanted = wanted and not self.is_freed
        for place in self._places:
            if place.is_vacant:
                if wanted and place.restart_if_due():
                    self.pids.add(place.pid)
                continue
            self._longest_epoch = max(self._longest_epoch, place.longest_epoch)
            if place.exit_code is None:
                death = place.end_if_hanging(self._longest_epoch, asked=place.pid in asked)
            else:
                death = self._death(place)
            if place.exit_code is None:  # it runs; or not even SIGKILL ends it now, and the next look tries again
                continue
            place.clear()
            if death is not None:
                if place.exit_code == LOST:
                    self._adopt(place.pid, death)
                else:
                    deaths[place.pid] = death
                self.restarts += 1
                place.vacate(death)
            elif place.too_long is not None:
                self.too_long = place.too_long
            elif wanted:
                place.vacate()

    def _let_all_leave_with_one(self) -> None:
        """Let all workers leave if one of them was asked to: one that has just been started may not know."""
        if not self.is_freed and any(place.leaves for place in self._places):
            self.is_freed = True
            for place in self._places:
                place.let_leave()

    def _death(self, place: Place) -> WorkerDeath | None:
        """Return how a worker ended that has said nothing; None for one that has come to its end.

        Raises:
            WorkersFailed, DatabaseAway: it failed, and has said why.
        """
        message = place.goodbye()
        if message is None:
            return place.death()
        if not message:
            return None
        if place.exit_code in (RANKS_DIED, RANKS_CRASHED):
            return WorkerDeath(message, is_own=place.exit_code == RANKS_CRASHED)
        if place.exit_code == os.EX_TEMPFAIL:
            raise DatabaseAway(message)
        raise WorkersFailed(f"a worker failed: {message}")

    def _adopt(self, pid: int, death: WorkerDeath) -> None:
        """Ask a worker to leave that may live, without anybody who waits for it."""
        self._orphans[pid] = _Orphan(death, time.monotonic() + self._options.grace + KILL_SECONDS)
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)

    def _bury_orphans(self) -> dict[int, WorkerDeath]:
        """Kill the orphans that do not leave; return how those ended that are dead, by process id."""
        late = [pid for pid, orphan in self._orphans.items() if time.monotonic() > orphan.deadline]
        for pid in late:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        dead = [pid for pid in self._orphans if pid in late or not is_alive(pid)]
        return {pid: self._orphans.pop(pid).death for pid in dead}

    def running(self) -> int:
        """Return how many workers run."""
        return sum(place.exit_code is None for place in self._places)

    @property
    def is_occupied(self) -> bool:
        """Whether any worker runs, or is about to be replaced."""
        return any(place.exit_code is None or place.is_vacant for place in self._places)

    def wait(self, seconds: float) -> None:
        """Wait until a worker ends, or for so many seconds."""
        alive = [place.process.sentinel for place in self._places if place.exit_code is None]
        if alive:
            wait(alive, timeout=seconds)
        else:
            time.sleep(seconds)

    def stop(self) -> None:
        """Ask all workers to stop: they finish their epoch, save its state, and give their slots back."""
        for place in self._places:
            place.leave_vacant()
            if place.exit_code is None:
                place.process.terminate()
