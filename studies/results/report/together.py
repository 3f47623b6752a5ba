"""Draw the pairs of hyperparameters whose effects depend on each other by more than noise."""

from __future__ import annotations

from typing import Any

from caviar.storage.states import TrialState
from caviar.studies.results.report.panels import chosen
from caviar.studies.results.report.records import Report, ReportedPair
from caviar.studies.results.report.style import WINNER
from caviar.studies.results.report.ticks import in_words, ticks

_HEIGHT = 420  # pixels of a picture, beside one another or below

Figure = dict[str, Any]  # plotly's JSON


def together(report: Report) -> Figure | None:
    """Draw what is expected over each pair, with the trials on it; None where no pair is more than noise."""
    pairs = report.pairs
    if not pairs:
        return None
    every = [value for pair in pairs for row in pair.surface.mean for value in row]
    data = [trace for place, pair in enumerate(pairs) for trace in _picture(report, pair, place)]
    data[0] |= {"showscale": True, "colorbar": {"thickness": 14, "title": {"text": "expected"}}}
    for trace in data:
        if trace["type"] == "heatmap":
            trace |= {"zmin": min(every), "zmax": max(every), "reversescale": not report.study.maximize}
    grid = {"rows": 1, "columns": len(pairs), "pattern": "independent", "xgap": 0.2}
    layout: Figure = {"grid": grid, "height": _HEIGHT, "showlegend": False}
    for place, pair in enumerate(pairs):
        for side, name in (("x", pair.first), ("y", pair.second)):
            (h,) = (each for each in report.hyperparameters if each.name == name)
            at = ticks(h.scale)
            layout[f"{side}axis{place + 1}"] = {
                "title": {"text": h.scale.axis(name).title}, "zeroline": False, "showgrid": False, "automargin": True,
                "tickvals": [unit for unit, _ in at], "ticktext": [text for _, text in at],
            }  # fmt: skip
    narrow = {"grid": {**grid, "rows": len(pairs), "columns": 1, "ygap": 0.3}, "height": _HEIGHT * len(pairs)}
    return {"data": data, "layout": layout, "narrow": narrow}


def _picture(report: Report, pair: ReportedPair, place: int) -> list[Figure]:
    axes = {"xaxis": f"x{place + 1}", "yaxis": f"y{place + 1}"}
    heat = {"type": "heatmap", "x": list(pair.surface.units[0]), "y": list(pair.surface.units[1]),
            "z": [list(row) for row in pair.surface.mean], "colorscale": "Viridis", "showscale": False,
            "hovertemplate": "%{z:.4g} expected<extra></extra>", **axes}  # fmt: skip
    there = [t for t in chosen(report) if pair.first in t.units and pair.second in t.units]
    winner = None if report.winner is None else report.winner.trial
    return [heat, {
        "type": "scatter", "mode": "markers", **axes, "x": [t.units[pair.first] for t in there],
        "y": [t.units[pair.second] for t in there],
        "customdata": [
            [t.trial, t.ending, *(f"{name} {in_words(t.hyperparameters[name])}" for name in (pair.first, pair.second)),
             t.value] for t in there
        ],
        "hovertemplate": "trial %{customdata[0]}, %{customdata[1]}<br>%{customdata[2]}<br>%{customdata[3]}"
                         "<br>%{customdata[4]:.5g}<extra></extra>",
        "marker": {
            "symbol": ["star" if t.trial == winner else "circle" if t.state == TrialState.COMPLETE else "triangle-down"
                       for t in there],
            "size": [16 if t.trial == winner else 6 for t in there],
            "color": [WINNER if t.trial == winner else "white" for t in there],
            "line": {"width": 1, "color": "black"},
        },
    }]  # fmt: skip
