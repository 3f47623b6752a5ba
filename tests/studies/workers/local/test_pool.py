"""The processes that workers come from."""

from __future__ import annotations

import gc
import multiprocessing
from multiprocessing.connection import Connection

import pytest

from caviar.studies.workers.local.pool import WorkerPool


def _send_frozen(sender: Connection) -> None:
    sender.send(gc.get_freeze_count())


@pytest.mark.slow
def test_workers_collect_no_garbage_among_what_they_were_born_with() -> None:
    """Else their end, and the fork server's, takes some seconds: torch alone has some 200,000 objects."""
    WorkerPool.warm_up()
    context = multiprocessing.get_context("forkserver")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_send_frozen, args=(sender,))
    process.start()
    assert receiver.recv() > 100_000
    process.join()
