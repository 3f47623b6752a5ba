"""Draw the figures of a report as plotly JSON: traces and layouts. No plotting library is imported."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from caviar.storage.states import TrialState
from caviar.studies.results.report.panels import hyperparameters
from caviar.studies.results.report.progress import best_so_far
from caviar.studies.results.report.records import Report, ReportedTrial
from caviar.studies.results.report.space import Figure, importance, parallel_coordinates
from caviar.studies.results.report.style import NEUTRAL, TIER_COLOURS, WINNER, colour, good_range
from caviar.studies.results.report.timeline import timeline
from caviar.studies.results.report.together import together

_LINE, _THIN = 1.4, 0.8
_CURVES, _BEST_CURVES = 100, 50  # that can be told apart in one figure; of more, the best ones and some others
_END_SYMBOLS: dict[str, str] = {
    TrialState.PRUNED: "x-thin"
}  # where a curve that is not complete ends; a plus where it has no entry
_END = 6.0  # pixels of that
_DECADES = 100  # times the lowest loss: from there on powers of ten are ticks enough
_HOVER = "%{text}<br>epoch %{x}: %{y:.5g}<extra></extra>"
_TOP = 5
_COLUMNS, _PANELS = 3, 12  # panels beside one another, and panels in all, of other metrics
_NARROW_ROW = 260  # pixels of each of several panels below one another
_LEAST = 380  # pixels of a figure, as page.css has it


def figures(report: Report) -> dict[str, Figure]:
    """Return the figures of a study by name, those for which there is something to show."""
    if not any(t.curve for t in report.trials):
        return {}
    drawn = {
        "curves": _curves(report),
        "train against validation": _losses(report),
        "other metrics": _other_metrics(report),
        "hyperparameters": hyperparameters(report),
        "two together": together(report),
        "best so far": best_so_far(report),
        "importance": importance(report),
        "parallel coordinates": parallel_coordinates(report),
        "timeline": timeline(report),
    }
    return {name: figure for name, figure in drawn.items() if figure is not None}


def thinned(report: Report) -> list[ReportedTrial]:
    """Return the trials whose curves are drawn: the best ones, and some of the others, evenly over time."""
    drawn = [t for t in report.trials if t.curve]
    if len(drawn) <= _CURVES:
        return drawn
    best = {t.trial for t in report.best_first()[:_BEST_CURVES]}
    others = [t for t in drawn if t.trial not in best]
    step = -(-len(others) // (_CURVES - len(best)))
    chosen = best | {t.trial for t in others[::step]}
    return [t for t in drawn if t.trial in chosen]


def _joined(trials: Iterable[ReportedTrial]) -> dict[str, list[Any]]:
    """Return the curves of several trials as one line with gaps, which a browser draws much faster than many."""
    x: list[Any] = []
    y: list[Any] = []
    text: list[str] = []
    for t in trials:
        points = [(epoch, value) for epoch, value in t.curve if value is not None]  # an epoch without one is no gap
        x += [*(epoch for epoch, _ in points), None]
        y += [*(value for _, value in points), None]
        text += [f"trial {t.trial}"] * len(points) + [""]
    return {"x": x, "y": y, "text": text}


def _curves(report: Report) -> Figure:
    winner = None if report.winner is None else report.winner.trial
    drawn = [t for t in thinned(report) if t.trial != winner]
    data = [
        {
            "type": "scatter", "mode": "lines", "name": f"tier {tier}, complete",
            "line": {"color": colour(tier), "width": _LINE}, "hovertemplate": _HOVER,
            **_joined([t for t in drawn if t.tier == tier and t.ending == TrialState.COMPLETE]),
        }
        for tier in sorted({t.tier for t in drawn if t.ending == TrialState.COMPLETE})
    ]  # fmt: skip
    for state in sorted({t.ending for t in drawn} - {TrialState.COMPLETE}):
        line = _joined([t for t in drawn if t.ending == state])
        ends = [_END if after is None else 0.0 for after in [*line["y"][1:], None]]
        data.append({
            "type": "scatter", "mode": "lines+markers", "name": state, "line": {"color": NEUTRAL, "width": _THIN},
            "marker": {"symbol": _END_SYMBOLS.get(state, "cross-thin"), "size": ends, "opacity": 1,
                       "line": {"width": 1.5, "color": NEUTRAL}}, "hovertemplate": _HOVER, **line,
        })  # fmt: skip
    if winner is not None:
        data.append({"type": "scatter", "mode": "lines", "name": f"{report.title}: trial {winner}",
                     "line": {"color": WINNER, "width": 3}, **_joined([report.trials[winner]])})  # fmt: skip
    ends = [value for t in report.best_first() for _, value in t.curve[1:] if value is not None]
    yaxis = {"title": {"text": report.study.metric}, **good_range(ends, maximize=report.study.maximize)}
    return {"data": data, "layout": {"xaxis": {"title": {"text": "epoch"}, "zeroline": False}, "yaxis": yaxis}}


def _losses(report: Report) -> Figure | None:
    if report.losses is None:
        return None
    data = [
        {"name": f"trial {t.trial}, {name}", **_line(t, metric, place, dash)}
        for place, t in enumerate(report.best_first()[:_TOP])
        for name, metric, dash in zip(("training", "validation"), report.losses, ("dot", "solid"), strict=True)
    ]
    losses = [value for line in data for value in line["y"] if value is not None]
    yaxis: Figure = {"title": {"text": "loss"}}
    if all(value > 0 for value in losses):
        yaxis |= {"type": "log", "exponentformat": "none"}
        if losses and max(losses) >= _DECADES * min(losses):  # else there would be hardly any tick
            yaxis["dtick"] = 1
    return {"data": data, "layout": {"xaxis": {"title": {"text": "epoch"}}, "yaxis": yaxis}} if data else None


def _other_metrics(report: Report) -> Figure | None:
    """Draw the best trials' curves of everything else that was measured, a panel for each metric."""
    names = [name for name in report.metrics if name not in (report.study.metric, *(report.losses or ()))][:_PANELS]
    rows = -(-len(names) // _COLUMNS)
    grid = {"columns": min(len(names), _COLUMNS), "rows": rows, "pattern": "independent"}
    layout: Figure = {"grid": grid, "showlegend": False, "height": max(_LEAST, _NARROW_ROW * rows)}
    data = []
    for panel, name in enumerate(names):
        axis = str(panel + 1) if panel else ""
        layout |= {f"xaxis{axis}": {"title": {"text": "epoch"}}, f"yaxis{axis}": {"title": {"text": name}}}
        data += [
            {"name": f"trial {t.trial}", "xaxis": f"x{axis}", "yaxis": f"y{axis}", **_line(t, name, place)}
            for place, t in enumerate(report.best_first()[:_TOP])
        ]
    narrow = {"grid": {**grid, "columns": 1, "rows": len(names)}, "height": max(_LEAST, _NARROW_ROW * len(names))}
    return {"data": data, "layout": layout, "narrow": narrow} if data else None


def _line(t: ReportedTrial, metric: str, place: int, dash: str = "solid") -> dict[str, Any]:
    """Return a trial's curve of a metric as a line, in the colour of its place among the best."""
    epochs = [epoch for epoch, _ in t.curve]
    colours = (WINNER, *TIER_COLOURS)
    return {"type": "scatter", "mode": "lines", "x": epochs, "y": list(t.metrics.get(metric, (None,) * len(epochs))),
            "connectgaps": True, "line": {"dash": dash, "color": colours[place % len(colours)]}}  # fmt: skip
