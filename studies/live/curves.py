"""The figures of a live page, as plotly's JSON: the running trials' curves, and the best value as trials ended."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from caviar.storage.snapshot import Snapshot
from caviar.studies.definition import Study
from caviar.studies.results.report.style import WINNER, colour, good_range

Figure = dict[str, Any]  # plotly's JSON


def running_curves(study: Study, snapshot: Snapshot, best: Sequence[float | None]) -> Figure:
    """Draw the curve of each running trial, with its number at the end, beside that of the best complete one."""
    tiers = {r.trial: r.tier for r in snapshot.progress.running}
    data = [_line("the best trial", best, WINNER, "dot")] if best else []
    for trial, curve in snapshot.curves.items():
        data.append(_line(f"trial {trial}", curve, colour(tiers.get(trial, 1))))
        data.append({
            "mode": "markers+text", "name": f"trial {trial}", "x": [len(curve)], "y": [curve[-1]], "text": [str(trial)],
            "marker": {"size": 6, "color": colour(tiers.get(trial, 1))},
        })  # fmt: skip
    values = [y for trace in data for y in trace["y"] if y is not None]
    axis = good_range(values, maximize=study.maximize)
    return {"data": data, "layout": {"xaxis": {"title": {"text": "epoch"}}, "yaxis": axis}}


def trail(snapshot: Snapshot) -> Figure:
    """Draw the best value so far, over the trials in the order in which they ended."""
    values, ended = snapshot.trail, snapshot.progress.done
    line = {
        "mode": "lines", "x": [round((place + 1) * ended / len(values)) for place in range(len(values))],
        "y": list(values), "line": {"color": WINNER, "shape": "hv", "width": 2},
    }  # fmt: skip
    return {"data": [line], "layout": {"xaxis": {"title": {"text": "trials that have ended"}}, "yaxis": {}}}


def _line(name: str, curve: Sequence[float | None], of_colour: str, dash: str = "solid") -> Figure:
    return {"mode": "lines", "name": name, "x": list(range(1, len(curve) + 1)), "y": list(curve),
            "line": {"color": of_colour, "dash": dash, "width": 2}}  # fmt: skip
