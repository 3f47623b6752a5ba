"""Draw a panda's life: its curves with the nudges on them, and the tree of its days."""

from __future__ import annotations

from typing import Any

from caviar.studies.panda.records import Curve, Journal, JournalDay
from caviar.studies.results.formatting import number
from caviar.studies.results.report.style import FADED, TIER_COLOURS, WINNER, good_range

Figure = dict[str, Any]  # plotly's JSON

_NAMED = 6  # branches besides the current one, that are named beside their colours
_NUMBERS = 30  # of days, on a curve


def panda_figures(journal: Journal) -> dict[str, Figure]:
    """Return the figures of a panda's journal, by name, as plotly's JSON."""
    return {
        "curves": _curves(journal, "curve", journal.metric, nudges=True),
        **({"losses": _losses(journal)} if any(day.training_loss[-1:] != (None,) for day in journal.days[1:]) else {}),
        "tree": _tree(journal),
    }


def _line(journal: Journal, day: JournalDay, curve: Curve) -> tuple[list[int], list[float | None]]:
    """Return a day's curve as x and y, from the last point of the day that it builds on."""
    x, y = [*day.epochs], [*day.values(curve)]
    if day.parent is not None:
        parent = journal.days[day.parent]
        x, y = [*parent.epochs[-1:], *x], [*parent.values(curve)[-1:], *y]
    return x, y


def _colour(day: JournalDay) -> str:
    return WINNER if day.current else TIER_COLOURS[(day.branch - 1) % len(TIER_COLOURS)]


def _curves(journal: Journal, curve: Curve, title: str, *, nudges: bool, dash: str = "solid") -> Figure:
    data = []
    for day in journal.days:
        x, y = _line(journal, day, curve)
        name = f"{day.kind} {day.day}"
        data.append({
            "type": "scatter", "mode": "lines+markers", "name": name, "x": x, "y": y, "showlegend": False,
            "line": {"color": _colour(day), "dash": dash}, "marker": {"size": 4},
            "opacity": 1 if day.current else FADED,
            "hovertemplate": f"{name}, epoch %{{x}}: %{{y:.5g}}<extra></extra>",
        })  # fmt: skip
    if nudges:
        data += [_numbers(journal, curve), _nudges(journal, curve), *_legend(journal)]
    values = [value for day in journal.days for value in day.values(curve) if value is not None]
    axis = {"title": {"text": title}, **good_range(values, maximize=journal.direction == "maximize")}
    return {"data": data, "layout": {"xaxis": {"title": {"text": "epoch"}}, "yaxis": axis}}


def branches(journal: Journal) -> list[tuple[str, str]]:
    """Return what each colour is: the current branch, the days that were left, and the candidates; with the colour."""
    others: dict[int, list[JournalDay]] = {}
    for day in journal.days:
        if not day.current:
            others.setdefault(day.branch, []).append(day)
    named = [("the current branch", WINNER)]
    for days in list(others.values())[:_NAMED]:
        numbers = f"{days[0].day}" if len(days) == 1 else f"{days[0].day} to {days[-1].day}"
        kind = "candidate" if days[0].look else "day" if len(days) == 1 else "days"
        named.append((f"{kind} {numbers}, left", _colour(days[0])))
    return named


def _legend(journal: Journal) -> list[Figure]:
    return [{"type": "scatter", "mode": "lines", "name": name, "x": [None], "y": [None], "hoverinfo": "skip",
             "line": {"color": colour, "width": 3}} for name, colour in branches(journal)]  # fmt: skip


def _numbers(journal: Journal, curve: Curve) -> Figure:
    """Return the numbers of the days of the current branch, where they end; of many days only some."""
    ended = [day for day in journal.days if day.current and day.last(curve) is not None]
    shown = ended[:: -(-len(ended) // _NUMBERS) or 1]
    return {
        "type": "scatter", "mode": "text", "x": [day.epoch for day in shown], "y": [day.last(curve) for day in shown],
        "text": [str(day.day) for day in shown], "textposition": "bottom center", "showlegend": False,
        "hoverinfo": "skip",
    }  # fmt: skip


def _nudges(journal: Journal, curve: Curve) -> Figure:
    """Return the nudges as marks on a curve."""
    x, y, text = [], [], []
    for day in journal.days:
        epochs, values = _line(journal, day, curve)
        for nudge in day.nudges:
            if nudge.epoch in epochs:
                x.append(nudge.epoch)
                y.append(values[epochs.index(nudge.epoch)])
                settings = ", ".join(f"{name} {value:g}" for name, value in nudge.settings.items())
                text.append(f"{settings}{': ' + nudge.why if nudge.why else ''}")
    return {
        "type": "scatter", "mode": "markers", "name": "nudge", "x": x, "y": y, "text": text, "showlegend": bool(x),
        "marker": {"symbol": "triangle-down", "size": 12, "color": "#999999", "line": {"width": 1}},
        "hovertemplate": "%{text}<extra>nudge</extra>",
    }  # fmt: skip


def _losses(journal: Journal) -> Figure:
    training = _curves(journal, "training_loss", "loss", nudges=False, dash="dot")
    validation = _curves(journal, "validation_loss", "loss", nudges=False)
    layout = {
        **training["layout"],
        "yaxis": {"title": {"text": "training (dotted) and validation loss"}, "type": "log"},
    }
    return {"data": [*training["data"], *validation["data"]], "layout": layout}


def _tree(journal: Journal) -> Figure:
    """Draw each day where it ends, on the row of its branch, with a line from the day that it builds on."""
    data, days = [], journal.days
    for day in days:
        if day.parent is None:
            continue
        parent = days[day.parent]
        data.append({
            "type": "scatter", "mode": "lines", "x": [parent.epoch, day.epoch],
            "y": [-parent.branch, -day.branch], "hoverinfo": "skip", "showlegend": False,
            "line": {"color": _colour(day), "width": 3 if day.current else 1},
        })  # fmt: skip
    data.append({
        "type": "scatter", "mode": "markers+text", "name": "days", "showlegend": False,
        "x": [day.epoch for day in days], "y": [-day.branch for day in days],
        "text": [str(day.day) for day in days], "textposition": "top center",
        "customdata": [
            f"{day.verdict.word}{'' if (value := day.last('curve')) is None else f', {number(value)}'}"
            for day in days
        ],
        "marker": {"size": 14, "color": [_colour(day) for day in days]},
        "hovertemplate": "day %{text}: %{customdata}<extra></extra>",
    })  # fmt: skip
    y = {"visible": False, "range": [-_rows(journal), 1]}
    layout = {"xaxis": {"title": {"text": "epoch"}}, "yaxis": y, "height": 160 + 40 * _rows(journal)}
    return {"data": data, "layout": layout}


def _rows(journal: Journal) -> int:
    return 1 + max(day.branch for day in journal.days)
