"""The times in which workers held a trial: its first worker, and those that took it over."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from caviar.storage.states import EventKind
from caviar.studies.results.report.records import ReportedEvent, ReportedTrial

LOST = (EventKind.LEASE_EXPIRED, EventKind.WORKER_DIED)  # the events that end a holding against its worker's will
TAKEN = (EventKind.TAKEN_OVER, EventKind.LEASE_TAKEN_AGAIN)  # those that begin one
_LEFT = (*LOST, EventKind.GIVEN_BACK)


@dataclass(frozen=True)
class Holding:
    """A time, in seconds since the study's first trial began, in which one worker held one trial.

    `end` is the trial's state if the trial ended then, else `lost` or `given back`.
    """

    trial: int
    worker: str | None
    began: float
    ended: float
    end: str


def holdings(trials: Sequence[ReportedTrial], events: Sequence[ReportedEvent], now: float) -> list[Holding]:
    """Return the times in which workers held trials, by trial and time; those that have not ended end `now`."""
    of_trial: dict[int, list[ReportedEvent]] = defaultdict(list)
    for event in events:
        if event.trial is not None and event.kind in (*_LEFT, *TAKEN):
            of_trial[event.trial].append(event)
    return [holding for t in trials if t.began is not None for holding in _of(t, t.began, of_trial[t.trial], now)]


def _of(t: ReportedTrial, since: float, events: Sequence[ReportedEvent], now: float) -> Iterator[Holding]:
    events = [event for event in events if event.at >= since]  # a slot may be lost before its trial begins
    first = events[0].worker if events and events[0].kind in _LEFT else None
    worker, is_held = first or t.worker, True
    for event in events:
        if is_held:
            yield Holding(t.trial, worker, since, event.at, "lost" if event.kind in LOST else "given back")
        is_held = event.kind in TAKEN
        worker, since = event.worker, event.at
    if is_held:
        yield Holding(t.trial, worker, since, now if t.ended is None else t.ended, t.state)
