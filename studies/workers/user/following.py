"""A program of several processes that leases trials itself, as torchrun or srun starts one: the others follow rank 0.

Rank 0 has the worker, with the lease and the database. It tells the others of each trial, and of each answer of the
worker; what goes wrong in one process is for whoever started them to notice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from typing import Any

import torch

from caviar.epoch import Epoch
from caviar.models.checkpoint import from_bytes, to_bytes
from caviar.studies.space.base import Value
from caviar.studies.workers.trial.training import Ended
from caviar.studies.workers.user.loop import Loop
from caviar.studies.workers.user.loop_training import LoopTraining
from caviar.studies.workers.user.ranks import GO_ON, OVER, SAVE, Follower, Ranks, end
from caviar.studies.workers.user.seeds import seed_all
from caviar.studies.workers.user.trial import Trial
from caviar.studies.workers.user.turns import Pause, Turns


class LeadingTraining(LoopTraining):
    """The training of a trial by rank 0, which the other ranks follow.

    An epoch is not left in its middle: the others are somewhere else in it.

    Args:
        ranks: all of them.
        values: the trial's hyperparameters.
    """

    def __init__(
        self, ranks: Ranks, turns: Turns, number: int, values: Mapping[str, Value], device: torch.device,
        seed: tuple[int | str, ...], last: int, state: Mapping[str, Any] | None = None,
    ) -> None:  # fmt: skip
        self._ranks = ranks
        self._leading = _LeadingTurns(ranks, turns)
        trial = {"number": number, "values": dict(values), "seed": seed, "last": last}
        ranks.tell({"do": "begin", "trial": trial, "goes_on": state is not None})
        if state is not None:
            ranks.tell_bytes(to_bytes(dict(state)))
        make = partial(Trial, number, values, device, rank=ranks.rank, world_size=ranks.size)
        super().__init__(self._leading, make, seed, last, state)

    def epochs(self, last: int, leave: Callable[[], bool]) -> Iterator[Epoch]:
        """Train one epoch after the other, and yield the result of each; as `TrialTraining` says."""

        def beat() -> bool:
            leave()
            return False

        return super().epochs(last, beat)

    def state(self) -> dict[str, Any] | None:
        """Return the states of what the trial keeps, whole where they are divided; None if it keeps nothing."""
        self._ranks.tell(SAVE)
        return super().state()

    def close(self, ended: Ended) -> None:
        """Let the code of all ranks leave its loop, and run to its end."""
        super().close(ended)
        if not self._leading.has_ended:  # the code has left its loop by itself, or an error has
            with suppress(RuntimeError):  # the others have come to their end
                self._ranks.tell(end(ended))


class _LeadingTurns:
    """The turns of a program of which this process is rank 0."""

    def __init__(self, ranks: Ranks, turns: Turns) -> None:
        self._ranks, self._turns = ranks, turns
        self.has_ended = False  # whether the others know that the trial goes on no more

    @property
    def is_over(self) -> bool:
        return self._turns.is_over

    @property
    def frame(self) -> Any:
        return self._turns.frame

    def begin(self, trial: Trial, loop: Loop) -> Epoch | Pause:
        return self._turns.begin(trial, loop)

    def to_user(self, ended: Ended | None = None) -> Epoch | Pause:
        return self._turns.to_user(ended)

    def to_worker(self, epoch: Epoch | None) -> Ended | None:
        ended = self._turns.to_worker(epoch)
        self.has_ended = ended is not None
        self._ranks.tell(GO_ON if ended is None else end(ended))
        return ended


def follow(ranks: Ranks, device: torch.device) -> Iterator[Trial]:
    """Yield the trials that rank 0 has leased, in another rank."""
    while (message := ranks.hear()) != OVER:
        given = message["trial"]
        state = from_bytes(ranks.hear_bytes(), torch.device("cpu")) if message["goes_on"] else None
        follower = Follower(ranks, lambda: loop.state())  # noqa: B023 - used before the next one is made
        seed = tuple(given["seed"])
        loop = Loop(seed, given["last"], state, follower.turn, ranks.rank, may_be_silent=True)
        seed_all(*seed, "build")
        yield Trial(given["number"], given["values"], device, loop, ranks.rank, ranks.size)
        if loop.ended is None:
            follower.finish()
        if follower.is_over:
            return
