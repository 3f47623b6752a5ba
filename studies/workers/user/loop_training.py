"""Train a trial by the user's own loop over its epochs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from types import FrameType
from typing import Any

from caviar.epoch import Epoch
from caviar.models.training import Interrupted
from caviar.studies.errors import TrialMisused
from caviar.studies.workers.trial.training import Ended
from caviar.studies.workers.user.loop import Loop
from caviar.studies.workers.user.seeds import seed_all
from caviar.studies.workers.user.trial import Trial
from caviar.studies.workers.user.turns import Pause, Turns


class LoopTraining:
    """The training of a trial by code of the user's own, which takes turns with the worker.

    The code begins at once, and runs until it asks for its first epoch: by then everything is built, and restored if
    the trial goes on.

    Args:
        turns: between the user's code and this one.
        make_trial: makes the trial from its loop.
        seed: what the trial's random numbers depend on.
        last: the number of the last epoch.
        state: the `state()` of an earlier process; None for a trial that begins.

    Raises:
        BadCheckpoint: `state` does not fit what the code gives to `trial.keep`.
        Interrupted: the code was left before its first epoch.
        TrialMisused: the code came to its end without an epoch. Whatever it raises is raised, too.
    """

    def __init__(
        self,
        turns: Turns,
        make_trial: Callable[[Loop], Trial],
        seed: tuple[int | str, ...],
        last: int,
        state: Mapping[str, Any] | None = None,
    ) -> None:
        self._turns = turns
        self._loop = Loop(seed, last, state, turns.to_worker)
        self.trial = make_trial(self._loop)
        seed_all(*seed, "build")
        pause = turns.begin(self.trial, self._loop)
        if pause is Pause.LEFT:
            raise Interrupted
        if pause is not Pause.READY:
            raise TrialMisused("the training ended before its first epoch; loop over trial.epochs() in it")

    @property
    def epoch(self) -> int:
        """The last epoch that was trained; 0 before the first."""
        return self._loop.epoch

    @property
    def refused(self) -> str | None:
        """Why the state was refused, where the code could not be run again without it; None if it was not."""
        return self._loop.parts.refused

    @property
    def parts(self) -> Mapping[str, Any]:
        """What the trial keeps, by name."""
        return self._loop.parts.objects

    @property
    def frame(self) -> FrameType | None:
        """Where the user's code stands, while it is the worker's turn; None if it is not known."""
        return self._turns.frame

    def epochs(self, last: int, leave: Callable[[], bool]) -> Iterator[Epoch]:
        """Train one epoch after the other, and yield the result of each; as `TrialTraining` says."""
        self._loop.leave = leave
        while self.epoch < last and not self._turns.is_over:
            message = self._turns.to_user()
            if message is Pause.LEFT:
                raise Interrupted
            if not isinstance(message, Epoch):
                return
            yield message

    def state(self) -> dict[str, Any] | None:
        """Return the states of what the trial keeps; None if it keeps nothing."""
        return self._loop.state()

    def close(self, ended: Ended) -> None:
        """Let the code leave its loop, and run to its end."""
        while not self._turns.is_over:
            self._turns.to_user(ended)
