"""Draw who trained what, and when: a row for each trial that a worker trains at a time."""

from __future__ import annotations

from typing import Any

from caviar.storage.states import TrialState
from caviar.studies.results.formatting import duration
from caviar.studies.results.report.holdings import LOST, TAKEN, Holding, holdings
from caviar.studies.results.report.records import Report
from caviar.studies.results.report.style import NEUTRAL, WINNER, colour
from caviar.studies.results.report.ticks import round_numbers

_LEAST, _MOST, _AROUND = 380, 1400, 130  # pixels: the lowest and the highest figure, and its axis and legend
_UNITS = (("days", 86_400), ("hours", 3_600), ("minutes", 60), ("seconds", 1))
_ROW = 18  # pixels of a row, at most
_PATTERNS = {  # of a bar, by the end of its trial: told apart without colours
    TrialState.COMPLETE: "", TrialState.PRUNED: "/", TrialState.FAIL: "x", TrialState.RUNNING: "-",
    TrialState.INTERRUPTED: ".", "given back": ".", "lost": "\\", TrialState.ENDED_ELSEWHERE: "+",
}  # fmt: skip

Figure = dict[str, Any]  # plotly's JSON


def timeline(report: Report) -> Figure:
    """Draw a bar for each time that a worker held a trial, and marks where trials were lost and taken over."""
    held = holdings(report.trials, report.events, report.now)
    tiers = {t.trial: t.tier for t in report.trials}
    at, rows = _rows(held)
    data: list[Figure] = []
    for end, pattern in _PATTERNS.items():
        there = [place for place, holding in enumerate(held) if holding.end == end]
        if there:
            some = [held[place] for place in there]
            data.append({
                "type": "bar", "orientation": "h", "name": end, "base": [h.began for h in some],
                "x": [max(h.ended - h.began, 0.0) for h in some], "y": [at[place] for place in there],
                "text": [f"trial {h.trial}, {h.end}, {h.worker or '?'}" for h in some],
                "customdata": [[duration(h.began), duration(h.ended - h.began)] for h in some],
                "hovertemplate": "%{text}<br>after %{customdata[0]}, for %{customdata[1]}<extra></extra>",
                "textposition": "none",
                "marker": {"color": [colour(tiers[h.trial]) for h in some], "pattern": {"shape": pattern, "size": 6},
                           "line": {"width": 1, "color": [colour(tiers[h.trial]) for h in some]}},
                "width": 0.75, "showlegend": False,
            })  # fmt: skip
    row_of = {(h.worker, h.trial): row for h, row in zip(held, at, strict=True)}
    for name, kinds, symbol in (("lost", LOST, "x"), ("taken over", TAKEN, "triangle-right")):
        marks = [e for e in report.events if e.kind in kinds and (e.worker, e.trial) in row_of]
        if marks:
            data.append({
                "type": "scatter", "mode": "markers", "name": name, "x": [e.at for e in marks],
                "y": [row_of[e.worker, e.trial or 0] for e in marks],
                "text": [f"trial {e.trial}: {e.kind}, {e.worker or '?'}, after {duration(e.at)}" for e in marks],
                "hovertemplate": "%{text}<extra></extra>",
                "marker": {"symbol": symbol, "size": 10, "color": WINNER, "line": {"width": 1, "color": "white"}},
            })  # fmt: skip
    last = {worker: row for row, worker in enumerate(rows)}
    first = {worker: rows.index(worker) for worker in last}
    axes = {"xaxis": time_axis(max((h.ended for h in held), default=0.0), "since the first trial began"),
            "yaxis": {"automargin": True, "range": [len(rows) - 0.4, -0.6], "zeroline": False, "showgrid": False,
                      "tickvals": [(first[worker] + last[worker]) / 2 for worker in last],
                      "ticktext": [worker or "?" for worker in last]}}  # fmt: skip
    height = min(max(_AROUND + _ROW * len(rows), _LEAST), _MOST)
    return {"data": [*data, *_legend({h.end for h in held}, {tiers[h.trial] for h in held})],
            "layout": {"barmode": "overlay", "height": height, **axes}}  # fmt: skip


def time_axis(last: float, title: str) -> Figure:
    """Return an axis of seconds that reads in seconds, minutes, hours or days, whichever there are two of."""
    unit, seconds = next((name, of) for name, of in _UNITS if last >= 2 * of or of == 1)
    at = round_numbers(0.0, last / seconds) if last > 0 else [0.0]
    return {"title": {"text": f"{unit} {title}"}, "tickvals": [tick * seconds for tick in at],
            "ticktext": [f"{tick:g}" for tick in at]}  # fmt: skip


def _rows(held: list[Holding]) -> tuple[list[int], list[str | None]]:
    """Return the row of each holding, and the worker of each row: trials of one time have rows of their own."""
    busy: dict[str | None, list[float]] = {}  # until when each row of a worker is
    own = [0] * len(held)
    for place in sorted(range(len(held)), key=lambda place: held[place].began):
        of_worker = busy.setdefault(held[place].worker, [])
        free = (row for row, until in enumerate(of_worker) if until <= held[place].began)
        own[place] = next(free, len(of_worker))
        of_worker[own[place] : own[place] + 1] = [held[place].ended]
    before, rows = {}, list[str | None]()
    for worker in sorted(busy, key=str):
        before[worker] = len(rows)
        rows += [worker] * len(busy[worker])
    return [before[h.worker] + row for h, row in zip(held, own, strict=True)], rows


def _legend(ends: set[str], tiers: set[int]) -> list[Figure]:
    """Return entries of the legend without bars: what the colours are, and what the patterns are."""
    entries: list[tuple[str, Figure]] = [(f"tier {tier}", {"color": colour(tier)}) for tier in sorted(tiers)]
    outline = {"color": NEUTRAL, "line": {"width": 1, "color": NEUTRAL}}
    entries += [(end, {**outline, "pattern": {"shape": pattern, "size": 6}})
                for end, pattern in _PATTERNS.items() if end in ends]  # fmt: skip
    return [{"type": "bar", "orientation": "h", "name": name, "x": [None], "y": [None], "hoverinfo": "skip",
             "marker": marker} for name, marker in entries]  # fmt: skip
