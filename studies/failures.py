"""When the same mistake ends trial after trial, the study pauses instead of spending its budget on it."""

from __future__ import annotations

from sqlalchemy import Engine

from storage.definitions import set_control
from storage.events import read_events
from storage.status import last_finished

SAME_ERRORS = 3  # trials in a row


def pause_if_repeated(engine: Engine, study_id: int, error: str) -> None:
    """Pause a study whose last trials all raised `error`: that is a mistake in the code, and no bad setting."""
    raised = {event.slot: event.detail["error"] for event in read_events(engine, study_id, "trial failed")}
    last = [raised.get(number) for number in last_finished(engine, study_id, SAME_ERRORS)]
    if last == [error] * SAME_ERRORS:
        set_control(engine, study_id, "pause", why=f"{SAME_ERRORS} trials in a row raised {error}")
