"""The ranges that each tier and phase proposed values from, trial by trial: how the zoom moved.

The box of a zoom is noted when a trial is proposed. A model has no box: the middle four fifths of what it proposed are
shown, for several trials at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import groupby
from typing import Any

from caviar.storage.states import Phase
from caviar.studies.results.report.records import Report, ReportedHyperparameter, ReportedTrial
from caviar.studies.results.report.style import colour
from caviar.studies.space.base import Value

_WITHOUT = (Phase.DEFAULT, Phase.PRIOR)  # phases in which nothing is searched
_ANYWHERE = (Phase.COARSE, Phase.RANDOM, Phase.GRID)  # those that search the whole range where they have no box
_STEPS = 40  # of a box, at most; of more, some, evenly
_TOGETHER, _SPANS = 5, 12  # proposals that have a span, at least; spans of a phase, at most


class BoxKind(StrEnum):
    """The origin of a box; its value is what the legend says."""

    RANGE = "the whole range"
    ZOOM = "the zoom's box"
    PROPOSALS = "the middle four fifths of what a model proposed"


_STYLES = {BoxKind.RANGE: (0.25, "solid"), BoxKind.ZOOM: (0.6, "solid"), BoxKind.PROPOSALS: (0.45, "dot")}


@dataclass(frozen=True)
class Step:
    """A range of values, and the first and last trial that it holds for."""

    first: int
    last: int
    low: Value
    high: Value


@dataclass(frozen=True)
class Box:
    """The ranges that one phase of one tier proposed a hyperparameter from, as they moved."""

    tier: int
    phase: str
    kind: BoxKind
    steps: tuple[Step, ...]


def boxes(report: Report, h: ReportedHyperparameter) -> list[Box]:
    """Return the ranges that each tier and phase proposed a hyperparameter from."""
    searched = (t for t in report.trials if h.tier <= t.tier and h.name in t.hyperparameters)
    moved = []
    for (tier, phase), of_phase in groupby(searched, key=lambda t: (t.tier, t.phase)):
        trials = list(of_phase)
        zoomed = any(h.name in (t.zoom or {}) for t in trials)
        if phase in _WITHOUT:
            continue
        if zoomed or phase in _ANYWHERE:
            moved.append(Box(tier, phase, BoxKind.ZOOM if zoomed else BoxKind.RANGE, tuple(_moved(h, trials))))
        else:
            moved.append(Box(tier, phase, BoxKind.PROPOSALS, tuple(_spans(h, trials))))
    return moved


def _moved(h: ReportedHyperparameter, trials: Sequence[ReportedTrial]) -> Iterator[Step]:
    """Yield the boxes of trials one after the other, each as long as it stayed."""
    step, whole = -(-len(trials) // _STEPS), (h.scale.value(0.0), h.scale.value(1.0))
    shown = [*trials[::step], trials[-1]]
    for (low, high), those in groupby(shown, key=lambda t: (t.zoom or {}).get(h.name, whole)):
        numbers = [t.trial for t in those]
        yield Step(numbers[0], numbers[-1], low, high)


def _spans(h: ReportedHyperparameter, trials: Sequence[ReportedTrial]) -> Iterator[Step]:
    """Yield the middle four fifths of some trials' values, by their places on the hyperparameter's own scale."""
    count = min(max(len(trials) // _TOGETHER, 1), _SPANS)
    for part in range(count):
        some = trials[part * len(trials) // count : (part + 1) * len(trials) // count]
        ordered = sorted(some, key=lambda t: t.units[h.name])
        cut = len(ordered) // 10
        low, high = (t.hyperparameters[h.name] for t in (ordered[cut], ordered[-1 - cut]))
        yield Step(some[0].trial, some[-1].trial, low, high)


def outline(box: Box, coordinate: Callable[[Value], Value], x: str, y: str) -> dict[str, Any]:
    """Return a box as it moved as one filled trace: values across, at their `coordinate`, trials upwards."""
    opacity, dash = _STYLES[box.kind]
    sides: tuple[list[Any], list[Any]] = ([], [])
    for step in box.steps:
        for side, value in zip(sides, (step.low, step.high), strict=True):
            side.extend([(coordinate(value), step.first - 0.5), (coordinate(value), step.last + 0.5)])
    path = [*sides[0], *reversed(sides[1]), sides[0][0]]
    name = f"tier {box.tier} {box.phase}: {box.kind}"
    return {"type": "scatter", "mode": "lines", "fill": "toself", "xaxis": x, "yaxis": y, "name": name,
            "legendgroup": name, "hoveron": "fills", "hoverinfo": "name", "opacity": opacity,
            "x": [place for place, _ in path], "y": [trial for _, trial in path],
            "fillcolor": colour(box.tier),
            "line": {"width": 2.5, "dash": dash, "color": colour(box.tier)}}  # fmt: skip
