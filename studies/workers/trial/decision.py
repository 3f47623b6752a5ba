"""What a worker does after an epoch: a pure function of what happened. Clock, signals, SQL and torch are elsewhere.

begin -> epoch -> GO_ON -> epoch -> ... -> COMPLETE   the last epoch is trained
                                     |---> DIVERGE    the loss is not finite
                                     |---> PRUNE      the curve is bad, or somebody killed the trial
                                     '---> GIVE_BACK  the worker or the study was asked to stop: another goes on
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum

from caviar.storage.records import Asked


class Next(Enum):
    """What comes after an epoch."""

    GO_ON = "go on"
    COMPLETE = "complete"
    DIVERGE = "diverge"
    PRUNE = "prune"
    GIVE_BACK = "give back"


@dataclass(frozen=True)
class Verdict:
    """What comes next, and why, in words for a person."""

    next: Next
    why: str


def after_epoch(
    *, epoch: int, last: int, losses: tuple[float, ...], bad_curve: str | None, asked: Asked, stop_asked: bool
) -> Verdict:
    """Decide what comes after an epoch. What the trial itself says comes before what the worker is asked.

    Args:
        epoch: the one that was trained; 1 is the first, `last` the last.
        losses: of this epoch.
        bad_curve: why the pruner would stop this trial, if it would.
        asked: what somebody asks for through the database.
        stop_asked: whether this process was asked to stop.
    """
    if not all(map(math.isfinite, losses)):
        return Verdict(Next.DIVERGE, f"diverged at epoch {epoch}: the loss is not finite")
    if epoch >= last:
        return Verdict(Next.COMPLETE, "finished")
    if asked.kill:
        return Verdict(Next.PRUNE, f"killed by hand after epoch {epoch}")
    if bad_curve is not None:
        return Verdict(Next.PRUNE, bad_curve)
    if stop_asked or asked.control != "run":
        return Verdict(Next.GIVE_BACK, f"given back after epoch {epoch}")
    return Verdict(Next.GO_ON, "")
