"""Train a trial by a command, a program in any language, which reports its epochs by lines of text."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from signal import Signals
from typing import Any, NamedTuple

from caviar.epoch import Epoch, check_metrics
from caviar.foreign_code import reason_of
from caviar.models.errors import BadCheckpoint
from caviar.models.training import Interrupted
from caviar.storage.processes import signal_name
from caviar.studies.errors import CommandFailed
from caviar.studies.metric import of_missing
from caviar.studies.space.base import Value
from caviar.studies.workers.trial.training import Ended, Leave
from caviar.studies.workers.user.attempt import Attempt
from caviar.studies.workers.user.environment import environment, own_device
from caviar.studies.workers.user.epoch_stream import EpochStream
from caviar.studies.workers.user.folder import pack, unpack
from caviar.studies.workers.user.process_group import GRACE, ProcessGroup, Source
from caviar.studies.workers.user.program import Program
from caviar.studies.workers.user.reports import RanAhead
from caviar.studies.workers.user.tail import Tail
from caviar.text import quoted, shown

_WAIT_SECONDS = 0.2  # for output, between two questions whether to leave
_END_SECONDS = 60.0  # without output that a command may take to its end after the last epoch, such as for a test
_READINGS = 100  # of what has been reported by now, before the folder is saved; a command may write all the time
_QUOTED_LINES, _QUOTED_LINE = 20, 500  # of the output in the trial's failure, and characters of its last line


class Given(NamedTuple):
    """What the placeholders of a trial stand for that are no hyperparameters, but for its files and its epochs."""

    number: int  # of the trial
    seed: int  # of the trial
    devices: tuple[str, ...] = ("cpu",)  # such as cuda:1, as this process calls them


class CommandTraining:
    """The training of a trial by a command, which is started with the first epoch that is asked for.

    Args:
        values: the trial's hyperparameters.
        given: what else the command is given.
        is_stopping: returns whether this process was asked to stop: then a command that ends was asked, too.
        write: takes what the command prints.
        state: the `state()` of an earlier process; None for a trial that begins.

    Raises:
        BadCheckpoint: `state` is none of such a training.
        OSError: nothing can be written at the program's `place`.
    """

    def __init__(
        self,
        program: Program,
        values: Mapping[str, Value],
        given: Given,
        *,
        is_stopping: Callable[[], bool] = lambda: False,
        write: Callable[[bytes], None] = lambda data: None,  # noqa: ARG005
        grace: float = GRACE,
        state: Mapping[str, Any] | None = None,
    ) -> None:
        self._program, self._values, self._given, self._grace = program, values, given, grace
        self._is_stopping, self._write = is_stopping, write
        self.epoch = 0
        self._folder_epoch = 0  # that the folder goes on from
        self._was_ahead = False  # whether the folder was of a later epoch than the reports
        self._group: ProcessGroup | None = None
        self._heard_at = 0.0
        self._is_closed = False
        self._tail = Tail()
        self._attempt = Attempt(program.place, f"{program.name}-{given.number}")
        try:
            self._stream = self._new_stream() if state is None else self._restore(state)
        except BaseException:
            self.close(Ended.LOST)
            raise

    def _new_stream(self, waiting: Iterable[Epoch] = (), first: int | None = None) -> EpochStream:
        program = self._program
        return EpochStream(
            program.metric, program.expression, waiting, self.epoch, first, goes_on=self._folder_epoch > 0
        )

    def _restore(self, state: Mapping[str, Any]) -> EpochStream:
        try:
            self.epoch = int(state["epoch"])
            waiting = list(_waiting(state["waiting"], self.epoch + 1))
            self._folder_epoch = waiting[-1].epoch if waiting else self.epoch
            stream = self._new_stream(waiting, int(state["first"]))
            stream.measured |= {self._program.metric} if state["has_metric"] else set()
            files = state["files"]
        except (KeyError, TypeError, ValueError) as error:
            raise BadCheckpoint(f"the checkpoint is none of a command: {reason_of(error)}") from error
        unpack(files, self._attempt.folder)
        return stream

    @property
    def uses_folder(self) -> bool | None:
        """Whether the command, given the folder of an earlier process, goes on from it: begins behind epoch 1.

        None if it was given none, or has reported no epoch yet.
        """
        if self._was_ahead:
            return True
        began_at = self._stream.began_at
        return None if self._folder_epoch == 0 or began_at is None else began_at > 1

    def epochs(self, last: int, leave: Leave) -> Iterator[Epoch]:
        """Wait for one epoch after the other, and yield the result of each; as `TrialTraining` says.

        Raises:
            CommandFailed: the command cannot be run, ended with an error or without the metric, or reported what cannot
                be.
        """
        try:
            while self.epoch < last and (epoch := self._next(last, leave)):
                self.epoch = epoch.epoch
                yield epoch
        except (CommandFailed, Interrupted):
            self.close(Ended.LOST)
            raise

    def _next(self, last: int, leave: Leave) -> Epoch | None:
        """Return the next epoch; None if the command came to its end without another one."""
        stream = self._stream
        if not stream.waiting:
            self._let_go_on()
        while not stream.waiting:
            if stream.error is not None:
                raise stream.error
            if self._group is None:
                self._group = self._start(last)
            if not self._group.is_over:
                self._hear(self._group, leave)
                stream = self._stream
            elif not stream.finish():
                self._check_end(self._group)
                return None
        epoch = stream.waiting.popleft()
        if epoch.epoch >= last and self._group is not None:
            self._await_end(self._group, leave)
        return epoch

    def _start(self, last: int) -> ProcessGroup:
        attempt, epoch = self._attempt, self._folder_epoch
        given: dict[str, Value] = {
            "number": self._given.number,
            "seed": self._given.seed,
            "device": own_device(self._given.devices[0]),
            "gpus": len(self._given.devices),
            "epochs": last,
            "epoch": epoch,
            "folder": str(attempt.folder),
        }
        attempt.describe({**given, "values": dict(self._values)})
        variables = {
            "CAVIAR_TRIAL": attempt.trial, "CAVIAR_REPORT": attempt.reports, "CAVIAR_FOLDER": attempt.folder,
            "CAVIAR_EPOCH": epoch,
        }  # fmt: skip
        self._heard_at = time.monotonic()
        return ProcessGroup(
            self._program.line.fill_in(self._values, {**given, "trial": str(attempt.trial)}),
            environment(self._given.devices, variables), self._program.working_folder, attempt.reports, self._grace,
        )  # fmt: skip

    def _hear(self, group: ProcessGroup, leave: Leave) -> None:
        """Wait a moment for what the command writes.

        Raises:
            Interrupted: the epoch is to be left.
        """
        is_heard = self._take(group, _WAIT_SECONDS)
        if is_heard:
            self._heard_at = time.monotonic()
        if leave(alive=is_heard):
            raise Interrupted

    def _take(self, group: ProcessGroup, seconds: float) -> bool:
        """Take what the command has written; wait for it at most so many seconds, and return whether it came."""
        received = group.receive(seconds)
        for source, data in received:
            if source is Source.OUTPUT:
                self._write(data)
                self._tail.add(data)
            try:
                self._stream.take(source, data)
            except RanAhead:
                self._begin_again(group)
                break
        self._attempt.answer(self._stream.answers)
        self._stream.answers = 0
        return bool(received)

    def _begin_again(self, group: ProcessGroup) -> None:
        """Have the command started with an empty folder: its own goes on behind an epoch that was never reported."""
        group.end()
        self._group, self._folder_epoch, self._was_ahead = None, 0, True
        self._attempt.empty()
        measured = self._stream.measured
        self._stream = self._new_stream(self._stream.waiting)
        self._stream.measured = measured

    def _let_go_on(self) -> None:
        """Answer the reports of the epochs that were taken."""
        self._attempt.answer(self._stream.unanswered)
        self._stream.unanswered = 0

    def _await_end(self, group: ProcessGroup, leave: Leave) -> None:
        """Let the command come to its end after the last epoch; one that trains on is ended later."""
        self._let_go_on()
        stream = self._stream
        with suppress(Interrupted):  # the epoch is there
            while not group.is_over and not stream.waiting and time.monotonic() < self._heard_at + _END_SECONDS:
                self._hear(group, leave)
        if group.is_over and group.exit:
            self._check_end(group)

    def _check_end(self, group: ProcessGroup) -> None:
        """Raise why the end of the command is no good end, if it is none."""
        if group.exit and self._is_stopping():
            raise Interrupted  # whoever ended this process ended all of its group, say
        if group.exit:
            raise self._failure(_how(group.exit))
        metric, measured = self._program.metric, self._stream.measured
        if metric not in measured:
            said = of_missing([metric], measured, "it reported")
            if not measured and self._program.expression is not None:
                said = f"{metric}; no line of its output matches the expression of report="
            raise self._failure(f"ended without reporting {said}", missing=metric)

    def _failure(self, what: str, missing: str | None = None) -> CommandFailed:
        lines = self._tail.last_lines(_QUOTED_LINES)
        last = f"its last line: {shown(lines[-1].strip(), _QUOTED_LINE)}" if lines else "it printed nothing"
        message = "\n  ".join([f"the command {what}; {last}", *lines])
        return CommandFailed(message, re.sub(r"\d+", "#", last), missing)  # a mistake may print this trial's batch size

    def state(self) -> dict[str, Any] | None:
        """Return the folder, with what was reported until now; None if it is empty, or reports are counted.

        Raises:
            CheckpointNotWritten: there is something else than files in the folder, or too much of them.
        """
        group = self._group
        for _ in range(_READINGS if group else 0):  # the folder may be of a later epoch than the last one taken
            if self._group is None or not self._take(self._group, 0):
                break
        stream = self._stream
        if stream.first is None or self._group is not group:
            return None
        files = pack(self._attempt.folder)
        waiting = [[epoch.epoch, dict(epoch.metrics), epoch.seconds] for epoch in stream.waiting]
        has_metric = self._program.metric in stream.measured
        known = {"epoch": self.epoch, "first": stream.first, "has_metric": has_metric, "waiting": waiting}
        return {**known, "files": files} if files else None

    def close(self, ended: Ended) -> None:  # noqa: ARG002 - a command is ended in one way
        """End the command, if it runs, and remove its files."""
        if self._is_closed:
            return
        self._is_closed = True
        if self._group is not None:
            self._group.end()
        self._attempt.remove()


def _waiting(given: Iterable[Any], number: int) -> Iterator[Epoch]:
    """Return the epochs of a state that were not taken yet, which follow one another from `number` on.

    Raises:
        TypeError, ValueError: they are none.
    """
    for expected, (epoch, metrics, seconds) in enumerate(given, number):
        if type(epoch) is not int or epoch != expected:
            raise ValueError(f"epoch {expected} is called {quoted(epoch)}")
        if not (isinstance(seconds, float) and 0 <= seconds < math.inf):
            raise ValueError(f"epoch {epoch} took {quoted(seconds)} seconds")
        yield Epoch(epoch, check_metrics(dict(metrics)), seconds)


def _how(code: int) -> str:
    """Return how a command ended, as the end of a sentence."""
    if code > 0:
        return f"ended with exit code {code}"
    return f"was ended by signal {signal_name(-code)}{', as where memory is short' if code == -Signals.SIGKILL else ''}"
