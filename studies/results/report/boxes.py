"""Where each tier and phase proposed from, trial by trial: the zoom as it moved.

A zoom's box is what was noted when a trial was proposed. A model has no box: of what it proposed, the middle four
fifths are shown, of several trials at a time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

from caviar.studies.results.report.answers import Facts
from caviar.studies.results.report.style import colour

_WITHOUT = ("default", "prior")  # phases in which nothing is searched
_ANYWHERE = ("coarse", "random", "grid")  # those that search the whole range where they have no box
_STEPS = 40  # of a box, at most; of more, some, evenly
_TOGETHER, _SPANS = 5, 12  # proposals that have a span, at least; spans of a phase, at most
_LOOK = {  # by kind: what the legend says, how opaque, which line
    "range": ("the whole range", 0.25, "solid"),
    "zoom": ("the zoom's box", 0.6, "solid"),
    "proposals": ("the middle four fifths of what a model proposed", 0.45, "dot"),
}


def boxes(facts: Facts, h: Facts) -> list[Facts]:
    """Return what each tier and phase proposed a hyperparameter from.

    Returns:
        `tier`, `phase`, `kind` (`range`, `zoom` or `proposals`) and `steps`: first trial, last trial, lowest value,
        highest value of each.
    """
    searched = (t for t in facts["trials"] if h["tier"] <= t["tier"] and h["name"] in t["hyperparameters"])
    found = []
    for (tier, phase), of_phase in groupby(searched, key=lambda t: (t["tier"], t["phase"])):
        trials = list(of_phase)
        zoomed = any(h["name"] in (t["zoom"] or {}) for t in trials)
        if phase in _WITHOUT:
            continue
        if zoomed or phase in _ANYWHERE:
            kind, steps = "zoom" if zoomed else "range", list(_moved(h, trials))
        else:
            kind, steps = "proposals", list(_spans(h, trials))
        found.append({"tier": tier, "phase": phase, "kind": kind, "steps": steps})
    return found


def _moved(h: Facts, trials: Sequence[Facts]) -> Iterator[list[Any]]:
    """Yield the boxes of trials one after the other, each as long as it stayed."""
    step = -(-len(trials) // _STEPS)
    shown = [*trials[::step], trials[-1]]
    for box, those in groupby(shown, key=lambda t: (t["zoom"] or {}).get(h["name"], [h["first"], h["last"]])):
        there = [t["trial"] for t in those]
        yield [there[0], there[-1], *box]


def _spans(h: Facts, trials: Sequence[Facts]) -> Iterator[list[Any]]:
    """Yield between which values the middle four fifths of some trials lie, on the hyperparameter's own scale."""
    count = min(max(len(trials) // _TOGETHER, 1), _SPANS)
    for part in range(count):
        some = trials[part * len(trials) // count : (part + 1) * len(trials) // count]
        ordered = sorted(some, key=lambda t: t["units"][h["name"]])
        cut = len(ordered) // 10
        low, high = (t["hyperparameters"][h["name"]] for t in (ordered[cut], ordered[-1 - cut]))
        yield [some[0]["trial"], some[-1]["trial"], low, high]


def outline(box: Facts, shown: Any, x: str, y: str) -> Facts:
    """Return a box as it moved as one filled trace: values across, trials upwards.

    Args:
        shown: gives a value's place on the axis.
        x, y: the axes.
    """
    told, opacity, dash = _LOOK[box["kind"]]
    sides: tuple[list[Any], list[Any]] = ([], [])
    for first, last, low, high in box["steps"]:
        sides[0].extend([(shown(low), first - 0.5), (shown(low), last + 0.5)])
        sides[1].extend([(shown(high), first - 0.5), (shown(high), last + 0.5)])
    path = [*sides[0], *reversed(sides[1]), sides[0][0]]
    name = f"tier {box['tier']} {box['phase']}: {told}"
    return {"type": "scatter", "mode": "lines", "fill": "toself", "xaxis": x, "yaxis": y, "name": name,
            "legendgroup": name, "hoveron": "fills", "hoverinfo": "name", "opacity": opacity,
            "x": [place for place, _ in path], "y": [trial for _, trial in path],
            "fillcolor": colour(box["tier"]),
            "line": {"width": 2.5, "dash": dash, "color": colour(box["tier"])}}  # fmt: skip
