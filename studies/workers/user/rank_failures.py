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
from caviar.studies.workers.local.place import CRASHES, place_in
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
        exits: how ranks ended before they were killed for this, by rank: an exit code, or negative a signal.
        left: ranks that have left their loop by themselves.
    """
    by_time = sorted(failures, key=lambda rank: float(failures[rank]["at"]))
    own = [rank for rank in by_time if not failures[rank]["is_of_others"]]
    silent = {rank: exits[rank] for rank in sorted(exits) if rank not in failures}
    dead = [rank for rank, code in silent.items() if code]
    if own:
        return _raised(own[0], failures[own[0]])
    if dead:
        why = " and ".join(f"rank {rank} {_how(exits[rank], job.stack(rank))}" for rank in dead)
        return RanksDied(why, is_own=any(exits[rank] > 0 or -exits[rank] in CRASHES for rank in dead))
    if gone := sorted({*silent, *left}):
        return TrialMisused(f"rank {gone[0]} left its loop while others trained on; all have to leave it in one epoch")
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
    if code > 0:
        return f"left with exit code {code}"
    where = place_in(stack.read_text(errors="replace")) if stack.exists() else ""
    return f"was killed by signal {signal_name(-code)}{where}"
