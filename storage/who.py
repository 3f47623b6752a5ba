"""Say who changes something: the user of this process, or the person for whom it acts, such as a visitor of a page."""

from __future__ import annotations

import getpass
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from caviar.text import shown

_PERSON: ContextVar[str | None] = ContextVar("person", default=None)


def current_user() -> str:
    """Return who is responsible for a change, for the study's history: this process's user as `name@host`."""
    if (person := _PERSON.get()) is not None:
        return person
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user may have a number and no name
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"


@contextmanager
def acting_for(person: str) -> Iterator[None]:
    """Let `current_user` return another person within the context, in this thread alone.

    Args:
        person: a name that may come from anywhere: what cannot be printed is escaped, and it is cut.
    """
    token = _PERSON.set(shown(person))
    try:
        yield
    finally:
        _PERSON.reset(token)
