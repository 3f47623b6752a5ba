"""What happened in a study, in words; and what workers found out, said once to whoever started them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from caviar.studies.cli.output import say

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from caviar.storage.records import EventRecord, StudyRecord


class CohortNews:
    """Says how many trials a worker trains as one program, and why it is not more."""

    def __init__(self, engine: Engine, record: StudyRecord) -> None:
        self._engine = engine
        self._study_id = record.study_id
        self._seen = len(self._events())
        self._said: set[str] = set()

    def tell(self) -> None:
        """Say what is new."""
        events = self._events()
        for event in events[self._seen :]:
            about = str(event.detail.get("why", "measured"))  # two workers measure about the same
            if about not in self._said:
                self._said.add(about)
                say(told(event.detail))
        self._seen = len(events)

    def _events(self) -> list[Any]:
        from caviar.storage.events import read_events

        return read_events(self._engine, self._study_id, "cohort size")


def told(detail: Any) -> str:
    """Return an event about a cohort's size in words."""
    size, why, times = detail["size"], detail.get("why"), detail.get("times_as_fast")
    if size > 1 and why:
        return f"each worker trains at most {size} trials as one program from now on: {why}"
    if size > 1:
        return f"each worker trains up to {size} trials as one program, {times:g} times as fast as one by one"
    return f"each worker trains its trials one by one: {why or f'as one program they would be {times:g} times as fast'}"


def sentence(event: EventRecord) -> str:
    """Return an event in one sentence."""
    detail = event.detail
    if event.kind == "cohort size":
        return told(detail)
    if event.kind == "created":
        return f"the study begins, with a budget of {detail['budget']} trials"
    if event.kind == "lease expired":
        return f"trial {event.slot} was lost after epoch {detail['epoch']}: its worker was not heard of"
    if event.kind == "worker died":
        return f"trial {event.slot} was lost after epoch {detail['epoch']}: its worker died"
    about = detail_line(detail)
    subject = "" if event.slot is None else f"trial {event.slot}: "
    return f"{subject}{event.kind}" + (f", {about}" if about else "")


def detail_line(detail: Any) -> str:
    """Return an event's detail in one line; a traceback is for --json."""
    told = {key: "; ".join(map(str, value)) if isinstance(value, list) else value for key, value in detail.items()}
    return ", ".join(f"{key} {value}" for key, value in told.items() if key != "traceback" and value is not False)
