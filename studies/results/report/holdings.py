"""Who held each trial, from when until when: its first worker, and those that took it over."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

LOST = ("lease expired", "worker died")  # the events that end a holding against its worker's will
TAKEN = ("taken over", "lease taken again")  # those that begin one
_LEFT = (*LOST, "given back")


def holdings(trials: Sequence[dict[str, Any]], events: Sequence[dict[str, Any]], now: float) -> list[dict[str, Any]]:
    """Return each time that a worker held a trial, by trial and time. A trial that waits is held by nobody.

    Args:
        trials, events: of caviar.studies.results.report.facts.
        now: until when those last that have not ended.

    Returns:
        `trial`; `worker`, which is None where nobody knows; `began` and `ended` in seconds; `end`: the trial's state,
        `lost` or `given back`.
    """
    of_trial: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for event in events:
        if event["trial"] is not None and event["kind"] in (*_LEFT, *TAKEN):
            of_trial[event["trial"]].append(event)
    return [held for t in trials if t["began"] is not None for held in _of(t, of_trial[t["trial"]], now)]


def _of(t: dict[str, Any], events: Sequence[dict[str, Any]], now: float) -> Iterator[dict[str, Any]]:
    events = [event for event in events if event["at"] >= t["began"]]  # a slot may be lost before its trial begins
    first = events[0]["worker"] if events and events[0]["kind"] in _LEFT else None
    who, since = first or t["worker"], t["began"]
    held = True
    for event in events:
        if held:
            end = "lost" if event["kind"] in LOST else "given back"
            yield {"trial": t["trial"], "worker": who, "began": since, "ended": event["at"], "end": end}
        held = event["kind"] in TAKEN
        who, since = event["worker"], event["at"]
    if held:
        ended = now if t["ended"] is None else t["ended"]
        yield {"trial": t["trial"], "worker": who, "began": since, "ended": ended, "end": t["state"]}
