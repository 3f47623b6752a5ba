"""Find out why a group of ranks cannot go on, from what its ranks said and how they ended.

When one rank fails, the others fail soon after: whatever they send to it is not answered. They are not the reason.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import torch

from caviar.models.errors import BadCheckpoint
from caviar.storage.processes import signal_name
from caviar.studies.errors import RanksDied, TrialMisused
from caviar.studies.workers.local.place import CRASHES
from caviar.studies.workers.local.stacks import place_in
from caviar.studies.workers.trial.failures import RaisedElsewhere
from caviar.studies.workers.user.rank import KINDS, Job


class RankRaised(RaisedElsewhere):
    """Training code raised an error in a rank, which the message names."""

    def __init__(self, rank: int, failure: Mapping[str, Any]) -> None:
        super().__init__(f"{failure['error']}, in rank {rank}")
        self.failure = {
            "error": f"{failure['error']}, in rank {rank}", "place": failure["place"],
            "traceback": f"In rank {rank}:\n{failure['traceback']}",
        }  # fmt: skip


class RanksMisused(RaisedElsewhere, TrialMisused):
    """What the code does in one rank does not go with what it does in another.

    Args:
        place: the line of the user's own code, as `tune.py:12`; empty if it is not known.
    """

    def __init__(self, message: str, place: str = "") -> None:
        super().__init__(message)
        self.failure = {"error": message, "class": TrialMisused.__name__, "place": place, "traceback": ""}


def left_alone(rank: int) -> RanksMisused:
    """Return the error of ranks which a rank has left that has come to the end of its loop."""
    return RanksMisused(f"rank {rank} left its loop while others trained on; all have to leave it in one epoch")


class RankRanOut(RankRaised, torch.OutOfMemoryError):
    """A rank ran out of the memory of its GPU."""


def cause(
    failures: Mapping[int, Mapping[str, Any]], exits: Mapping[int, int], left: Collection[int], job: Job
) -> Exception:
    """Return what to raise for a group that cannot go on.

    An error of a rank's own comes first, the earliest one of several; then a rank that is dead without a word; then an
    error that only says that another rank does not answer, of which one may have left its loop.

    Args:
        failures: what ranks said of the errors that ended them, by rank.
        exits: how ranks ended before they were killed for this, by rank, though the training goes on: an exit code, or
            negative a signal.
        left: ranks that have left their loop by themselves.
    """
    by_time = sorted(failures, key=lambda rank: float(failures[rank]["at"]))
    own = [rank for rank in by_time if not failures[rank]["is_of_others"]]
    dead = [rank for rank in sorted(exits) if rank not in failures]
    if own:
        return _raised(own[0], failures[own[0]])
    if dead:
        why = " and ".join(f"rank {rank} {_how(exits[rank], job.stack(rank))}" for rank in dead)
        return RanksDied(why, is_own=any(exits[rank] >= 0 or -exits[rank] in CRASHES for rank in dead))
    if left:
        return left_alone(min(left))
    if by_time:
        return _raised(by_time[0], failures[by_time[0]])
    return RanksDied("the process that starts the ranks was killed")


def _raised(rank: int, failure: Mapping[str, Any]) -> Exception:
    kind = KINDS.get(failure["kind"])
    if kind is BadCheckpoint:
        return BadCheckpoint(str(failure["error"]).removeprefix("BadCheckpoint: "))
    return (RankRanOut if kind is torch.OutOfMemoryError else RankRaised)(rank, failure)


def _how(code: int, stack: Path) -> str:
    """Return how a rank ended, as the end of a sentence."""
    if code >= 0:
        return f"left with exit code {code}"
    where = place_in(stack.read_text(errors="replace")) if stack.exists() else ""
    return f"was killed by signal {signal_name(-code)}{where}"
