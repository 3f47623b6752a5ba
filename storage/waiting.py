"""Waiting for the server in steps, so that a server that never answers is noticed, and signals are handled.

libpq waits in C, where no signal handler of Python runs, and for ever while the server's kernel lives: keepalives find
nothing wrong with a paused container. Source: https://www.psycopg.org/docs/advanced.html#support-for-coroutine-libraries
"""

from __future__ import annotations

import select
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from typing import Any

import psycopg2
from psycopg2 import extensions

CONNECT_SECONDS = 10.0
ANSWER_SECONDS = 40.0  # without a byte; the server ends a statement earlier
_HURRIED_SECONDS = 2.0
_STEP = 0.5  # seconds
_patient: ContextVar[bool] = ContextVar("patient", default=False)


def limit_waits(hurry: Callable[[], bool] | None = None) -> None:
    """Limit how long every connection of this process waits, existing ones included.

    Waits are cut short while `hurry` returns True; None leaves the function that was set before.
    """
    if hurry is not None or extensions.get_wait_callback() is None:
        extensions.set_wait_callback(partial(_wait, hurry or _never))


@contextmanager
def patiently() -> Iterator[None]:
    """Wait without a limit within the context, for a lock of another process or a migration of large tables."""
    token = _patient.set(True)
    try:
        yield
    finally:
        _patient.reset(token)


def _never() -> bool:
    return False


def _wait(hurry: Callable[[], bool], connection: Any) -> None:
    connecting = connection.status == extensions.STATUS_SETUP
    limit = CONNECT_SECONDS if connecting else ANSWER_SECONDS
    while (state := connection.poll()) != extensions.POLL_OK:
        # Polled before its socket is ready, libpq would take a slow handshake for a failed one.
        began, ready = time.monotonic(), select.poll()  # select.select takes no file from the 1024th on
        ready.register(connection.fileno(), select.POLLIN if state == extensions.POLL_READ else select.POLLOUT)
        while not ready.poll(_STEP * 1000):
            waited = time.monotonic() - began
            if waited >= (_HURRIED_SECONDS if hurry() else limit) and (connecting or hurry() or not _patient.get()):
                raise psycopg2.OperationalError(f"the server has not answered for {waited:.0f} s")
