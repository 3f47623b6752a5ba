"""A report's figures of the search space: each hyperparameter, its importance, and all of them at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from studies.report.answers import Facts, best_first
from studies.report.look import FADED, colour, good_range, value_title

_LINES = 1000  # trials in the parallel coordinates; of more, the best ones


def hyperparameters(facts: Facts) -> Facts:
    """Each against the value, on its own scale, with the boxes that the fine phases zoomed into."""
    finished = [t for t in facts["trials"] if t["value"] is not None and not t["violated"]]
    data, shapes, layout = [], [], {"grid": {"columns": 2, "rows": -(-len(facts["hyperparameters"]) // 2),
                                             "pattern": "independent"}, "showlegend": False}  # fmt: skip
    for place, h in enumerate(facts["hyperparameters"], start=1):
        x, y = f"x{place}" if place > 1 else "x", f"y{place}" if place > 1 else "y"
        complement = h["kind"] == "log_one_minus"
        there = [t for t in finished if h["name"] in t["hyperparameters"]]
        data.append({
            "type": "scatter", "mode": "markers", "xaxis": x, "yaxis": y,
            "x": [_shown(h, t["hyperparameters"][h["name"]]) for t in there], "y": [t["value"] for t in there],
            "customdata": [t["trial"] for t in there],
            "hovertemplate": "trial %{customdata}: %{x}<br>%{y:.4f}<extra></extra>",
            "marker": {"size": 6, "color": [colour(t["tier"]) for t in there],
                       "opacity": [FADED if t["state"] == "pruned" else 0.9 for t in there]},
        })  # fmt: skip
        title = f"1 − {h['name']}" if complement else h["name"]
        kind = {"log": "log", "log_one_minus": "log", "powers_of_two": "log", "choice": "category"}.get(h["kind"])
        layout[f"xaxis{place}" if place > 1 else "xaxis"] = {
            "title": {"text": title}, **({"type": kind} if kind else {}),
            **({"autorange": "reversed"} if complement else {}),
        }  # fmt: skip
        yaxis = {"title": {"text": value_title(facts)}, **good_range(facts, [t["value"] for t in finished])}
        layout[f"yaxis{place}" if place > 1 else "yaxis"] = yaxis
        shapes += [_box(h, t, x, y) for t in facts["trials"] if t["zoom"] and h["name"] in t["zoom"]]
    layout["shapes"] = shapes
    layout["height"] = 280 * -(-len(facts["hyperparameters"]) // 2)
    return {"data": data, "layout": layout}


def _box(h: Facts, t: Facts, x: str, y: str) -> Facts:
    low, high = t["zoom"][h["name"]]
    return {"type": "rect", "xref": x, "yref": f"{y} domain", "x0": _shown(h, low), "x1": _shown(h, high),
            "y0": 0, "y1": 1, "fillcolor": colour(t["tier"]), "opacity": 0.05, "line": {"width": 0}}  # fmt: skip


def _shown(h: Facts, value: Any) -> Any:
    """Return a value on the axis of its scale; a decay of 0 where its decade begins."""
    if h["kind"] == "log_one_minus":
        return round(1 - value, 12)
    if h["kind"] == "log" and value == 0:
        return h["low"] / 10
    return value


def importance(facts: Facts) -> Facts | None:
    """Return each one's share of the result with its interval."""
    if facts["importance"] is None:
        return None
    found: Sequence[Facts] = [h for h in facts["importance"]["hyperparameters"] if h["varied"]][::-1]
    data = [{
        "type": "bar", "orientation": "h", "y": [f"{h['name']} (tier {h['tier']})" for h in found],
        "x": [h["share"] for h in found], "marker": {"color": [colour(h["tier"]) for h in found]},
        "error_x": {"type": "data", "symmetric": False, "array": [h["high"] - h["share"] for h in found],
                    "arrayminus": [h["share"] - h["low"] for h in found]},
    }]  # fmt: skip
    axis = {"tickformat": ".0%", "title": {"text": "share of the result, 90 % interval"}, "range": [0, 1]}
    return {"data": data, "layout": {"xaxis": axis, "yaxis": {"automargin": True}}}


def parallel_coordinates(facts: Facts) -> Facts | None:
    """Return every trial as a line through its values, on the scales that were searched."""
    names = [h["name"] for h in facts["hyperparameters"]]
    whole = [t for t in facts["trials"] if t["value"] is not None and not t["violated"]]
    there = [t for t in whole if set(names) <= t["units"].keys()]
    if len(there) > _LINES:
        there = best_first(facts)[:_LINES]
    if not there:
        return None
    values = [t["value"] for t in there]
    dimensions = [_dimension(name, there) for name in names]
    dimensions.append({"label": facts["study"]["metric"], "values": values})
    line = {"color": values, "colorscale": "Viridis", "reversescale": facts["study"]["direction"] == "minimize",
            "showscale": True}  # fmt: skip
    return {"data": [{"type": "parcoords", "line": line, "dimensions": dimensions}],
            "layout": {"margin": {"t": 60, "l": 70, "r": 40}}}  # fmt: skip


def _dimension(name: str, trials: Sequence[Facts]) -> Facts:
    """Return an axis of places on the unit interval that shows the values that stand there."""
    at = sorted({(t["units"][name], t["hyperparameters"][name]) for t in trials})
    ticks = at[:: max(1, len(at) // 6)]
    shown = [f"{value:.3g}" if isinstance(value, float) else str(value) for _, value in ticks]
    return {"label": name, "range": [0, 1], "values": [t["units"][name] for t in trials],
            "tickvals": [unit for unit, _ in ticks], "ticktext": shown}  # fmt: skip
