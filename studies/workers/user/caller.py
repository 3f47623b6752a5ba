"""The turns of a program that leases trials itself: the worker runs in a flow of its own, beside the program's loop."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import FrameType
from typing import TYPE_CHECKING, Any

from greenlet import getcurrent, greenlet

from caviar.epoch import Epoch
from caviar.studies.workers.trial.training import Ended
from caviar.studies.workers.user.loop import Loop
from caviar.studies.workers.user.trial import Trial
from caviar.studies.workers.user.turns import Pause

if TYPE_CHECKING:
    from caviar.studies.workers.user.ranks import Ranks


class Caller:
    """A program that takes one trial after the other from a worker.

    Args:
        work: the worker's whole work, which makes the turns of each trial by `turns`.
        ranks: the processes of the program, of which this is the first; None if it is the only one.
    """

    def __init__(self, work: Callable[[Caller], None], ranks: Ranks | None = None) -> None:
        self.ranks = ranks
        self._program = getcurrent()
        self._worker = greenlet(lambda: work(self))

    def trials(self, stop: Callable[[], None]) -> Iterator[Trial]:
        """Yield each trial that the worker leases, until it has come to its end.

        Args:
            stop: called when the program leaves its loop before: the worker is to stop.
        """
        given = self._worker.switch()
        try:
            while given is not None:
                trial, loop = given
                yield trial
                given = self._hand_back(loop)
        finally:
            if not self._worker.dead:
                stop()
                self._worker.switch(Pause.LEFT if loop.ended is None else Pause.RETURNED)

    def _hand_back(self, loop: Loop) -> Any:
        """Say where the body of the program's loop has ended; return the next trial with its loop, or None."""
        if loop.is_left:
            return self._worker.switch(Pause.LEFT)
        last = loop.leave_loop()
        if last is not None:  # the program has left its loop by itself: whether it goes on is of no interest
            self._worker.switch(last)
        return self._worker.switch(Pause.RETURNED)

    def turns(self) -> CallerTurns:
        """Return the turns of the next trial."""
        return CallerTurns(self._program, self._worker)


class CallerTurns:
    """The turns of one trial, in the body of the program's loop."""

    def __init__(self, program: greenlet, worker: greenlet) -> None:
        self._program, self._worker = program, worker
        self.is_over = False
        self.frame: FrameType | None = None

    def begin(self, trial: Trial, loop: Loop) -> Epoch | Pause:
        """Give the program a trial, until it asks for the first epoch."""
        loop.unwinds = False  # an exception would end the program
        return self._to_program((trial, loop))

    def to_user(self, ended: Ended | None = None) -> Epoch | Pause:
        """Let the program go on until it gives the turn back."""
        return self._to_program(ended)

    def to_worker(self, epoch: Epoch | None) -> Ended | None:
        """Give the turn back, from within the program, until the worker lets it go on."""
        ended: Ended | None = self._worker.switch(epoch)
        return ended

    def _to_program(self, message: Any) -> Epoch | Pause:
        answer = self._program.switch(message)
        self.is_over = answer in (Pause.RETURNED, Pause.LEFT)
        return Pause.READY if answer is None else answer
