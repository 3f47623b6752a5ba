"""What the other processes of a program do when rank 0 says so."""

from __future__ import annotations

from typing import Any, cast

import pytest
import torch

from caviar.studies.workers.trial.training import Ended
from caviar.studies.workers.user.following import follow
from caviar.studies.workers.user.ranks import GO_ON, OVER, SAVE, Ranks, end


class Scripted:
    """Rank 1 of two, which hears what the test says."""

    rank, size = 1, 2

    def __init__(self, *messages: dict[str, Any]) -> None:
        self.messages = list(messages)

    def hear(self) -> dict[str, Any]:
        return self.messages.pop(0)


def test_a_trial_that_all_leave_by_themselves_is_over_when_rank_0_says_so() -> None:
    """Its worker may still take the last epoch, and let rank 0 go on."""
    given = {"number": 3, "values": {"lr": 0.1}, "seed": [0, "trial", 3], "last": 4}
    begin, over = {"do": "begin", "trial": given, "goes_on": False}, end(Ended.COMPLETE)
    ranks = Scripted(begin, GO_ON, GO_ON, over, begin, over, OVER)
    trained = list[int]()

    for trial in follow(cast(Ranks, ranks), torch.device("cpu")):
        for epoch in trial.epochs():
            trial.report(loss=1.0)
            trained.append(epoch)
            break

    assert trained == [1]
    assert not ranks.messages


@pytest.mark.parametrize("leaves_itself", [False, True])
def test_a_trial_is_lost_when_rank_0_leaves_all_trials_in_its_middle(leaves_itself: bool) -> None:
    given = {"number": 3, "values": {"lr": 0.1}, "seed": [0, "trial", 3], "last": 4}
    ranks = Scripted({"do": "begin", "trial": given, "goes_on": False}, GO_ON, SAVE, OVER)
    ended, trained = list[Ended | None](), list[int]()

    for trial in follow(cast(Ranks, ranks), torch.device("cpu")):
        for epoch in trial.epochs():
            trained.append(epoch)
            if leaves_itself:
                break
        ended.append(trial.ended)

    assert (trained, ended) == ([1], [None if leaves_itself else Ended.LOST])
    assert not ranks.messages
