"""Why a group of ranks cannot go on: the first reason counts, not what follows from it in the other ranks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from caviar.models.errors import BadCheckpoint
from caviar.studies.errors import RanksDied, TrialMisused
from caviar.studies.workers.user.rank import Job
from caviar.studies.workers.user.rank_failures import RankRaised, cause


def failure(error: str, at: float, kind: str = "code", *, of_others: bool = False) -> dict[str, Any]:
    return {"error": error, "place": "", "traceback": "", "at": at, "kind": kind, "is_of_others": of_others}


OWN, LATER, FOLLOWS = failure("A: a", 2.0), failure("B: b", 3.0), failure("RuntimeError: gloo/", 1.0, of_others=True)


@pytest.mark.parametrize(
    ("failures", "exits", "left", "kind", "message"),
    [
        ({1: OWN}, {1: 1}, (), RankRaised, "A: a, in rank 1"),
        ({0: LATER, 1: OWN}, {}, (), RankRaised, "A: a, in rank 1"),
        ({0: FOLLOWS, 1: OWN}, {}, (), RankRaised, "A: a, in rank 1"),
        ({0: OWN}, {0: 1, 1: -6}, (), RankRaised, "A: a, in rank 0"),
        ({0: FOLLOWS}, {0: 1, 1: -9}, (), RanksDied, r"^rank 1 was killed by signal 9 \(SIGKILL\)$"),
        ({}, {0: -11, 1: 3}, (), RanksDied, r"rank 0 was killed by signal 11 \(SIGSEGV\) and rank 1 left with exit"),
        ({0: FOLLOWS}, {}, (), RankRaised, "RuntimeError: gloo/, in rank 0"),
        ({0: FOLLOWS}, {}, (1,), TrialMisused, "rank 1 left its loop"),
        ({0: FOLLOWS}, {2: 0}, (1,), RanksDied, "^rank 2 left with exit code 0$"),
        ({}, {}, (), RanksDied, "the process that starts the ranks was killed"),
        ({0: failure("E: full", 1.0, "memory")}, {}, (), torch.OutOfMemoryError, "E: full, in rank 0"),
        ({0: failure("BadCheckpoint: odd", 1.0, "checkpoint")}, {}, (), BadCheckpoint, "^odd$"),
    ],
)
def test_the_first_reason_counts(
    failures: dict[int, Any], exits: dict[int, int], left: tuple[int, ...], kind: type[Exception], message: str,
    tmp_path: Path,
) -> None:  # fmt: skip
    job = Job("f", 0, {}, (0,), 1, ("cpu",) * 3, 1, 0, str(tmp_path), goes_on=False)

    with pytest.raises(kind, match=message) as raised:
        raise cause(failures, exits, left, job)
    if isinstance(raised.value, RanksDied):
        own = any(word in str(raised.value) for word in ("SIGSEGV", "exit code"))
        assert raised.value.is_own == own, "a crash is the training's own, and so is an exit"
