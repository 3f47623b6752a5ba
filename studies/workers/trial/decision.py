"""Decide what a worker does after an epoch: a pure function, without a clock, signals, SQL or torch.

begin -> epoch -> GO_ON -> epoch -> ... -> COMPLETE   the last epoch is trained
                                     |---> DIVERGE    the metric or a loss is not finite
                                     |---> PRUNE      the curve is bad, the time is over, or somebody ended the trial
                                     '---> GIVE_BACK  the worker or the study was asked to stop: another goes on
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from caviar.storage.records import Asked
from caviar.storage.states import Control


class Next(Enum):
    """The step of a trial after an epoch."""

    GO_ON = "go on"  # train the next epoch
    COMPLETE = "complete"  # the last epoch is trained
    DIVERGE = "diverge"  # the metric or a loss is not finite: the trial is complete, and violates a constraint
    PRUNE = "prune"  # end the trial early, by the pruner or by hand
    GIVE_BACK = "give back"  # leave the trial to the next worker


@dataclass(frozen=True)
class Verdict:
    """The next step of a trial, and its reason as a sentence."""

    next: Next
    why: str


BY_ITSELF = Verdict(Next.COMPLETE, "its training came to its end by itself")


def after_epoch(
    *, epoch: int, last: int, losses: Mapping[str, float], bad_curve: str | None, asked: Asked, stop_asked: bool,
    overtime: str | None = None,
) -> Verdict:  # fmt: skip
    """Decide what comes after an epoch. The end of a trial takes precedence over a request to its worker.

    `losses` are the study's metric and every loss that the epoch has, by name, `bad_curve` is the pruner's reason to
    stop the trial, `asked` a request of somebody through the database, `stop_asked` says whether this worker is to
    leave, and `overtime` why the trial has taken too long, if it has.
    """
    if bad := next((name for name, value in losses.items() if not math.isfinite(value)), None):
        return Verdict(Next.DIVERGE, f"diverged at epoch {epoch}: {bad} is not finite")
    if epoch >= last:
        return Verdict(Next.COMPLETE, "finished")
    if asked.kill:
        return Verdict(Next.PRUNE, f"killed by hand after epoch {epoch}")
    if (why := bad_curve or overtime) is not None:
        return Verdict(Next.PRUNE, why)
    if stop_asked or asked.leave or asked.control != Control.RUN:
        return Verdict(Next.GIVE_BACK, f"given back after epoch {epoch}")
    return Verdict(Next.GO_ON, "")
