"""Draw what each hyperparameter did: a panel for each, with the trials, and what the model expects along it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from caviar.storage.states import TrialState
from caviar.studies.results.report.records import Report, ReportedHyperparameter, ReportedTrial
from caviar.studies.results.report.style import BAND, NEUTRAL, SYMBOLS, WINNER, colour
from caviar.studies.results.report.ticks import in_words, ticks
from caviar.studies.results.report.window import Window, window

_ROW, _NARROW_ROW = 420, 380  # pixels of a row of panels
_STRIP, _GAP = 0.3, 0.06  # parts of a panel: what is expected, and the gap above it
_LEGEND, _NARROW_LEGEND = 60, 90  # pixels above them
_TITLES = 46  # pixels below the panels of a row
_SPREAD = 0.5  # of a bin: trials of one value stand beside one another
_ZERO = 0.08  # of the scale, as wide as a bin: 0 on a log axis
_GOLDEN = 0.618034  # its multiples are spread evenly on the unit interval, however many there are
_PAD = 0.15  # of the range of what is expected, on both sides
_SHOWN = 600  # trials of a panel; of more, the best half, and some others evenly

Figure = dict[str, Any]  # plotly's JSON


def hyperparameters(report: Report) -> Figure | None:
    """Draw each hyperparameter against the value, on its own scale."""
    shown = window(report)
    if shown is None or not report.hyperparameters:
        return None
    data, count = [], len(report.hyperparameters)
    for place, h in enumerate(report.hyperparameters):
        points, expected = _panel(report, h, shown), _effect(report, h)
        for traces, y in ((points, place + 1), (expected, count + place + 1)):
            data += [{**trace, "xaxis": f"x{place + 1}", "yaxis": f"y{y}", "showlegend": False} for trace in traces]
    data += [*legend(report, shown), *_expected_entry(report)]
    narrow = _layout(report, shown, 1, _NARROW_LEGEND, _NARROW_ROW) | {"font": {"size": 10}}
    narrow["legend"] |= {"entrywidth": 0.5, "entrywidthmode": "fraction"}
    return {"data": data, "layout": _layout(report, shown, 2, _LEGEND, _ROW),
            "narrow": narrow}  # fmt: skip


def _panel(report: Report, h: ReportedHyperparameter, shown: Window) -> list[Figure]:
    there = [t for t in chosen(report) if h.name in t.units]
    return marks(
        report, there, shown, lambda t: _place(h, t), lambda t: f"{h.name} {in_words(t.hyperparameters[h.name])}"
    )


def chosen(report: Report) -> list[ReportedTrial]:
    """Return the trials that are drawn as points: of very many the best ones, and some others evenly."""
    sound = [t for t in report.trials if t.is_sound]
    if len(sound) <= _SHOWN:
        return sound
    ranked = sorted(sound, key=lambda t: t.value or 0.0, reverse=report.study.maximize)
    half = _SHOWN // 2
    return [*ranked[:half], *ranked[half :: -(-(len(ranked) - half) // half)]]


def marks(
    report: Report, trials: Sequence[ReportedTrial], shown: Window, x: Callable[[ReportedTrial], float],
    hover: Callable[[ReportedTrial], str],
) -> list[Figure]:  # fmt: skip
    """Return trials as points at some `x` and their values: the complete ones, the pruned ones, those beyond the edge,
    and the winner, each with a symbol of its own."""
    winner = None if report.winner is None else report.winner.trial
    others = [t for t in trials if t.trial != winner]
    inside = [t for t in others if shown.shows(t.value or 0.0)]
    groups = (
        [t for t in inside if t.state == TrialState.COMPLETE],
        [t for t in inside if t.state != TrialState.COMPLETE],
        [t for t in others if not shown.shows(t.value or 0.0)],
        [t for t in trials if t.trial == winner],
    )
    drawn = []
    for group, symbol in zip(groups, (*SYMBOLS, "star"), strict=True):
        colours = [WINNER if symbol == "star" else colour(t.tier) for t in group]
        drawn.append({
            "type": "scatter", "mode": "markers", "x": [x(t) for t in group], "y": [t.value for t in group],
            "customdata": [[f"trial {t.trial}, {t.ending}", hover(t), t.value] for t in group],
            "hovertemplate": "%{customdata[0]}<br>%{customdata[1]}<br>%{customdata[2]:.5g}<extra></extra>",
            "marker": {"symbol": symbol, "size": 14 if symbol == "star" else 7, "color": colours,
                       "line": {"color": colours, "width": 0 if symbol in ("star", "circle") else 1.2}},
        })  # fmt: skip
    drawn[2]["y"] = [shown.edge] * len(groups[2])
    return drawn


def _place(h: ReportedHyperparameter, t: ReportedTrial) -> float:
    """Return a trial's place on the scale; where many have the same value, a little beside it."""
    unit = t.units[h.name]
    width = 1 / h.scale.bins if h.scale.bins else _ZERO if unit < h.scale.gap else 0.0
    return round(unit + (t.trial * _GOLDEN % 1 - 0.5) * _SPREAD * width, 4)


def _effect(report: Report, h: ReportedHyperparameter) -> list[Figure]:
    """Return what the model expects along a hyperparameter, and how surely."""
    effect = report.effects.get(h.name)
    if effect is None:
        return []
    hover = {"text": [in_words(h.scale.value(unit)) for unit in effect.units],
             "hovertemplate": f"{h.name} %{{text}}: %{{y:.4g}} expected<extra></extra>"}  # fmt: skip
    mean = {"type": "scatter", "x": list(effect.units), "y": list(effect.mean), **hover}
    if h.scale.bins and len(effect.units) == h.scale.bins:  # nothing lies between its values
        up, down = (
            [abs(end - m) for end, m in zip(side, effect.mean, strict=True)] for side in (effect.high, effect.low)
        )
        bars = {"type": "data", "symmetric": False, "array": up, "arrayminus": down, "color": NEUTRAL, "width": 8}
        dash = {"symbol": "line-ew", "size": 16, "line": {"width": 2.5, "color": NEUTRAL}}
        return [mean | {"mode": "markers", "error_y": bars, "marker": dash}]
    band = {"type": "scatter", "mode": "lines", "fill": "toself", "hoverinfo": "skip", "fillcolor": BAND,
            "x": [*effect.units, *effect.units[::-1]], "y": [*effect.high, *effect.low[::-1]],
            "line": {"width": 0}}  # fmt: skip
    return [band, mean | {"mode": "lines", "line": {"color": NEUTRAL, "width": 2.5}}]


def legend(report: Report, shown: Window) -> list[Figure]:
    """Return entries of the legend without points: what the colours are, and what the symbols are."""
    sound = [t for t in report.trials if t.is_sound]
    beyond = sum(not shown.shows(t.value or 0.0) for t in sound)
    names = ("complete", "pruned", f"{beyond} {shown.words}")
    present = (
        any(t.state == TrialState.COMPLETE for t in sound), any(t.state != TrialState.COMPLETE for t in sound), beyond,
    )  # fmt: skip
    entries = [(name, {"symbol": symbol, "color": NEUTRAL, "line": {"width": 1.5, "color": NEUTRAL}})
               for name, symbol, there in zip(names, SYMBOLS, present, strict=True) if there]  # fmt: skip
    entries += [
        (f"tier {tier}", {"symbol": "square", "color": colour(tier)}) for tier in sorted({t.tier for t in sound})
    ]
    if report.winner is not None:
        entries.append((f"{report.title}: trial {report.winner.trial}", {"symbol": "star", "color": WINNER}))
    return [_entry(name, marker) for name, marker in entries]


def _entry(name: str, marker: Figure) -> Figure:
    return {"type": "scatter", "mode": "markers", "name": name, "x": [None], "y": [None], "hoverinfo": "skip",
            "marker": {"size": 9, **marker}}  # fmt: skip


def _expected_entry(report: Report) -> list[Figure]:
    line = {"symbol": "line-ew", "line": {"width": 3, "color": NEUTRAL}}
    return [_entry("expected", line)] if report.effects else []


def _layout(report: Report, shown: Window, columns: int, above: int, row: int) -> Figure:
    """Return the layout of all panels in so many columns, with so many pixels above them for the legend."""
    count = len(report.hyperparameters)
    rows = -(-count // columns)
    height = row * rows
    expected = _expected_range(report)
    layout: Figure = {
        "height": height + above, "margin": {"t": above, "r": 20, "b": 0, "l": 60},
        "legend": {"orientation": "h", "y": 1 + 12 / height, "yanchor": "bottom", "itemclick": False,
                   "itemdoubleclick": False},
    }  # fmt: skip
    for place, h in enumerate(report.hyperparameters):
        line, column = divmod(place, columns)
        left, width = (0.53 * column, 0.47) if columns > 1 else (0.0, 1.0)
        top = 1 - line / rows
        bottom = 1 - (line + 1) / rows + (_TITLES + 14) / height
        at = ticks(h.scale)
        foot = bottom + (_STRIP + _GAP) * (top - bottom) if report.effects else bottom
        lowest = count + place + 1 if report.effects else place + 1
        layout[f"xaxis{place + 1}"] = {
            "title": {"text": h.scale.axis(h.name).title, "standoff": 6}, "domain": [left, left + width],
            "anchor": f"y{lowest}", "range": [-0.04, 1.04], "zeroline": False,
            "tickvals": [unit for unit, _ in at], "ticktext": [text for _, text in at],
        }  # fmt: skip
        shared = {"anchor": f"x{place + 1}", "zeroline": False}
        title = {} if column else {"title": {"text": report.study.metric}}
        layout[f"yaxis{place + 1}"] = {"domain": [foot, top], "nticks": 6, **shared, **title, **shown.axis}
        if report.effects:
            title = {} if column else {"title": {"text": "expected"}}
            strip = {"domain": [bottom, bottom + _STRIP * (top - bottom)], "nticks": 4}
            layout[f"yaxis{count + place + 1}"] = {**strip, **shared, **title, **expected}
    return layout


def _expected_range(report: Report) -> Figure:
    """Return the axis of what is expected: the same in all panels, so that a large effect looks large."""
    means = [value for effect in report.effects.values() for value in effect.mean]
    if not means or max(means) == min(means):
        return {}
    pad = _PAD * (max(means) - min(means))
    return {"range": [min(means) - pad, max(means) + pad]}
