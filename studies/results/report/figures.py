"""Draw the figures of a report as plotly JSON: traces and layouts. No plotting library is imported."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import Any

from caviar.storage.states import TrialState
from caviar.studies.results.report.holdings import LOST, TAKEN, holdings
from caviar.studies.results.report.panels import hyperparameters
from caviar.studies.results.report.records import Report, ReportedTrial
from caviar.studies.results.report.space import Figure, importance, parallel_coordinates
from caviar.studies.results.report.style import FADED, TIER_COLOURS, WINNER, colour, good_range

_LINE = 1.2
_CURVES, _BEST_CURVES = 300, 150  # that can be told apart in one figure; of more, the best ones and some others
_TOP = 5
_COLUMNS, _PANELS = 3, 12  # panels beside one another, and panels in all, of other metrics
_NARROW_ROW = 260  # pixels of each of several panels below one another
_LEAST = 380  # pixels of a figure, as page.css has it
_ENDS = {  # of a bar of the timeline: how opaque, which pattern
    TrialState.COMPLETE: (1.0, ""), TrialState.PRUNED: (0.4, ""), TrialState.FAIL: (0.4, ""),
    TrialState.RUNNING: (0.7, ""), TrialState.INTERRUPTED: (0.4, "."), "given back": (0.4, "."), "lost": (0.4, "/"),
    TrialState.ENDED_ELSEWHERE: (0.4, "x"),
}  # fmt: skip


def figures(report: Report) -> dict[str, Figure]:
    """Return the figures of a study by name, those for which there is something to show."""
    if not any(t.curve for t in report.trials):
        return {}
    drawn = {
        "curves": _curves(report),
        "train against validation": _losses(report),
        "other metrics": _other_metrics(report),
        "hyperparameters": hyperparameters(report),
        "best so far": _best_so_far(report),
        "importance": importance(report),
        "parallel coordinates": parallel_coordinates(report),
        "timeline": _timeline(report),
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
    data = []
    for tier in sorted({t.tier for t in drawn}):
        of_tier = [t for t in drawn if t.tier == tier]
        for state in sorted({t.ending for t in of_tier}):
            data.append({
                "type": "scatter", "mode": "lines", "name": f"tier {tier}, {state}",
                "opacity": 1.0 if state == TrialState.COMPLETE else FADED,
                "line": {"color": colour(tier), "width": _LINE},
                "hovertemplate": "%{text}<br>epoch %{x}: %{y:.5g}<extra></extra>",
                **_joined([t for t in of_tier if t.ending == state]),
            })  # fmt: skip
    if winner is not None:
        data.append({"type": "scatter", "mode": "lines", "name": f"winner: trial {winner}",
                     "line": {"color": WINNER, "width": 3}, **_joined([report.trials[winner]])})  # fmt: skip
    ends = [value for t in report.best_first() for _, value in t.curve[1:] if value is not None]
    yaxis = {"title": {"text": report.study.metric}, **good_range(ends, maximize=report.study.maximize)}
    return {"data": data, "layout": {"xaxis": {"title": {"text": "epoch"}}, "yaxis": yaxis}}


def _losses(report: Report) -> Figure | None:
    if report.losses is None:
        return None
    data = [
        {"name": f"trial {t.trial}, {name}", **_line(t, metric, place, dash)}
        for place, t in enumerate(report.best_first()[:_TOP])
        for name, metric, dash in zip(("training", "validation"), report.losses, ("dot", "solid"), strict=True)
    ]
    positive = all(value > 0 for line in data for value in line["y"] if value is not None)
    yaxis = {"title": {"text": "loss"}, **({"type": "log"} if positive else {})}
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


def _best_so_far(report: Report) -> Figure:
    """Draw the best value over trials as they ended, epochs and time, each with the tiers shaded."""
    better = max if report.study.maximize else min
    ended = sorted((t for t in report.trials if t.ended is not None), key=lambda t: t.ended or 0.0)
    best: float | None = None
    epochs = 0
    steps: list[tuple[Any, ...]] = []
    for count, t in enumerate(ended, start=1):
        epochs += t.epochs
        if t.state == TrialState.COMPLETE and not t.violated and t.value is not None:
            best = t.value if best is None else better(best, t.value)
        steps.append((count, epochs, t.ended, best, t.tier))
    layout: Figure = {"grid": {"columns": 3, "rows": 1, "pattern": "independent"}, "showlegend": False, "shapes": []}
    data = []
    for place, title in enumerate(("trials", "epochs", "seconds")):
        axis = str(place + 1) if place else ""
        data.append({"type": "scatter", "mode": "lines", "line": {"shape": "hv", "color": WINNER},
                     "x": [step[place] for step in steps], "y": [step[3] for step in steps],
                     "xaxis": f"x{axis}", "yaxis": f"y{axis}"})  # fmt: skip
        layout[f"xaxis{axis}"] = {"title": {"text": title}}
        layout[f"yaxis{axis}"] = {"title": {"text": "best value so far"} if not place else {"text": ""}}
        layout["shapes"] += [
            {"type": "rect", "xref": f"x{axis}", "yref": f"y{axis} domain", "x0": begin, "x1": end, "y0": 0, "y1": 1,
             "fillcolor": colour(tier), "opacity": 0.1, "line": {"width": 0}}
            for tier, begin, end in _stretches([(step[place], step[4]) for step in steps])
        ]  # fmt: skip
    narrow = {"grid": {"columns": 1, "rows": 3, "pattern": "independent"}, "height": _NARROW_ROW * 3}
    return {"data": data, "layout": layout, "narrow": narrow}


def _stretches(steps: Sequence[tuple[float, int]]) -> Iterator[tuple[int, float, float]]:
    """Yield tier, begin and end of each stretch of an axis in which only trials of one tier ended.

    A step is the place on the axis where a trial ended, and its tier.
    """
    begin = 0.0
    for tier, of_tier in groupby(steps, key=lambda step: step[1]):
        *_, (end, _) = of_tier
        yield tier, begin, end
        begin = end


def _timeline(report: Report) -> Figure:
    """Draw a bar for each time that a worker held a trial, and marks where trials were lost and taken over."""
    data: list[Figure] = []
    held = holdings(report.trials, report.events, report.now)
    tiers = {t.trial: t.tier for t in report.trials}
    for end, (opacity, pattern) in _ENDS.items():
        there = [holding for holding in held if holding.end == end]
        if there:
            data.append({
                "type": "bar", "orientation": "h", "name": end, "base": [holding.began for holding in there],
                "x": [max(holding.ended - holding.began, 0.0) for holding in there],
                "y": [holding.worker or "?" for holding in there],
                "text": [f"trial {holding.trial}" for holding in there],
                "hovertemplate": "%{text}: %{base:.1f} s, for %{x:.1f} s<extra></extra>", "textposition": "none",
                "marker": {"color": [colour(tiers[holding.trial]) for holding in there], "opacity": opacity,
                           "pattern": {"shape": pattern}, "line": {"width": 0.5, "color": "white"}},
            })  # fmt: skip
    for name, kinds, symbol in (("lost", LOST, "x"), ("taken over", TAKEN, "triangle-right")):
        marks = [e for e in report.events if e.trial is not None and e.kind in kinds]
        if marks:
            data.append({
                "type": "scatter", "mode": "markers", "name": name, "x": [e.at for e in marks],
                "y": [e.worker or "?" for e in marks], "text": [f"trial {e.trial}: {e.kind}" for e in marks],
                "hovertemplate": "%{text}, %{x:.1f} s<extra></extra>",
                "marker": {"symbol": symbol, "size": 10, "color": WINNER, "line": {"width": 1, "color": "white"}},
            })  # fmt: skip
    axes = {"xaxis": {"title": {"text": "seconds since the first trial"}},
            "yaxis": {"automargin": True, "type": "category"}}  # fmt: skip
    return {"data": data, "layout": {"barmode": "overlay", **axes}}
