"""One rank: a process that trains a trial together with others, and speaks with the worker that started it.

Each rank tells the worker of each epoch. Rank 0 waits for its answer, and passes that on to the others, so that all of
them do the same. No rank knows the database.
"""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from caviar.epoch import Epoch
from caviar.foreign_code import no_exit
from caviar.models.checkpoint import from_bytes, to_bytes
from caviar.models.errors import BadCheckpoint
from caviar.studies.errors import TrialMisused
from caviar.studies.lifecycle.loader import importing_project
from caviar.studies.space.base import Value
from caviar.studies.workers.trial.failures import describe
from caviar.studies.workers.trial.training import Ended
from caviar.studies.workers.user.channel import Channel, Message
from caviar.studies.workers.user.loop import Loop
from caviar.studies.workers.user.ranks import GO_ON, SAVE, Follower, Ranks, backend
from caviar.studies.workers.user.seeds import seed_all
from caviar.studies.workers.user.trial import Trial
from caviar.user_code import NotThere, load_object

# Of errors that the worker knows what to do with.
KINDS = {"checkpoint": BadCheckpoint, "memory": torch.OutOfMemoryError}
_BEAT_SECONDS = 0.2  # between two signs of life
_LOOK_SECONDS = 0.5  # between two looks whether another collective was begun
_LONGEST_TRACEBACK = 16_000  # characters; the last ones say where it happened


@dataclass(frozen=True)
class Job:
    """What the ranks of a group are to train; it is written to a file in their folder.

    Args:
        function: path of the training function.
        seed: what the trial's random numbers depend on.
        last: number of the last epoch.
        devices: one for each rank, as this machine numbers them, such as cpu or cuda:2.
        port: where the ranks find one another, on this machine.
        folder: for files between the worker and the ranks.
        goes_on: whether the state of an earlier group is in the folder.
    """

    function: str
    number: int
    values: Mapping[str, Value]
    seed: tuple[int | str, ...]
    last: int
    devices: tuple[str, ...]
    threads: int
    port: int
    folder: str
    goes_on: bool

    @property
    def given_state(self) -> Path:
        """The file of the state that the trial goes on from."""
        return Path(self.folder, "given.pt")

    @property
    def saved_state(self) -> Path:
        """The file in which rank 0 leaves a state."""
        return Path(self.folder, "saved.pt")

    def stack(self, rank: int) -> Path:
        """Return the file for the stacks of a rank that crashes."""
        return Path(self.folder, f"stack-{rank}")

    def write(self) -> Path:
        """Write the job to its folder, and return the file."""
        path = Path(self.folder, "job.json")
        path.write_text(json.dumps(asdict(self)), encoding="utf-8")
        return path


def read_job(path: str) -> Job:
    """Read what `Job.write` has written."""
    fields = json.loads(Path(path).read_text(encoding="utf-8"))
    return Job(**{**fields, "seed": tuple(fields["seed"]), "devices": tuple(fields["devices"])})


def train(job: Job, rank: int, end_of_rank: socket.socket) -> None:
    """Train a trial as one of its ranks, to its end; the worker is told why if that is not possible.

    Raises:
        SystemExit: it was not possible.
    """
    worker = Channel(end_of_rank)
    try:
        with no_exit(), importing_project():  # a module that runs a study would start workers in this one
            _train(job, rank, worker)
    except Exception as error:  # noqa: BLE001 - training code may raise anything
        worker.send({"failed": _report_of(error)})
        raise SystemExit(1) from None
    with suppress(Exception):
        dist.destroy_process_group()


def _train(job: Job, rank: int, worker: Channel) -> None:
    is_on_gpu = job.devices[rank] != "cpu"
    device = torch.device("cuda", rank) if is_on_gpu else torch.device("cpu")  # only the group's GPUs are visible
    torch.set_num_threads(job.threads)
    if is_on_gpu:
        torch.cuda.set_device(device)
    dist.init_process_group(backend(device), device_id=device if is_on_gpu else None)
    ranks = Ranks(device)

    def save() -> dict[str, Any] | None:
        return loop.state()

    turns = Follower(ranks, save) if rank else _Leader(ranks, worker, save, job.saved_state)
    state = from_bytes(job.given_state.read_bytes(), torch.device("cpu")) if job.goes_on else None
    loop = Loop(job.seed, job.last, state, lambda epoch: turn(epoch), rank, may_be_silent=True)
    loop.leave = _Beats(worker)

    def turn(epoch: Epoch | None) -> Ended | None:
        worker.send({"ready": True} if epoch is None else _message(epoch, loop))
        return turns.turn()

    trial = Trial(job.number, job.values, device, loop, rank, ranks.size)
    try:
        function = load_object(job.function)
    except NotThere as error:
        raise TrialMisused(f"no function at '{job.function}': {error}") from error
    seed_all(*job.seed, "build")  # the same on all ranks: so is what they build
    with _Waiting(ranks, worker):
        function(trial)
        if loop.ended is None:  # it has left its loop by itself, here or in an earlier process
            last = loop.leave_loop()
            left = {"left": True, "collectives": ranks.collectives}
            worker.send(left if last is None else {**left, **_message(last, loop)})
            turns.finish()


def _message(epoch: Epoch, loop: Loop) -> Message:
    """Return what the worker has to know of an epoch."""
    return {"epoch": [epoch.epoch, dict(epoch.metrics), epoch.seconds, epoch.is_last], "places": loop.places}


class _Leader:
    """The worker's turns of rank 0: it waits for what the worker says, and all ranks do it.

    Args:
        save: puts the state together, which takes all ranks.
        path: for the file of the state.
    """

    def __init__(self, ranks: Ranks, worker: Channel, save: Callable[[], dict[str, Any] | None], path: Path) -> None:
        self._ranks, self._worker, self._save, self._path = ranks, worker, save, path

    def turn(self) -> Ended | None:
        """Wait until the worker lets the training go on, or the trial has ended."""
        while messages := self._worker.receive():  # one at a time: it waits for an answer
            (message,) = messages
            self._ranks.tell(message)
            if message == GO_ON:
                return None
            if message != SAVE:
                return Ended(message["ended"])
            state = self._save()
            if state is not None:
                self._path.write_bytes(to_bytes(state))
            self._worker.send({"saved": state is not None})
        raise EOFError("the worker has ended")

    def finish(self) -> None:
        """Wait until the trial has ended; the training has come to its end by itself."""
        while self.turn() is None:
            pass  # the worker has not read yet that nothing goes on


class _Waiting(threading.Thread):
    """Tells the worker how many collectives this rank has begun, where it begins no further one for a while.

    It may wait for a rank that will never begin that one, since it has left its loop: for half an hour, by default.
    """

    def __init__(self, ranks: Ranks, worker: Channel) -> None:
        super().__init__(name="caviar collectives", daemon=True)
        self._ranks, self._worker, self._is_over = ranks, worker, threading.Event()

    def __enter__(self) -> None:
        self.start()

    def __exit__(self, *exception: object) -> None:
        self._is_over.set()
        self.join()

    def run(self) -> None:
        before = told = 0
        while not self._is_over.wait(_LOOK_SECONDS):
            begun = self._ranks.collectives
            if begun == before != told:
                self._worker.send({"collectives": begun})
                told = begun
            before = begun


class _Beats:
    """Gives signs of life, between two batches; whether to leave is for the worker to say, which ends the process."""

    def __init__(self, worker: Channel) -> None:
        self._worker, self._next = worker, 0.0

    def __call__(self) -> bool:
        now = time.monotonic()
        if now >= self._next:
            self._worker.send({"beat": True})
            self._next = now + _BEAT_SECONDS
        return False


def _report_of(error: Exception) -> Message:
    """Return what the worker has to know of an error that ended this rank."""
    kind = next((kind for kind, of in KINDS.items() if isinstance(error, of)), "code")
    failure = describe(error)
    failure["traceback"] = failure["traceback"][-_LONGEST_TRACEBACK:]
    return {**failure, "kind": kind, "at": time.monotonic(), "is_of_others": _is_of_others(error)}


def _is_of_others(error: BaseException | None) -> bool:
    """Return whether an error says that another rank does not answer, which has an error of its own, or is dead."""
    while error is not None:
        if isinstance(error, dist.DistError) or (isinstance(error, RuntimeError) and "gloo/" in str(error)):
            return True
        error = error.__cause__ or error.__context__
    return False
