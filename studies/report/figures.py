"""A report's figures as plotly's plain JSON: traces and layouts. What they show stands in studies/report/facts.py."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from studies.report.answers import Facts, best_first
from studies.report.look import FADED, TIER_COLOURS, WINNER, colour, good_range, value_title
from studies.report.space import hyperparameters, importance, parallel_coordinates

_LINE = 1.2
_CURVES, _BEST_CURVES = 300, 150  # that can be told apart in one figure; of more, the best ones and some others
_TOP = 5
_LOST = ("lease expired", "worker died", "abandoned")  # the events

Figure = dict[str, Any]


def figures(facts: Facts) -> dict[str, Figure]:
    """Return the figures of a study by name, those for which there is something to show."""
    if not any(t["curve"] for t in facts["trials"]):
        return {}
    found = {
        "curves": _curves(facts),
        "train against validation": _losses(facts),
        "hyperparameters": hyperparameters(facts),
        "best so far": _best_so_far(facts),
        "importance": importance(facts),
        "parallel coordinates": parallel_coordinates(facts),
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


def _ending(t: Facts) -> str:
    return str(t["violated"] or t["state"]).replace("_", " ")


def _curves(facts: Facts) -> Figure:
    winner = facts["winner"] and facts["winner"]["trial"]
    drawn = [t for t in thinned(facts) if t["trial"] != winner]
    data = []
    for tier in sorted({t["tier"] for t in drawn}):
        of_tier = [t for t in drawn if t["tier"] == tier]
        for state in sorted({_ending(t) for t in of_tier}):
            data.append({
                "type": "scatter", "mode": "lines", "name": f"tier {tier}, {state}",
                "line": {"color": colour(tier), "width": _LINE}, "opacity": 1.0 if state == "complete" else FADED,
                "hovertemplate": "%{text}<br>epoch %{x}: %{y:.4f}<extra></extra>",
                **_joined([t for t in of_tier if _ending(t) == state]),
            })  # fmt: skip
    if winner is not None:
        data.append({"type": "scatter", "mode": "lines", "name": f"winner: trial {winner}",
                     "line": {"color": WINNER, "width": 3}, **_joined([facts["trials"][winner]])})  # fmt: skip
    ends = [value for t in best_first(facts) for _, value in t["curve"][1:] if value is not None]
    yaxis = {"title": {"text": value_title(facts)}, **good_range(facts, ends)}
    return {"data": data, "layout": {"xaxis": {"title": {"text": "epoch"}}, "yaxis": yaxis}}


def _losses(facts: Facts) -> Figure | None:
    data = []
    for place, t in enumerate(best_first(facts)[:_TOP]):
        epochs = [epoch for epoch, _ in t["curve"]]
        for name, at, dash in (("training", 0, "dot"), ("validation", 1, "solid")):
            data.append({
                "type": "scatter", "mode": "lines", "name": f"trial {t['trial']}, {name}", "x": epochs,
                "y": [losses[at] for losses in t["losses"]],
                "line": {"dash": dash, "color": (WINNER, *TIER_COLOURS)[place % 5]},
            })  # fmt: skip
    layout = {"xaxis": {"title": {"text": "epoch"}}, "yaxis": {"title": {"text": "loss"}, "type": "log"}}
    return {"data": data, "layout": layout} if data else None


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
        data.append({"type": "scatter", "mode": "lines", "line": {"shape": "hv", "color": WINNER},
                     "x": [step[place] for step in steps], "y": [step[3] for step in steps],
                     "xaxis": f"x{axis}", "yaxis": f"y{axis}"})  # fmt: skip
        layout[f"xaxis{axis}"] = {"title": {"text": title}}
        layout[f"yaxis{axis}"] = {"title": {"text": "best value so far"} if not place else {"text": ""}}
    for tier in sorted({t["tier"] for t in facts["trials"]}):
        numbers = [t["trial"] for t in facts["trials"] if t["tier"] == tier]
        layout["shapes"].append({"type": "rect", "xref": "x", "yref": "y domain", "x0": min(numbers) + 0.5,
                                 "x1": max(numbers) + 1.5, "y0": 0, "y1": 1, "fillcolor": colour(tier),
                                 "opacity": 0.1, "line": {"width": 0}})  # fmt: skip
    return {"data": data, "layout": layout}


def _timeline(facts: Facts) -> Figure:
    data = []
    for state, opacity in (("complete", 1.0), ("pruned", 0.4), ("fail", 0.4), ("running", 0.7)):
        there = [t for t in facts["trials"] if t["state"] == state and t["began"] is not None]
        if there:
            ends = [t["ended"] if t["ended"] is not None else facts["now"] for t in there]
            data.append({
                "type": "bar", "orientation": "h", "name": state, "base": [t["began"] for t in there],
                "x": [max(end - t["began"], 0.0) for t, end in zip(there, ends, strict=True)],
                "y": [t["worker"] or "?" for t in there], "text": [f"trial {t['trial']}" for t in there],
                "hovertemplate": "%{text}: %{base:.1f} s, for %{x:.1f} s<extra></extra>", "textposition": "none",
                "marker": {"color": [colour(t["tier"]) for t in there], "opacity": opacity,
                           "line": {"width": 0.5, "color": "white"}},
            })  # fmt: skip
    lost = [e for e in facts["events"] if e["trial"] is not None and e["kind"] in _LOST]
    workers = {t["trial"]: t["worker"] or "?" for t in facts["trials"]}
    if lost:
        data.append({
            "type": "scatter", "mode": "markers", "name": "lost, or taken over", "x": [e["at"] for e in lost],
            "y": [workers.get(e["trial"], "?") for e in lost], "text": [f"trial {e['trial']}" for e in lost],
            "marker": {"symbol": "x", "size": 10, "color": WINNER},
        })  # fmt: skip
    axes = {"xaxis": {"title": {"text": "seconds since the first trial"}},
            "yaxis": {"automargin": True, "type": "category"}}  # fmt: skip
    return {"data": data, "layout": {"barmode": "overlay", **axes}}
