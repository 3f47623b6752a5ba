"""A report's figures as plotly's plain JSON: traces and layouts. What they show stands in studies/report/facts.py.

Colours are of the tiers, the same in every figure; they can be told apart by colour-blind people (Okabe and Ito,
https://jfly.uni-koeln.de/color).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from studies.report.answers import Facts, best_first

TIER_COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7")
_WINNER = "#D55E00"
_FADED, _LINE = 0.25, 1.2
_CURVES, _BEST_CURVES = 300, 150  # that can be told apart in one figure; of more, the best ones and some others
_TOP, _FEW = 5, 10
_LOST = ("lease expired", "worker died", "abandoned")  # the events

Figure = dict[str, Any]


def figures(facts: Facts) -> dict[str, Figure]:
    """Return the figures of a study by name, those for which there is something to show."""
    if not any(t["curve"] for t in facts["trials"]):
        return {}
    found = {
        "curves": _curves(facts),
        "train against validation": _losses(facts),
        "hyperparameters": _hyperparameters(facts),
        "best so far": _best_so_far(facts),
        "importance": _importance(facts),
        "parallel coordinates": _parallel(facts),
        "timeline": _timeline(facts),
    }
    return {name: figure for name, figure in found.items() if figure is not None}


def thinned(facts: Facts) -> list[Facts]:
    """Return the trials whose curves are drawn: the best ones, and some of the others, evenly over time."""
    drawn = [t for t in facts["trials"] if t["curve"]]
    if len(drawn) <= _CURVES:
        return drawn
    best = {t["trial"] for t in best_first(facts)[:_BEST_CURVES]}
    others = [t for t in drawn if t["trial"] not in best]
    step = -(-len(others) // (_CURVES - len(best)))
    kept = best | {t["trial"] for t in others[::step]}
    return [t for t in drawn if t["trial"] in kept]


def _colour(tier: int) -> str:
    return TIER_COLOURS[(tier - 1) % len(TIER_COLOURS)]


def _range(facts: Facts, values: Sequence[float]) -> Facts:
    """Return an axis' range that leaves the worst tenth of values out: good ones could not be told apart beside them. A
    double click shows all."""
    if len(values) < _FEW:
        return {}
    ordered = sorted(values, reverse=facts["study"]["direction"] == "minimize")  # the worst one first
    worst, best = ordered[len(ordered) // 10], ordered[-1]
    pad = 0.05 * (best - worst)
    return {"range": sorted([worst - pad, best + pad])} if worst != best else {}


def _value(facts: Facts) -> str:
    return f"validation {facts['study']['metric']}"


def _joined(trials: Iterable[Facts]) -> dict[str, list[Any]]:
    """Return the curves of several trials as one line with gaps, which a browser draws much faster than many."""
    x: list[Any] = []
    y: list[Any] = []
    text: list[str] = []
    for t in trials:
        for epoch, value in t["curve"]:
            x.append(epoch)
            y.append(value)
            text.append(f"trial {t['trial']}")
        x.append(None)
        y.append(None)
        text.append("")
    return {"x": x, "y": y, "text": text}


def _curves(facts: Facts) -> Figure:
    winner = facts["winner"] and facts["winner"]["trial"]
    drawn = [t for t in thinned(facts) if t["trial"] != winner]
    data = []
    for tier in sorted({t["tier"] for t in drawn}):
        for state, faded in (("pruned", True), ("complete", False)):
            group = [t for t in drawn if t["tier"] == tier and (t["state"] == "pruned") is faded]
            if group:
                data.append({
                    "type": "scatter", "mode": "lines", "name": f"tier {tier}, {state if faded else 'trained'}",
                    "line": {"color": _colour(tier), "width": _LINE}, "opacity": _FADED if faded else 1.0,
                    "hovertemplate": "%{text}<br>epoch %{x}: %{y:.4f}<extra></extra>", **_joined(group),
                })  # fmt: skip
    if winner is not None:
        data.append({"type": "scatter", "mode": "lines", "name": f"winner: trial {winner}",
                     "line": {"color": _WINNER, "width": 3}, **_joined([facts["trials"][winner]])})  # fmt: skip
    ends = [value for t in best_first(facts) for _, value in t["curve"][1:] if value is not None]
    yaxis = {"title": {"text": _value(facts)}, **_range(facts, ends)}
    return {"data": data, "layout": {"xaxis": {"title": {"text": "epoch"}}, "yaxis": yaxis}}


def _losses(facts: Facts) -> Figure | None:
    data = []
    for place, t in enumerate(best_first(facts)[:_TOP]):
        epochs = [epoch for epoch, _ in t["curve"]]
        for name, at, dash in (("training", 0, "dot"), ("validation", 1, "solid")):
            data.append({
                "type": "scatter", "mode": "lines", "name": f"trial {t['trial']}, {name}", "x": epochs,
                "y": [losses[at] for losses in t["losses"]],
                "line": {"dash": dash, "color": (_WINNER, *TIER_COLOURS)[place % 5]},
            })  # fmt: skip
    layout = {"xaxis": {"title": {"text": "epoch"}}, "yaxis": {"title": {"text": "loss"}, "type": "log"}}
    return {"data": data, "layout": layout} if data else None


def _hyperparameters(facts: Facts) -> Figure:
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
            "text": [f"trial {t['trial']}, {h['name']} {t['hyperparameters'][h['name']]:.4g}"
                     if isinstance(t["hyperparameters"][h["name"]], float) else f"trial {t['trial']}" for t in there],
            "hovertemplate": "%{text}<br>%{y:.4f}<extra></extra>",
            "marker": {"size": 6, "color": [_colour(t["tier"]) for t in there],
                       "opacity": [_FADED if t["state"] == "pruned" else 0.9 for t in there]},
        })  # fmt: skip
        title = f"1 − {h['name']}" if complement else h["name"]
        kind = {"log": "log", "log_one_minus": "log", "powers_of_two": "log", "choice": "category"}.get(h["kind"])
        layout[f"xaxis{place}" if place > 1 else "xaxis"] = {
            "title": {"text": title}, **({"type": kind} if kind else {}),
            **({"autorange": "reversed"} if complement else {}),
        }  # fmt: skip
        yaxis = {"title": {"text": _value(facts)}, **_range(facts, [t["value"] for t in finished])}
        layout[f"yaxis{place}" if place > 1 else "yaxis"] = yaxis
        shapes += [_box(h, t, x, y) for t in facts["trials"] if t["zoom"] and h["name"] in t["zoom"]]
    layout["shapes"] = shapes
    layout["height"] = 280 * -(-len(facts["hyperparameters"]) // 2)
    return {"data": data, "layout": layout}


def _box(h: Facts, t: Facts, x: str, y: str) -> Facts:
    low, high = t["zoom"][h["name"]]
    return {"type": "rect", "xref": x, "yref": f"{y} domain", "x0": _shown(h, low), "x1": _shown(h, high),
            "y0": 0, "y1": 1, "fillcolor": _colour(t["tier"]), "opacity": 0.05, "line": {"width": 0}}  # fmt: skip


def _shown(h: Facts, value: Any) -> Any:
    """Return a value on the axis of its scale; a decay of 0 where its decade begins."""
    if h["kind"] == "log_one_minus":
        return round(1 - value, 12)
    if h["kind"] == "log" and value == 0:
        return h["low"] / 10
    return value


def _best_so_far(facts: Facts) -> Figure:
    """Over trials, epochs and time; the tiers are shaded over trials."""
    sign = 1 if facts["study"]["direction"] == "maximize" else -1
    ended = sorted((t for t in facts["trials"] if t["ended"] is not None), key=lambda t: t["ended"])
    best: float | None = None
    epochs, steps = 0, []
    for count, t in enumerate(ended, start=1):
        epochs += t["epochs"]
        if t["state"] == "complete" and not t["violated"] and t["value"] is not None:
            best = t["value"] if best is None else sign * max(sign * best, sign * t["value"])
        steps.append((count, epochs, t["ended"], best))
    layout: Facts = {"grid": {"columns": 3, "rows": 1, "pattern": "independent"}, "showlegend": False, "shapes": []}
    data = []
    for place, title in enumerate(("trials", "epochs", "seconds")):
        axis = str(place + 1) if place else ""
        data.append({"type": "scatter", "mode": "lines", "line": {"shape": "hv", "color": _WINNER},
                     "x": [step[place] for step in steps], "y": [step[3] for step in steps],
                     "xaxis": f"x{axis}", "yaxis": f"y{axis}"})  # fmt: skip
        layout[f"xaxis{axis}"] = {"title": {"text": title}}
        layout[f"yaxis{axis}"] = {"title": {"text": "best value so far"} if not place else {"text": ""}}
    for tier in sorted({t["tier"] for t in facts["trials"]}):
        numbers = [t["trial"] for t in facts["trials"] if t["tier"] == tier]
        layout["shapes"].append({"type": "rect", "xref": "x", "yref": "y domain", "x0": min(numbers) + 0.5,
                                 "x1": max(numbers) + 1.5, "y0": 0, "y1": 1, "fillcolor": _colour(tier),
                                 "opacity": 0.1, "line": {"width": 0}})  # fmt: skip
    return {"data": data, "layout": layout}


def _importance(facts: Facts) -> Figure | None:
    if facts["importance"] is None:
        return None
    found: Sequence[Facts] = [h for h in facts["importance"]["hyperparameters"] if h["varied"]][::-1]
    data = [{
        "type": "bar", "orientation": "h", "y": [f"{h['name']} (tier {h['tier']})" for h in found],
        "x": [h["share"] for h in found], "marker": {"color": [_colour(h["tier"]) for h in found]},
        "error_x": {"type": "data", "symmetric": False, "array": [h["high"] - h["share"] for h in found],
                    "arrayminus": [h["share"] - h["low"] for h in found]},
    }]  # fmt: skip
    axis = {"tickformat": ".0%", "title": {"text": "share of the result, 90 % interval"}, "range": [0, 1]}
    return {"data": data, "layout": {"xaxis": axis, "yaxis": {"automargin": True}}}


def _parallel(facts: Facts) -> Figure | None:
    names = [h["name"] for h in facts["hyperparameters"]]
    there = [
        t for t in facts["trials"] if t["value"] is not None and not t["violated"] and set(names) <= t["units"].keys()
    ]
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


def _timeline(facts: Facts) -> Figure:
    data = []
    for state, opacity in (("complete", 1.0), ("pruned", 0.4), ("fail", 0.4), ("running", 0.7)):
        there = [t for t in facts["trials"] if t["state"] == state and t["began"] is not None]
        if there:
            ends = [t["ended"] if t["ended"] is not None else facts["cost"]["wall_seconds"] for t in there]
            data.append({
                "type": "bar", "orientation": "h", "name": state, "base": [t["began"] for t in there],
                "x": [max(end - t["began"], 0.0) for t, end in zip(there, ends, strict=True)],
                "y": [t["worker"] or "?" for t in there], "text": [f"trial {t['trial']}" for t in there],
                "hovertemplate": "%{text}: %{base:.1f} s, for %{x:.1f} s<extra></extra>", "textposition": "none",
                "marker": {"color": [_colour(t["tier"]) for t in there], "opacity": opacity,
                           "line": {"width": 0.5, "color": "white"}},
            })  # fmt: skip
    lost = [e for e in facts["events"] if e["trial"] is not None and e["kind"] in _LOST]
    workers = {t["trial"]: t["worker"] or "?" for t in facts["trials"]}
    if lost:
        data.append({
            "type": "scatter", "mode": "markers", "name": "lost, or taken over", "x": [e["at"] for e in lost],
            "y": [workers.get(e["trial"], "?") for e in lost], "text": [f"trial {e['trial']}" for e in lost],
            "marker": {"symbol": "x", "size": 10, "color": _WINNER},
        })  # fmt: skip
    axes = {"xaxis": {"title": {"text": "seconds since the first trial"}},
            "yaxis": {"automargin": True, "type": "category"}}  # fmt: skip
    return {"data": data, "layout": {"barmode": "overlay", **axes}}
