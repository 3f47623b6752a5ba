"""Draw the search space: each hyperparameter against the result, its importance, and all of them at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from caviar.storage.states import TrialState
from caviar.studies.results.report.boxes import boxes, outline
from caviar.studies.results.report.records import Report, ReportedHyperparameter, ReportedTrial
from caviar.studies.results.report.style import FADED, colour, good_range
from caviar.studies.way import Way

_ROW = 400  # pixels of a row of panels
_LEGEND = 20  # of a line of the legend, where it has one for each of its entries
_TITLE, _STRIP, _GAP = 0.17, 0.28, 0.05  # of that: the axis' title; of the rest: the strip, and the gap above it
_LINES = 1000  # trials in the parallel coordinates; of more, the best ones

Figure = dict[str, Any]  # plotly's JSON


def hyperparameters(report: Report) -> Figure:
    """Draw each one against the value, on its own scale; below it the ranges that it was proposed from, by trial."""
    finished = [t for t in report.trials if t.is_sound]
    count = len(report.hyperparameters)
    points, outlines = [], []
    for place, h in enumerate(report.hyperparameters):
        x, y, strip = f"x{place + 1}", f"y{place + 1}", f"y{count + place + 1}"
        there = [t for t in finished if h.name in t.hyperparameters]
        on_axis = h.scale.on_axis
        points.append({
            "type": "scatter", "mode": "markers", "xaxis": x, "yaxis": y, "showlegend": False,
            "x": [on_axis(t.hyperparameters[h.name]) for t in there], "y": [t.value for t in there],
            "customdata": [t.trial for t in there],
            "hovertemplate": "trial %{customdata}: %{x}<br>%{y:.5g}<extra></extra>",
            "marker": {"size": 6, "color": [colour(t.tier) for t in there],
                       "opacity": [FADED if t.state == TrialState.PRUNED else 0.9 for t in there]},
        })  # fmt: skip
        outlines += [outline(box, on_axis, x, strip) for box in boxes(report, h)]
    named: set[str] = set()
    for trace in outlines:
        trace["showlegend"] = trace["name"] not in named
        named.add(trace["name"])
    return {"data": [*points, *outlines], "layout": _layout(report, 2, 90),
            "narrow": _layout(report, 1, 20 + _LEGEND * len(named)) | {"font": {"size": 10}}}  # fmt: skip


def _layout(report: Report, columns: int, above: int) -> Figure:
    """Return the layout of all panels, in so many columns, with so many pixels above them for the legend."""
    count = len(report.hyperparameters)
    rows = -(-count // columns)
    layout: Figure = {"height": _ROW * rows + above, "margin": {"t": above, "r": 20, "b": 20},
                     "legend": {"orientation": "h", "y": 1.01, "yanchor": "bottom"}}  # fmt: skip
    values = [t.value for t in report.trials if t.value is not None and not t.violated]
    title = {"text": report.study.metric}
    for place, h in enumerate(report.hyperparameters):
        layout |= _axes(h, place, columns, count)
        layout[f"yaxis{place + 1}"] |= good_range(values, maximize=report.study.maximize)
        layout[f"yaxis{place + 1}"]["title"] = title
    return layout


def _axes(h: ReportedHyperparameter, place: int, columns: int, count: int) -> Figure:
    """Return the axes of a hyperparameter's panel, and of the strip below it."""
    (row, column), rows = divmod(place, columns), -(-count // columns)
    left, width = (0.53 * column, 0.47) if columns > 1 else (0.0, 1.0)
    bottom, height = 1 - (row + 1) / rows + _TITLE / rows, (1 - _TITLE) / rows
    foot, top = bottom + _STRIP * height, bottom + height * (1 - _GAP)
    axis = h.scale.axis(h.name)
    number, strip = place + 1, count + place + 1
    return {
        f"xaxis{number}": {
            "title": {"text": axis.title, "standoff": 4},
            "domain": [left, left + width], "anchor": f"y{strip}",
            "type": axis.kind, **({"autorange": "reversed"} if axis.reversed else {}),
            **({"categoryorder": "array", "categoryarray": list(axis.categories)} if axis.categories else {}),
        },
        f"yaxis{number}": {"domain": [foot + _GAP * height, top], "anchor": f"x{number}"},
        f"yaxis{strip}": {"domain": [bottom, foot], "anchor": f"x{number}", "nticks": 4, "title": {"text": "trial"}},
    }  # fmt: skip


def importance(report: Report) -> Figure | None:
    """Draw each hyperparameter's share of the result with its interval."""
    if report.importance is None:
        return None
    ranked = [h for h in report.importance.hyperparameters if h.varied][::-1]
    data = [{
        "type": "bar", "orientation": "h", "y": [f"{h.name} (tier {h.tier})" for h in ranked],
        "x": [h.share for h in ranked], "marker": {"color": [colour(h.tier) for h in ranked]},
        "error_x": {"type": "data", "symmetric": False, "array": [h.high - h.share for h in ranked],
                    "arrayminus": [h.share - h.low for h in ranked]},
    }]  # fmt: skip
    axis = {"tickformat": ".0%", "title": {"text": "share of the result, 90 % interval"}, "range": [0, 1]}
    return {"data": data, "layout": {"xaxis": axis, "yaxis": {"automargin": True}}}


def parallel_coordinates(report: Report) -> Figure | None:
    """Draw every trial as a line through its values, on the scales that were searched."""
    names, there = [h.name for h in report.hyperparameters], [t for t in report.trials if t.is_sound]
    if report.study.way is Way.OBJECTIVE:  # what only some trials have is left out, instead of all others
        names = [name for name in names if all(name in t.units for t in there)]
    there = [t for t in there if set(names) <= t.units.keys()]
    if len(there) > _LINES:
        there = report.best_first()[:_LINES]
    if not there:
        return None
    values = [t.value for t in there]
    dimensions = [_dimension(name, there) for name in names]
    dimensions.append({"label": report.study.metric, "values": values})
    line = {"color": values, "colorscale": "Viridis", "reversescale": not report.study.maximize,
            "showscale": True}  # fmt: skip
    return {"data": [{"type": "parcoords", "line": line, "dimensions": dimensions, "labelangle": -30}],
            "layout": {"margin": {"t": 110, "l": 70, "r": 60}}}  # fmt: skip


def _dimension(name: str, trials: Sequence[ReportedTrial]) -> Figure:
    """Return an axis of places on the unit interval that shows the values that stand there."""
    at = sorted({(t.units[name], t.hyperparameters[name]) for t in trials})
    ticks = at[:: max(1, len(at) // 6)]
    shown = [f"{value:.3g}" if isinstance(value, float) else str(value) for _, value in ticks]
    return {"label": name, "range": [0, 1], "values": [t.units[name] for t in trials],
            "tickvals": [unit for unit, _ in ticks], "ticktext": shown}  # fmt: skip
