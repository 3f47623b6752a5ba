"""Draw a comparison as plotly JSON: the best values so far, by trials and by the time of devices, and the winners."""

from __future__ import annotations

from typing import Any

from caviar.studies.results.compare.records import BestAt, StudyComparison
from caviar.studies.results.formatting import duration
from caviar.studies.results.report.style import NEUTRAL, TIER_COLOURS, WINNER
from caviar.studies.results.report.timeline import time_axis

_COLOURS = (TIER_COLOURS[0], WINNER, TIER_COLOURS[2], TIER_COLOURS[3], TIER_COLOURS[1], NEUTRAL)
_DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")
_SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "x")
_BELOW = 3.0  # times from the best to the worst of the final values, that a picture goes below the latter
_PAD = 0.06  # of the range
_ROW, _AROUND, _LEAST = 50, 120, 380  # pixels of each winner, of the axis, and of a figure, as page.css has it

Figure = dict[str, Any]  # plotly's JSON


def figures(of: StudyComparison) -> dict[str, Figure]:
    """Return the figures by name, those for which there is something to show."""
    if not any(study.best for study in of.studies):
        return {}
    last = max(study.best[-1].device_seconds for study in of.studies if study.best)
    return {
        "by trials": _best(of, "trials", {"title": {"text": "trials that have ended"}}),
        "by time": _best(of, "device_seconds", time_axis(last, "of devices, all together")),
        "winners": _winners(of),
    }


def floor(of: StudyComparison) -> float | None:
    """Return the worst value that a picture of the best values so far shows; None where all studies end alike.

    The first values of a search are far below the last ones, which are to be compared.
    """
    ends = [study.best[-1].value for study in of.studies if study.best]
    starts = [study.best[0].value for study in of.studies if study.best]
    better, worse = (max, min) if of.maximize else (min, max)
    best, worst, first = better(ends), worse(ends), worse(starts)
    if best == worst:
        return None if best == first else first
    return better(worst - _BELOW * (best - worst), first)


def _best(of: StudyComparison, x: str, axis: Figure) -> Figure:
    data = []
    for place, study in enumerate(of.studies):
        if study.best:
            data.append(
                {
                    "type": "scatter", "mode": "lines+markers", "name": study.name,
                    "x": [getattr(at, x) for at in study.best], "y": [at.value for at in study.best],
                    "customdata": [_hover(at) for at in study.best],
                    "hovertemplate": "%{y:.5g}<br>%{customdata}<extra>%{fullData.name}</extra>",
                    "line": {"shape": "hv", "width": 2.5, "color": _COLOURS[place % len(_COLOURS)],
                             "dash": _DASHES[place % len(_DASHES)]},
                    "marker": {"size": 7, "symbol": _SYMBOLS[place % len(_SYMBOLS)]},
                }
            )  # fmt: skip
    shapes = []
    if of.common is not None:
        shapes.append({"type": "line", "xref": "x domain", "x0": 0, "x1": 1, "y0": of.common, "y1": of.common,
                       "line": {"color": NEUTRAL, "dash": "dot", "width": 1.5}})  # fmt: skip
    yaxis: Figure = {"title": {"text": of.metric}, "zeroline": False}
    if (lowest := floor(of)) is not None:
        best = (max if of.maximize else min)(study.best[-1].value for study in of.studies if study.best)
        pad = _PAD * (best - lowest)
        yaxis["range"] = sorted([lowest - pad, best + pad])
    legend = {"orientation": "h", "y": 1.02, "yanchor": "bottom"}
    return {"data": data, "layout": {"xaxis": {"zeroline": False, **axis}, "yaxis": yaxis, "shapes": shapes,
                                     "legend": legend, "margin": {"t": 60, "r": 20}}}  # fmt: skip


def _hover(at: BestAt) -> str:
    return f"after {at.trials} trials, {at.epochs} epochs and {duration(at.device_seconds)} of devices"


def _winners(of: StudyComparison) -> Figure:
    """Draw each winner's mean with its interval, and the value of its own trial."""
    data = []
    for place, study in enumerate(of.studies):
        winner = study.winner
        if winner is None:
            continue
        mean, colour = winner.mean, _COLOURS[place % len(_COLOURS)]
        has_interval = mean.low is not None and mean.high is not None
        bars = {"type": "data", "symmetric": False, "array": [(mean.high or 0.0) - mean.value], "thickness": 2,
                "arrayminus": [mean.value - (mean.low or 0.0)], "color": colour, "width": 8}  # fmt: skip
        if has_interval:
            data.append({
                "type": "scatter", "mode": "markers", "name": f"{study.name}: mean", "x": [mean.value],
                "y": [study.name], "error_x": bars, "hovertemplate": "mean of trainings %{x:.5g}<extra></extra>",
                "marker": {"size": 10, "color": colour, "symbol": _SYMBOLS[place % len(_SYMBOLS)]},
            })  # fmt: skip
        data.append({
            "type": "scatter", "mode": "markers", "name": f"{study.name}: its trial", "x": [winner.value],
            "y": [study.name], "hovertemplate": f"trial {winner.trial}: %{{x:.5g}}<extra></extra>",
            "marker": {"size": 11, "color": colour, "symbol": "star-open", "line": {"width": 1.5}},
        })  # fmt: skip
    height = max(_AROUND + _ROW * len(of.studies), _LEAST)
    return {"data": data, "layout": {
        "showlegend": False, "height": height, "xaxis": {"title": {"text": of.metric}},
        "yaxis": {"automargin": True, "type": "category", "autorange": "reversed"},
    }}  # fmt: skip
