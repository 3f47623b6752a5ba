"""Train a trial by the user's own loop in several processes, its ranks, each with a device of its own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch

from caviar.epoch import Epoch
from caviar.models.checkpoint import from_bytes
from caviar.models.training import Interrupted
from caviar.studies.errors import TrialMisused
from caviar.studies.workers.trial.training import Ended, Leave
from caviar.studies.workers.user.channel import Message
from caviar.studies.workers.user.rank_group import RankGroup
from caviar.studies.workers.user.rank_starter import RankStarter
from caviar.studies.workers.user.ranks import GO_ON, SAVE, end

_WAIT_SECONDS = 0.2  # for a message, between two questions whether to leave
_END_SECONDS = 60.0  # without a batch that the code behind the loop over the epochs may take


class GroupTraining:
    """The training of a trial by a group of ranks, of which the first one says what comes out.

    The ranks begin at once, and run until the first one asks for its first epoch. They are killed when one of them
    fails, when an epoch is to be left in its middle, and when they do not come to their end.

    Args:
        starter: starts the ranks; it has no other group meanwhile.
        devices: one for each rank, such as cpu or cuda:2.
        state: the `state()` of an earlier process; None for a trial that begins.
        job: the other fields of the ranks' `Job`.

    Raises:
        BadCheckpoint: `state` does not fit what the code gives to `trial.keep`.
        RankRaised: the code raised an error.
        RanksDied: a rank was killed, or crashed.
        TrialMisused: the code came to its end without an epoch.
    """

    def __init__(
        self,
        starter: RankStarter,
        devices: Sequence[str],
        state: Mapping[str, Any] | None = None,
        **job: Any,
    ) -> None:
        self.epoch: int = state["epoch"] if state else 0
        self._has_returned = False
        self._group = RankGroup(starter, devices, state, **job)
        while "ready" not in (message := self._next()):
            if "returned" in message:
                self._group.kill()
                raise TrialMisused("the training ended before its first epoch; loop over trial.epochs() in it")

    def _next(self, seconds: float | None = None) -> Message:
        """Return the next message of a rank; an empty one after so many seconds without any."""
        message = self._group.next(seconds)
        if message is None and self._group.is_over:
            raise TrialMisused("the ranks came to their end in the middle of the training")
        return message or {}

    def epochs(self, last: int, leave: Leave) -> Iterator[Epoch]:
        """Train one epoch after the other, and yield the result of each; as `TrialTraining` says."""
        while self.epoch < last and not self._has_returned:
            self._group.send(GO_ON)
            epoch = self._train_epoch(leave)
            if epoch is None:
                return
            self.epoch = epoch.epoch
            yield epoch

    def _train_epoch(self, leave: Leave) -> Epoch | None:
        """Wait for the result of an epoch; return None if the code came to its end by itself."""
        while True:
            message = self._next(_WAIT_SECONDS)
            if "epoch" in message:
                number, metrics, seconds = message["epoch"]
                return Epoch(number, metrics, seconds)
            if "returned" in message:
                self._has_returned = True
                return None
            if leave(alive=bool(message)):  # a message is of a batch; code without `trial.batches` sends none
                self._group.kill()
                raise Interrupted

    def state(self) -> dict[str, Any] | None:
        """Return the states of what rank 0 keeps, whole where they are divided; None if it keeps nothing."""
        self._group.send(SAVE)
        while "saved" not in (message := self._next()):
            pass  # a sign of life
        if not message["saved"]:
            return None
        path = self._group.job.saved_state
        state = from_bytes(path.read_bytes(), torch.device("cpu"))
        path.unlink()
        return state

    def close(self, ended: Ended) -> None:
        """Let the ranks leave their loop and run to their end; kill those that do not.

        Raises:
            RankRaised, RanksDied: a rank failed.
            TrialMisused: there was no sign of life for a minute.
        """
        group = self._group
        if group.is_over:
            return
        group.send(end(ended))
        try:
            while group.next(_END_SECONDS) is not None:
                pass
            if not group.is_over:
                raise TrialMisused(f"the ranks did not come to their end: no batch for {_END_SECONDS:.0f} s")
        finally:
            group.kill()
