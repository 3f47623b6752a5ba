"""One worker process: how it starts, works to its end, and says goodbye.

A worker that has come to its end says so before it leaves. One that leaves without a word was ended by something else:
a signal, or code of the model that leaves the process.
"""

from __future__ import annotations

import faulthandler
import multiprocessing
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterator, MutableSequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from types import ModuleType
from typing import TYPE_CHECKING

from caviar.errors import CaviarError
from caviar.foreign_code import end_process
from caviar.storage.engine import open_database
from caviar.storage.errors import DatabaseAway
from caviar.storage.processes import descendants, end
from caviar.storage.records import StudyRecord
from caviar.studies.errors import MachineMismatch, RanksDied
from caviar.studies.lifecycle.loader import importing_project
from caviar.studies.workers.local.options import WorkerOptions
from caviar.studies.workers.local.pulse import Pulse
from caviar.studies.workers.local.signals import GRACEFUL, Stop

if TYPE_CHECKING:
    from caviar.studies.workers.user.rank_starter import RankStarter

# Answered even by a process that hangs outside of Python; one that has no answer ignores it, and lives.
SHOW_STACK = signal.SIGURG
# The exit codes of a worker whose trial lost a rank, as if the worker had died: by an unknown hand, or by the training.
RANKS_DIED, RANKS_CRASHED = os.EX_OSERR, os.EX_SOFTWARE
# The names of the process that starts the ranks of a trial, and of these with their numbers: at most 15 characters.
RANK_STARTER, RANK = "caviar starter", "caviar rank "
KILL_SECONDS = 10.0  # that a worker may live after its grace
_LONGEST_MESSAGE = 8000  # characters of a traceback; more would not fit into a pipe that nobody reads yet
_one_start = threading.Lock()  # of a process at a time: all threads share sys.modules


@dataclass(frozen=True)
class Lines:
    """The lines that lead from a worker to the process that supervises it."""

    goodbye: Connection  # gets one message: empty, or why the worker failed
    stacks: Connection  # gets, as text, the stacks of a worker that crashes or is asked for them
    pulse: MutableSequence[float]


def work(options: WorkerOptions, device: str, lines: Lines) -> None:
    """Run a worker to its end, in a process of its own."""
    faulthandler.enable(lines.stacks.fileno())
    faulthandler.register(SHOW_STACK, lines.stacks.fileno())
    with _rank_starter(options) as starter, Stop(options.grace) as stop:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, GRACEFUL)
        _follow_parent(stop, options.grace)
        try:
            with importing_project():  # a model's module that runs a study would start workers in this one
                _run_worker(options, device, stop, Pulse(lines.pulse), starter)
        except RanksDied as error:
            lines.goodbye.send(str(error))
            raise SystemExit(RANKS_CRASHED if error.is_own else RANKS_DIED) from None
        except Exception as error:  # noqa: BLE001 - sent to the parent, whose terminal it is
            message = str(error) if isinstance(error, DatabaseAway) else f"{type(error).__name__}: {error}"
            if not isinstance(error, CaviarError):
                message = "".join(traceback.format_exception(error))[-_LONGEST_MESSAGE:]
            lines.goodbye.send(message)
            raise SystemExit(os.EX_TEMPFAIL if isinstance(error, DatabaseAway) else 1) from None
        lines.goodbye.send("")


def _follow_parent(stop: Stop, grace: float) -> None:
    """Stop gracefully when the process that started this one has ended, for whatever reason; else without grace.

    Nobody else would end a training that hangs, and a thread would renew its lease for ever.
    """
    parent = multiprocessing.parent_process()
    assert parent is not None

    def follow() -> None:
        wait([parent.sentinel])
        stop.ask()
        time.sleep(grace + KILL_SECONDS)
        end(descendants(os.getpid()))
        end_process(1)

    threading.Thread(target=follow, name="parent watch", daemon=True).start()


def _rank_starter(options: WorkerOptions) -> AbstractContextManager[RankStarter | None]:
    """Return what starts the ranks of the worker's trials, while this process has no thread that a fork would lose."""
    if not options.ranks:
        return nullcontext()
    from caviar.studies.workers.user.rank_starter import RankStarter

    return RankStarter("fork")


def _run_worker(options: WorkerOptions, device: str, stop: Stop, pulse: Pulse, starter: RankStarter | None) -> None:
    from caviar.storage.definitions import load_study
    from caviar.storage.outage import Outage
    from caviar.storage.trial_logs import TrialLogs
    from caviar.studies.workers.context import begin_work
    from caviar.studies.workers.local.output import LoggedOutput
    from caviar.studies.workers.worker import Worker

    pulse.started()
    outage = Outage(options.patience, lambda: stop.overdue)
    with open_database(options.settings, outage=outage, hurry=lambda: stop.overdue) as engine:
        record = outage.insist(lambda: load_study(engine, options.study))
        output = LoggedOutput(TrialLogs(options.settings.home, record.label), pulse)
        with pulse.training():
            _check_code(options, record)
        Worker(begin_work(engine, record, options, device, stop, pulse, output, starter=starter)).run()


def _check_code(options: WorkerOptions, record: StudyRecord) -> None:
    """Refuse to train with other code than the study's: its files or its definition may have changed meanwhile."""
    from caviar.studies.lifecycle.manager import definition_of
    from caviar.studies.lifecycle.provenance import code_change, code_key, code_of

    if options.code is None:
        return
    here = code_of(definition_of(record))
    if code_key(here) != options.code:  # what the fork server has imported is not what stands in the files
        raise MachineMismatch("the code on this machine was changed since this command was started: start it again")
    change = code_change(record.provenance, here)
    if change and not options.allow_mismatch:
        raise MachineMismatch(
            f"'{record.name}' has a new version with other code than this machine's ({change}): bring it in line, and "
            f"start this command again"
        )


@contextmanager
def no_signals() -> Iterator[None]:
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
