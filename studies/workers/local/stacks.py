"""The stacks of processes that hang or crash, as `faulthandler` writes them: where they are, and which one is at fault.

When one rank of a trial hangs, the others soon wait for it, and their worker waits for all of them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from caviar.storage.processes import children, name_of
from caviar.studies.workers.local.process import RANK, RANK_STARTER

_CALL = r'File "(.+?)", line (\d+) in (.+)'
_BACKWARD = "_engine_run_backward"  # in which DistributedDataParallel waits for the gradients of the others


def place_in(stack: str) -> str:
    """Return where the main thread is, by the stacks of all threads, as words that follow another; empty if unknown.

    `faulthandler` writes the main thread last, and of each thread the innermost call first.
    """
    call = _innermost_call(stack)
    return f" in {call[3]} ({call[1]}:{call[2]})" if call else ""


def _innermost_call(stack: str) -> re.Match[str] | None:
    return re.search(_CALL, stack.rpartition("hread 0x")[2])


def ranks_of(worker: int) -> dict[int, int]:
    """Return the processes that train a worker's trial, by rank; none where it trains itself, or that is not known."""
    starters = [child for child in children(worker) if name_of(child) == RANK_STARTER]
    names = {child: name_of(child) for starter in starters for child in children(starter)}
    ranks = {name.removeprefix(RANK): pid for pid, name in names.items() if name.startswith(RANK)}
    return {int(rank): pid for rank, pid in sorted(ranks.items()) if rank.isdecimal()}


def hanging_rank(stacks: Mapping[int, str]) -> int:
    """Return the rank that the others wait for, by the stacks of all: one that does not wait in a collective itself.

    One without a stack comes first: it does not even answer.
    """
    return min(stacks, key=lambda rank: (bool(stacks[rank]), _is_waiting(stacks[rank]), rank))


def _is_waiting(stack: str) -> bool:
    call = _innermost_call(stack)
    return call is not None and ("/torch/distributed/" in call[1] or call[3] == _BACKWARD)
