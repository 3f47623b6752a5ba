"""Train a few epochs in a process of its own, which may crash, and report what they came to."""

from __future__ import annotations

import faulthandler
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Mapping, MutableSequence
from contextlib import nullcontext, redirect_stdout, suppress
from dataclasses import dataclass, field, replace
from enum import StrEnum
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from caviar.durations import in_words
from caviar.storage.processes import signal_name
from caviar.studies.lifecycle.loader import importing_project
from caviar.studies.space.base import Value
from caviar.studies.workers.local.process import SHOW_STACK, no_main_module, no_signals
from caviar.studies.workers.local.pulse import SIZE, Pulse
from caviar.studies.workers.local.stacks import place_in
from caviar.studies.workers.local.watchdog import Watchdog, silence_limit

if TYPE_CHECKING:
    from caviar.studies.workers.user.rank_reports import RankReport

_LOOK_SECONDS = 0.5  # between two looks whether a probe hangs
_STACK_SECONDS = 0.5  # that a probe may take to write where it hangs
_LONGEST_STACK = 65_536  # bytes, as many as a pipe has


@dataclass(frozen=True)
class Request:
    """What a probe is to train.

    Args:
        body: the definition of the study.
        state: where to go on from, as bytes of a checkpoint; None to begin.
        epochs: the number of epochs to train; more for a command that goes on, until it has reported one by itself:
            those that were reported before the interruption are a part of the state.
        tests: whether the study's `test=` function is to measure the state, and nothing to be trained.
    """

    body: Mapping[str, Any]
    values: Mapping[str, Value]
    device: str
    data_dir: str
    epochs: int
    state: bytes | None = None
    tests: bool = False


class Kind(StrEnum):
    """What it is that a training function holds and does not save."""

    GENERATOR = "generator"  # of random numbers
    STATE = "state"  # an object with a state_dict(): a network, an optimizer, a schedule
    WORKERS = "workers"  # a data loader whose processes outlive the epoch, and their generators with them


@dataclass(frozen=True)
class Unsaved:
    """Something that a training function holds from epoch to epoch, and that is not in `keep`.

    Attributes:
        name: of the variable.
        changes: whether it was another one after an epoch than before; else it may change in a later epoch.
    """

    name: str
    type: str
    file: str
    line: int
    kind: Kind
    changes: bool = False


@dataclass(frozen=True)
class Failure:
    """What ended a probe."""

    error: str
    place: str = ""  # file:line
    traceback: str = ""


@dataclass(frozen=True)
class Outcome:
    """What a probe came to.

    Attributes:
        numbers: the numbers of the epochs, as the training counts them.
        metrics: what each epoch reported; or what the `test=` function measured.
        states: after each epoch; None where the training has none.
        seconds: of each epoch.
        memory: the most bytes so far, of all processes of the training, Python and PyTorch included; of the GPU where
            there is one. None where that is not known.
        unsaved: what outlives an epoch.
        reports: of each epoch, what each rank reported, by rank; empty where one process trains a trial.
        failure: None if all epochs were trained.
        refused: why the state to go on from was refused.
        uses_folder: whether a command that was given its folder goes on from it; None if that is not known, or no
            question.
        suggested: the distribution of each hyperparameter that an objective has named, by name, as Optuna's JSON.
    """

    numbers: list[int] = field(default_factory=list)
    metrics: list[dict[str, float]] = field(default_factory=list)
    states: list[bytes | None] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    memory: int | None = None
    unsaved: list[Unsaved] = field(default_factory=list)
    reports: list[Mapping[int, RankReport]] = field(default_factory=list)
    failure: Failure | None = None
    refused: str | None = None
    uses_folder: bool | None = None
    suggested: Mapping[str, str] = field(default_factory=dict)

    @property
    def measured(self) -> set[str]:
        """The names of all metrics that were reported, by any rank."""
        of_ranks = [report.metrics for reports in self.reports for report in reports.values()]
        return {name for metrics in [*self.metrics, *of_ranks] for name in metrics}


def train(request: Request, timeout: float | None = None) -> Outcome:
    """Train what a request asks for in a process of its own, which is killed when it has answered, or hangs.

    Args:
        timeout: seconds of an epoch without a batch after which it hangs; None as in a search.
    """
    context = multiprocessing.get_context("forkserver")
    receiver, sender = context.Pipe(duplex=False)
    stacks, stack = context.Pipe(duplex=False)
    shared = context.RawArray("d", SIZE)
    pulse = Pulse(shared)
    pulse.starting()
    process = context.Process(target=_work, args=(request, sender, stack, shared), name="caviar check")
    with no_signals(), no_main_module():
        process.start()
    for end in (sender, stack):
        end.close()
    watchdog = Watchdog(pulse, process.pid or 0)
    try:
        while not receiver.poll(_LOOK_SECONDS):
            watchdog.measure()
            if watchdog.silence >= silence_limit(pulse, pulse.longest_epoch, timeout):
                where = place_in(_stack_of(process.pid or 0, stacks))
                return Outcome(failure=Failure(f"it hangs{where}: no batch for {in_words(watchdog.silence)}"))
        answer: Outcome = receiver.recv()
        return answer
    except EOFError:
        process.join()
        code = process.exitcode or 0
        how = f"was killed by signal {signal_name(-code)}" if code < 0 else f"left Python with exit code {code}"
        return Outcome(failure=Failure(f"its process {how}"))
    finally:
        process.kill()  # as a worker may be: nothing that it would still write counts
        process.join()
        for end in (receiver, stacks):
            end.close()


def _stack_of(pid: int, stacks: Connection) -> str:
    """Return the stacks of a probe's threads, which it writes even where it hangs outside of Python."""
    with suppress(ProcessLookupError):
        os.kill(pid, SHOW_STACK)
    time.sleep(_STACK_SECONDS)
    return os.read(stacks.fileno(), _LONGEST_STACK).decode("utf-8", "replace") if stacks.poll() else ""


def _work(request: Request, answer: Connection, stack: Connection, shared: MutableSequence[float]) -> None:
    faulthandler.register(SHOW_STACK, stack.fileno())
    with suppress(OSError):
        os.setpgid(0, 0)  # a Ctrl-C of the terminal is for the command
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT, signal.SIGTERM])
    with importing_project(), redirect_stdout(sys.stderr):
        pulse = Pulse(shared)
        outcome = _test(request, pulse) if request.tests else _train(request, pulse)
    answer.send(outcome)
    answer.close()
    signal.pause()


def _test(request: Request, pulse: Pulse) -> Outcome:
    """Measure a state by the study's `test=` function, as the winner's is measured."""
    import torch

    from caviar.models.checkpoint import from_bytes
    from caviar.studies.definition import from_body
    from caviar.studies.workers.trial.build import THREADS, Bench, measure_trial
    from caviar.studies.workers.trial.failures import TrainingRaised, describe, training_code

    assert request.state is not None, "there is a state to measure"
    torch.set_num_threads(THREADS)
    state, bench = from_bytes(request.state, torch.device("cpu")), Bench(torch.device(request.device))
    try:
        with training_code(pulse):
            measured = measure_trial(from_body(request.body), 0, request.values, bench, state)
    except TrainingRaised as raised:
        described = describe(raised.error)
        return Outcome(failure=Failure(described["error"], described["place"], described["traceback"]))
    return Outcome(metrics=[measured])


def _train(request: Request, pulse: Pulse) -> Outcome:
    import torch

    from caviar.models.checkpoint import to_bytes
    from caviar.models.data import load
    from caviar.studies.check.memory import MemoryWatch
    from caviar.studies.check.unsaved import UnsavedWatch
    from caviar.studies.definition import from_body
    from caviar.studies.way import Way
    from caviar.studies.workers.trial.build import THREADS, Bench
    from caviar.studies.workers.trial.failures import TrainingRaised, describe, training_code
    from caviar.studies.workers.trial.resumption import LoadedCheckpoint, resume
    from caviar.studies.workers.user.command import CommandTraining
    from caviar.studies.workers.user.group import GroupTraining
    from caviar.studies.workers.user.objective import ObjectiveTraining
    from caviar.studies.workers.user.rank_starter import RankStarter

    torch.set_num_threads(THREADS)
    study, outcome, refused = from_body(request.body), Outcome(), None
    uses_folder: bool | None = None
    failure: Failure | None = None
    suggested: dict[str, str] = {}
    memory = MemoryWatch(request.device, in_other_processes=study.way is Way.COMMAND or bool(study.gpus))

    def leave(alive: bool = True) -> bool:
        if alive:
            pulse.beat()
        memory.look(at_once=False)
        return False

    try:
        with RankStarter("fork") if study.gpus else nullcontext() as starter, training_code(pulse):
            bench = Bench(torch.device(request.device), starter=starter)
            if study.way is Way.MODEL:
                bench = Bench(bench.device, load(study.built_in.data, Path(request.data_dir), bench.device))
            training, refused = resume(study, 0, request.values, bench, LoadedCheckpoint(request.state))
            command = training if isinstance(training, CommandTraining) and request.state is not None else None
            unsaved = UnsavedWatch(training)
            unsaved.look()
            epochs = training.epochs(study.last_epoch, leave)
            while True:
                with pulse.epoch():
                    epoch = next(epochs, None)
                if epoch is None:
                    break
                pulse.beat()
                memory.look()
                state = training.state()
                outcome.numbers.append(epoch.epoch)
                outcome.metrics.append(dict(epoch.metrics))
                outcome.states.append(None if state is None else to_bytes(state))
                outcome.seconds.append(epoch.seconds)
                if isinstance(training, GroupTraining):
                    outcome.reports.append(training.reports)
                if isinstance(training, ObjectiveTraining):
                    suggested = training.suggested
                unsaved.look()
                outcome.unsaved[:] = unsaved.found()
                uses_folder = command.uses_folder if command else None
                if len(outcome.numbers) >= request.epochs and (command is None or uses_folder is not None):
                    break
    except TrainingRaised as raised:
        described = describe(raised.error)
        failure = Failure(described["error"], described["place"], described["traceback"])
    return replace(
        outcome, memory=memory.most(), failure=failure, refused=refused, uses_folder=uses_folder, suggested=suggested
    )
