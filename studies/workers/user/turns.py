"""The user's code and the worker that drives it: two flows of one thread, of which one runs at a time.

Each keeps its own loop. A thread would do, too; but signals, the device and modes such as `torch.no_grad` are a
thread's own, and the user's code would not have those of the process that it runs in.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from functools import partial
from types import FrameType
from typing import Any, Protocol

from greenlet import getcurrent, greenlet

from caviar.epoch import Epoch
from caviar.studies.workers.trial.training import Ended
from caviar.studies.workers.user.loop import Loop
from caviar.studies.workers.user.padding import padded
from caviar.studies.workers.user.trial import Trial


class Pause(Enum):
    """Where the user's code stands when it is the worker's turn, if it has not just trained an epoch."""

    READY = "ready"  # everything is built and restored: the next epoch can be trained
    RETURNED = "returned"  # it has come to its end
    LEFT = "left"  # it has left an epoch in its middle


class Turns(Protocol):
    """How the worker and the user's code, which trains one trial, take turns."""

    @property
    def is_over(self) -> bool:
        """Whether the user's code has come to its end."""
        ...

    @property
    def frame(self) -> FrameType | None:
        """Where the user's code stands, while it is the worker's turn; None if that is not known."""
        ...

    def begin(self, trial: Trial, loop: Loop) -> Epoch | Pause:
        """Let the user's code begin with a trial, until it gives the turn back; whatever it raises is raised here."""
        ...

    def to_user(self, ended: Ended | None = None) -> Epoch | Pause:
        """Let the user's code go on until it gives the turn back; whatever it raises is raised here."""
        ...

    def to_worker(self, epoch: Epoch | None) -> Ended | None:
        """Give the turn back, in the user's code, until the worker lets it go on."""
        ...


class FunctionTurns:
    """The turns of a function, which is called with each trial."""

    def __init__(self, function: Callable[[Trial], object]) -> None:
        self._function, self._worker = function, getcurrent()
        self._user = greenlet(self._call)

    @property
    def is_over(self) -> bool:
        """Whether the function has ended."""
        return bool(self._user.dead)

    @property
    def frame(self) -> FrameType | None:
        """Where the function stands, while it is the worker's turn."""
        frame: FrameType | None = self._user.gr_frame
        return frame

    def begin(self, trial: Trial, loop: Loop) -> Epoch | Pause:
        """Call the function, until it asks for its first epoch."""
        return _pause(self._user.switch(trial, loop))

    def to_user(self, ended: Ended | None = None) -> Epoch | Pause:
        """Let the function go on until it gives the turn back; whatever it raises is raised here."""
        return _pause(self._user.switch(ended))

    def to_worker(self, epoch: Epoch | None) -> Ended | None:
        """Give the turn back, from within the function, until the worker lets it go on."""
        ended: Ended | None = self._worker.switch(epoch)
        return ended

    def _call(self, trial: Trial, loop: Loop) -> Pause:
        try:
            padded(partial(self._function, trial))
        except BaseException:
            if loop.is_left:  # whatever the code makes of being left, the epoch was not trained
                return Pause.LEFT
            raise
        if loop.is_left:
            return Pause.LEFT
        last = loop.leave_loop()  # of a loop that the function left by itself
        if last is not None:
            self.to_worker(last)
        return Pause.RETURNED


def _pause(message: Any) -> Epoch | Pause:
    return Pause.READY if message is None else message
