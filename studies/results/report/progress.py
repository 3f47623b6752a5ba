"""Draw how the best value came about: every trial as it ended, and the best one so far."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

from caviar.storage.states import TrialState
from caviar.studies.results.formatting import duration
from caviar.studies.results.report.panels import chosen, legend, marks
from caviar.studies.results.report.records import Report, ReportedTrial
from caviar.studies.results.report.style import WINNER, colour
from caviar.studies.results.report.window import window

Figure = dict[str, Any]  # plotly's JSON


def best_so_far(report: Report) -> Figure | None:
    """Draw the best value over the trials as they ended, with the trials as points and the tiers shaded."""
    shown = window(report)
    if shown is None:
        return None
    better = max if report.study.maximize else min
    ended = sorted((t for t in report.trials if t.ended is not None), key=lambda t: t.ended or 0.0)
    best: float | None = None
    epochs, line, places = 0, list[float | None](), dict[int, tuple[int, int]]()
    for count, t in enumerate(ended, start=1):
        epochs += t.epochs
        places[t.trial] = count, epochs
        if t.state == TrialState.COMPLETE and t.is_sound and t.value is not None:
            best = t.value if best is None else better(best, t.value)
        line.append(best)

    def hover(t: ReportedTrial) -> str:
        return f"after {places[t.trial][1]} epochs and {duration(t.ended or 0.0)} in all"

    points = marks(report, [t for t in chosen(report) if t.trial in places], shown, lambda t: places[t.trial][0], hover)
    steps = {"type": "scatter", "mode": "lines", "name": "the best so far", "hoverinfo": "skip",
             "line": {"shape": "hv", "color": WINNER, "width": 2.5},
             "x": list(range(1, len(ended) + 1)), "y": line}  # fmt: skip
    shading = [
        {"type": "rect", "xref": "x", "yref": "y domain", "x0": begin + 0.5, "x1": end + 0.5, "y0": 0, "y1": 1,
         "fillcolor": colour(tier), "opacity": 0.08, "line": {"width": 0}, "layer": "below"}
        for tier, begin, end in _stretches([t.tier for t in ended])
    ]  # fmt: skip
    hidden = [{**trace, "showlegend": False} for trace in points]
    axes = {"xaxis": {"title": {"text": "trials that have ended"}, "zeroline": False},
            "yaxis": {"title": {"text": report.study.metric}, "zeroline": False, **shown.axis}}  # fmt: skip
    return {"data": [steps, *hidden, *legend(report, shown)], "layout": {"shapes": shading, **axes}}


def _stretches(tiers: Sequence[int]) -> Iterator[tuple[int, int, int]]:
    """Yield tier, begin and end of each stretch in which only trials of one tier ended."""
    begin = 0
    for tier, of_tier in groupby(tiers):
        end = begin + len(list(of_tier))
        yield tier, begin, end
        begin = end
