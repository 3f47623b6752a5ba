"""The life of a panda in pictures: its curves with the nudges on them, and the tree of its days."""

from __future__ import annotations

from typing import Any

from caviar.studies.results.report.style import FADED, TIER_COLOURS, WINNER, good_range

Facts = dict[str, Any]


def panda_figures(facts: Facts) -> dict[str, Facts]:
    """Return the figures of a panda's journal, by name, as plotly's JSON."""
    return {
        "curves": _curves(facts, "curve", f"validation {facts['metric']}", nudges=True),
        "losses": _losses(facts),
        "tree": _tree(facts),
    }


def _line(facts: Facts, day: Facts, of: str) -> tuple[list[int], list[float | None]]:
    """Return a day's curve, from the last point of the day that it builds on."""
    x, y = list(day["epochs"]), list(day[of])
    if day["parent"] is not None:
        parent = facts["days"][day["parent"]]
        x, y = [*parent["epochs"][-1:], *x], [*parent[of][-1:], *y]
    return x, y


def _colour(day: Facts) -> str:
    return WINNER if day["current"] else TIER_COLOURS[(day["branch"] - 1) % len(TIER_COLOURS)]


def _curves(facts: Facts, of: str, title: str, *, nudges: bool, dash: str = "solid") -> Facts:
    data = []
    for day in facts["days"]:
        x, y = _line(facts, day, of)
        name = f"{'look' if day['look'] else 'day'} {day['day']}"
        data.append({
            "type": "scatter", "mode": "lines+markers", "name": name, "x": x, "y": y, "showlegend": False,
            "line": {"color": _colour(day), "dash": dash}, "marker": {"size": 4},
            "opacity": 1 if day["current"] else FADED * 2,
            "hovertemplate": f"{name}, epoch %{{x}}: %{{y:.4f}}<extra></extra>",
        })  # fmt: skip
    if nudges:
        data.append(_nudges(facts, of))
    values = [value for day in facts["days"] for value in day[of] if value is not None]
    axis = {"title": {"text": title}, **good_range(values, maximize=facts["direction"] == "maximize")}
    return {"data": data, "layout": {"xaxis": {"title": {"text": "epoch"}}, "yaxis": axis}}


def _nudges(facts: Facts, of: str) -> Facts:
    """Return what was changed, as marks on the curve."""
    x, y, told = [], [], []
    for day in facts["days"]:
        epochs, values = _line(facts, day, of)
        for nudge in day["nudges"]:
            if nudge["epoch"] in epochs:
                x.append(nudge["epoch"])
                y.append(values[epochs.index(nudge["epoch"])])
                settings = ", ".join(f"{name} {value:g}" for name, value in nudge["settings"].items())
                told.append(f"{settings}{': ' + nudge['why'] if nudge['why'] else ''}")
    return {
        "type": "scatter", "mode": "markers", "name": "nudges", "x": x, "y": y, "text": told, "showlegend": bool(x),
        "marker": {"symbol": "triangle-down", "size": 12, "color": "#999999", "line": {"width": 1}},
        "hovertemplate": "%{text}<extra>nudge</extra>",
    }  # fmt: skip


def _losses(facts: Facts) -> Facts:
    training = _curves(facts, "training_loss", "loss", nudges=False, dash="dot")
    validation = _curves(facts, "validation_loss", "loss", nudges=False)
    layout = {
        **training["layout"],
        "yaxis": {"title": {"text": "training (dotted) and validation loss"}, "type": "log"},
    }
    return {"data": [*training["data"], *validation["data"]], "layout": layout}


def _tree(facts: Facts) -> Facts:
    """Draw each day where it ends, on the row of its branch, with a line from the day that it builds on."""
    data, days = [], facts["days"]
    for day in days:
        if day["parent"] is None:
            continue
        parent = days[day["parent"]]
        data.append({
            "type": "scatter", "mode": "lines", "x": [parent["epoch"], day["epoch"]],
            "y": [-parent["branch"], -day["branch"]], "hoverinfo": "skip", "showlegend": False,
            "line": {"color": _colour(day), "width": 3 if day["current"] else 1},
        })  # fmt: skip
    last = [day["curve"][-1] if day["curve"] else None for day in days]
    data.append({
        "type": "scatter", "mode": "markers+text", "name": "days", "showlegend": False,
        "x": [day["epoch"] for day in days], "y": [-day["branch"] for day in days],
        "text": [str(day["day"]) for day in days], "textposition": "top center",
        "customdata": [
            f"{day['verdict']['word']}{'' if value is None else f', {value:.4f}'}"
            for day, value in zip(days, last, strict=True)
        ],
        "marker": {"size": 14, "color": [_colour(day) for day in days]},
        "hovertemplate": "day %{text}: %{customdata}<extra></extra>",
    })  # fmt: skip
    y = {"visible": False, "range": [-_rows(facts), 1]}
    layout = {"xaxis": {"title": {"text": "epoch"}}, "yaxis": y, "height": 160 + 40 * _rows(facts)}
    return {"data": data, "layout": layout}


def _rows(facts: Facts) -> int:
    return 1 + max(int(day["branch"]) for day in facts["days"])
