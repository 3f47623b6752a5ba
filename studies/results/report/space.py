"""Draw the search space as a whole: how much each hyperparameter decided, and all of them at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from caviar.studies.results.report.records import Report, ReportedHyperparameter, ReportedTrial
from caviar.studies.results.report.style import NEUTRAL, colour
from caviar.studies.results.report.ticks import round_numbers, ticks
from caviar.studies.results.report.window import window
from caviar.studies.way import Way

_LINES = 300  # trials in the parallel coordinates, at most: the best ones
_FEW = 10  # trials that are drawn, however good they are

Figure = dict[str, Any]  # plotly's JSON


def importance(report: Report) -> Figure | None:
    """Draw each hyperparameter's share of the result with its interval."""
    if report.importance is None:
        return None
    ranked = [h for h in report.importance.hyperparameters if h.varied][::-1]
    data = [{
        "type": "bar", "orientation": "h", "y": [f"{h.name} (tier {h.tier})" for h in ranked],
        "x": [h.share for h in ranked], "marker": {"color": [colour(h.tier) for h in ranked]},
        "error_x": {"type": "data", "symmetric": False, "array": [h.high - h.share for h in ranked],
                    "arrayminus": [h.share - h.low for h in ranked], "color": NEUTRAL, "thickness": 2},
    }]  # fmt: skip
    axis = {"tickformat": ".0%", "title": {"text": "share of the result, 90 % interval"}, "range": [0, 1]}
    return {"data": data, "layout": {"xaxis": axis, "yaxis": {"automargin": True}}}


def parallel_coordinates(report: Report) -> Figure | None:
    """Draw the best trials as lines through their values, on the scales that were searched, the best ones on top."""
    shown, there = window(report), [t for t in report.trials if t.is_sound]
    found = report.hyperparameters
    if report.study.way is Way.OBJECTIVE:  # what only some trials have is left out, instead of all others
        found = tuple(h for h in found if all(h.name in t.units for t in there))
    there = [t for t in there if all(h.name in t.units for h in found)]
    there.sort(key=lambda t: t.value or 0.0, reverse=report.study.maximize)
    if shown is None or not there:
        return None
    good = [t for t in there if shown.shows(t.value or 0.0)][:_LINES]
    there = (good if len(good) >= _FEW else there[:_FEW])[::-1]
    values = [t.value for t in there]
    # Of many good ones the worst is far above the floor; then the colours begin there, or all would be one.
    worst = next(value for value in values if value is not None)
    ends = sorted([shown.best, worst if shown.shows(worst) else shown.floor])
    dimensions = [_dimension(h, there) for h in found]
    dimensions.append({"label": report.study.metric, "values": values,
                       **({} if ends[0] == ends[1] else _round_ends(values, ends))})  # fmt: skip
    line = {"color": values, "colorscale": "Viridis", "reversescale": not report.study.maximize, "cmin": ends[0],
            "cmax": ends[1], "showscale": True, "colorbar": {"thickness": 14, "nticks": 6}}  # fmt: skip
    trace = {"type": "parcoords", "line": line, "dimensions": dimensions, "labelangle": -30, "labelside": "top",
             "rangefont": {"size": 1, "color": "rgba(0,0,0,0)"}}  # fmt: skip
    return {"data": [trace], "layout": {"margin": {"t": 110, "l": 70, "r": 60, "b": 30}}}


def _dimension(h: ReportedHyperparameter, trials: Sequence[ReportedTrial]) -> Figure:
    """Return an axis of places on the unit interval, with values that exist as its ticks."""
    at = ticks(h.scale)
    return {"label": h.name, "range": [0, 1], "values": [t.units[h.name] for t in trials],
            "tickvals": [unit for unit, _ in at], "ticktext": [text for _, text in at]}  # fmt: skip


def _round_ends(values: Sequence[float | None], ends: Sequence[float]) -> Figure:
    """Return the range and the ticks of the axis of values."""
    low, high = (
        min([v for v in values if v is not None] + [ends[0]]),
        max([v for v in values if v is not None] + [ends[1]]),
    )
    at = round_numbers(low, high, 6)
    return {"range": [low, high], "tickvals": at, "ticktext": [f"{value:.6g}" for value in at]}
