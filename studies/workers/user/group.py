"""Train a trial by the user's own loop in several processes, its ranks, each with a device of its own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeVar

import torch

from caviar.epoch import Epoch
from caviar.models.checkpoint import from_bytes
from caviar.models.training import Interrupted, never
from caviar.studies.errors import TrialMisused
from caviar.studies.workers.trial.training import Ended, Leave
from caviar.studies.workers.user.channel import Message
from caviar.studies.workers.user.rank_failures import left_alone
from caviar.studies.workers.user.rank_group import RankGroup
from caviar.studies.workers.user.rank_reports import RankReport, nothing_reported
from caviar.studies.workers.user.rank_starter import RankStarter
from caviar.studies.workers.user.ranks import GO_ON, SAVE

_Error = TypeVar("_Error", bound=Exception)
_WAIT_SECONDS = 0.2  # for a message, between two questions whether to leave
_END_SECONDS = 60.0  # without a batch that the code behind the loop over the epochs may take


class GroupTraining:
    """The training of a trial by a group of ranks, of which the first one says what comes out.

    The ranks begin at once, and run until all of them ask for their first epoch. They are killed when one of them
    fails, when one leaves its loop and others do not, when an epoch is to be left in its middle, and when they do not
    come to their end.

    Args:
        starter: starts the ranks; it has no other group meanwhile.
        devices: one for each rank, such as cpu or cuda:2.
        state: the `state()` of an earlier process; None for a trial that begins.
        leave: asks whether the ranks are to be left before their first epoch, while they build; as `epochs` asks.
        job: the other fields of the ranks' `Job`.

    Attributes:
        reports: what each rank reported in the last epoch, by rank.

    Raises:
        BadCheckpoint: `state` does not fit what the code gives to `trial.keep`.
        Interrupted: `leave` returned True.
        RankRaised: the code raised an error.
        RanksDied: a rank was killed, or crashed.
        TrialMisused: the code came to its end without an epoch.
    """

    def __init__(
        self,
        starter: RankStarter,
        devices: Sequence[str],
        state: Mapping[str, Any] | None = None,
        leave: Leave = never,
        **job: Any,
    ) -> None:
        self.epoch: int = state["epoch"] if state else 0
        self.reports: dict[int, RankReport] = {}
        self._last, self._has_returned = job["last"], False
        self._group = RankGroup(starter, devices, state, **job)
        self._wait_for_all(leave)
        if self._has_returned:
            raise self._killed(
                TrialMisused("the training ended before its first epoch; loop over trial.epochs() in it")
            )

    def epochs(self, last: int, leave: Leave) -> Iterator[Epoch]:
        """Train one epoch after the other, and yield the result of each; as `TrialTraining` says."""
        while self.epoch < last and not self._has_returned:
            self._group.send(GO_ON)
            said = self._wait_for_all(leave)
            if "epoch" not in said[0]:  # the code came to its end by itself
                return
            number, metrics, seconds, is_last = said[0]["epoch"]
            self.reports = {r: RankReport(m["epoch"][1], m["places"]) for r, m in said.items() if "epoch" in m}
            if not metrics:
                raise self._killed(nothing_reported(number, self.reports))
            self.epoch = number
            yield Epoch(number, metrics, seconds, is_last)

    def _wait_for_all(self, leave: Leave) -> dict[int, Message]:
        """Wait until each rank is ready, has trained an epoch, or has left its loop; return what it said, by rank."""
        said: dict[int, Message] = {}
        while len(said) < self._group.size:
            message = self._next(_WAIT_SECONDS)
            if message is not None and "beat" not in message[1]:
                said[message[0]] = message[1]
            if (rank := self._leaver(said)) is not None:
                raise self._killed(left_alone(rank))
            if leave(alive=message is not None):  # it is of a batch; code without `trial.batches` sends none
                raise self._killed(Interrupted())
        self._has_returned = "left" in said[0]
        return said

    def _leaver(self, said: Mapping[int, Message]) -> int | None:
        """Return the rank that has left its loop while another goes on, or waits for what it will not do any more."""
        left = sorted(rank for rank, message in said.items() if "left" in message)
        on = [message for message in said.values() if "left" not in message]
        goes_on = any("ready" in message or message["epoch"][0] < self._last for message in on)
        begun = max((calls for rank, calls in self._group.collectives.items() if rank not in said), default=0)
        return next((rank for rank in left if goes_on or said[rank]["collectives"] < begun), None)

    def _killed(self, error: _Error) -> _Error:
        """Kill the ranks for an error that is to be raised."""
        self._group.kill()
        return error

    def _next(self, seconds: float | None = None) -> tuple[int, Message] | None:
        """Return the next message with its rank; None after so many seconds without any."""
        message = self._group.next(seconds)
        if message is None and self._group.is_over:
            raise TrialMisused("the ranks came to their end in the middle of the training")
        return message

    def state(self) -> dict[str, Any] | None:
        """Return the states of what rank 0 keeps, whole where they are divided; None if it keeps nothing."""
        self._group.send(SAVE)
        saved: bool | None = None
        while saved is None:  # of the ranks come signs of life, too
            message = self._next()
            saved = message[1].get("saved") if message else None
        if not saved:
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
        group.end(ended)
        try:
            while group.next(_END_SECONDS) is not None:
                pass
            if not group.is_over:
                raise TrialMisused(f"the ranks did not come to their end: no batch for {_END_SECONDS:.0f} s")
        finally:
            group.kill()
