"""Train a few epochs in a process of its own, which may crash, and report what they came to."""

from __future__ import annotations

import multiprocessing
import os
import resource
import signal
import sys
from collections.abc import Mapping
from contextlib import nullcontext, redirect_stdout, suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from caviar.storage.processes import signal_name
from caviar.studies.lifecycle.loader import importing_project
from caviar.studies.space.base import Value
from caviar.studies.workers.local.process import no_main_module, no_signals

if TYPE_CHECKING:
    from caviar.studies.workers.user.rank_reports import RankReport


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


@dataclass(frozen=True)
class Unsaved:
    """Something that a training function holds, that may matter for its next epochs, and that is not in `keep`."""

    name: str  # of the variable
    type: str
    file: str
    line: int


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
        memory: the largest resident size of the process so far, in bytes, Python and PyTorch included.
        unsaved: after the first epoch.
        reports: of each epoch, what each rank reported, by rank; empty where one process trains a trial.
        failure: None if all epochs were trained.
        refused: why the state to go on from was refused.
        uses_folder: whether a command that was given its folder goes on from it; None if that is not known, or no
            question.
    """

    numbers: list[int] = field(default_factory=list)
    metrics: list[dict[str, float]] = field(default_factory=list)
    states: list[bytes | None] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    memory: int = 0
    unsaved: list[Unsaved] = field(default_factory=list)
    reports: list[Mapping[int, RankReport]] = field(default_factory=list)
    failure: Failure | None = None
    refused: str | None = None
    uses_folder: bool | None = None

    @property
    def measured(self) -> set[str]:
        """The names of all metrics that were reported, by any rank."""
        of_ranks = [report.metrics for reports in self.reports for report in reports.values()]
        return {name for metrics in [*self.metrics, *of_ranks] for name in metrics}


def train(request: Request, timeout: float | None = None) -> Outcome:
    """Train what a request asks for in a process of its own, which is killed when it has answered.

    Args:
        timeout: seconds that it may take; None for any.
    """
    context = multiprocessing.get_context("forkserver")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(request, sender), name="caviar check")
    with no_signals(), no_main_module():
        process.start()
    sender.close()
    try:
        if not receiver.poll(timeout):
            return Outcome(failure=Failure(f"it did not end within {timeout:g} s"))
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
        receiver.close()


def _work(request: Request, answer: Connection) -> None:
    with suppress(OSError):
        os.setpgid(0, 0)  # a Ctrl-C of the terminal is for the command
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT, signal.SIGTERM])
    with importing_project(), redirect_stdout(sys.stderr):
        outcome = _test(request) if request.tests else _train(request)
    answer.send(outcome)
    answer.close()
    signal.pause()


def _test(request: Request) -> Outcome:
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
        with training_code():
            measured = measure_trial(from_body(request.body), 0, request.values, bench, state)
    except TrainingRaised as raised:
        described = describe(raised.error)
        return Outcome(failure=Failure(described["error"], described["place"], described["traceback"]))
    return Outcome(metrics=[measured])


def _train(request: Request) -> Outcome:
    import torch

    from caviar.models.checkpoint import to_bytes
    from caviar.models.data import load
    from caviar.models.training import never
    from caviar.studies.check.unsaved import find_unsaved
    from caviar.studies.definition import from_body
    from caviar.studies.way import Way
    from caviar.studies.workers.trial.build import THREADS, Bench
    from caviar.studies.workers.trial.failures import TrainingRaised, describe, training_code
    from caviar.studies.workers.trial.resumption import LoadedCheckpoint, resume
    from caviar.studies.workers.user.command import CommandTraining
    from caviar.studies.workers.user.group import GroupTraining
    from caviar.studies.workers.user.rank_starter import RankStarter

    torch.set_num_threads(THREADS)
    study, outcome, refused = from_body(request.body), Outcome(), None
    uses_folder: bool | None = None
    failure: Failure | None = None
    try:
        with RankStarter("fork") if study.gpus else nullcontext() as starter, training_code():
            bench = Bench(torch.device(request.device), starter=starter)
            if study.way is Way.MODEL:
                bench = Bench(bench.device, load(study.built_in.data, Path(request.data_dir), bench.device))
            training, refused = resume(study, 0, request.values, bench, LoadedCheckpoint(request.state))
            command = training if isinstance(training, CommandTraining) and request.state is not None else None
            for epoch in training.epochs(study.last_epoch, never):
                state = training.state()
                outcome.numbers.append(epoch.epoch)
                outcome.metrics.append(dict(epoch.metrics))
                outcome.states.append(None if state is None else to_bytes(state))
                outcome.seconds.append(epoch.seconds)
                if isinstance(training, GroupTraining):
                    outcome.reports.append(training.reports)
                if len(outcome.numbers) == 1:
                    outcome.unsaved.extend(find_unsaved(training))
                uses_folder = command.uses_folder if command else None
                if len(outcome.numbers) >= request.epochs and (command is None or uses_folder is not None):
                    break
    except TrainingRaised as raised:
        described = describe(raised.error)
        failure = Failure(described["error"], described["place"], described["traceback"])
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    if request.device.startswith("cuda"):
        memory = torch.cuda.max_memory_allocated(request.device)
    return Outcome(
        outcome.numbers, outcome.metrics, outcome.states, outcome.seconds, memory, outcome.unsaved, outcome.reports,
        failure, refused, uses_folder,
    )  # fmt: skip
