"""Bear an outage of the database in the process that supervises workers, and report it once."""

from __future__ import annotations

from collections.abc import Callable

from caviar.storage.embedded import revive
from caviar.storage.outage import Outage
from caviar.storage.settings import Settings
from caviar.studies.workers.local.events import DatabaseBack, DatabaseLost, Listener, ServerNotice

_WORTH_A_WORD = 1.0  # seconds that an outage lasts at least for its end to be reported


def reported_outage(settings: Settings, patience: float, hurry: Callable[[], bool], on_event: Listener) -> Outage:
    """Return the clock of this process's outages, which reports each; it starts the built-in server again.

    Args:
        patience: the longest outage to tolerate, in seconds.
        hurry: returns True once nothing is to be waited for any more.
    """

    def on_failure(first: bool) -> None:
        if settings.database_url is None:
            revive(settings.home, lambda text: on_event(ServerNotice(text)))
        elif first:
            on_event(DatabaseLost(patience))

    def on_end(seconds: float) -> None:
        if seconds >= _WORTH_A_WORD:
            on_event(DatabaseBack(seconds))

    return Outage(patience, hurry, on_failure, on_end)
