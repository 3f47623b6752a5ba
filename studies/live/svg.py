"""Draw the lines and points of a plotly figure as SVG, for pages that load no plotting library.

It knows what Caviar's own figures of curves and trees need: traces of lines, markers and texts, one x and one y axis.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from caviar.studies.live.html import Html, html
from caviar.studies.results.report.style import TIER_COLOURS, WINNER

Figure = Mapping[str, Any]  # plotly's JSON
Range = tuple[float, float]

_WIDTH, _HEIGHT = 400, 240
_LEFT, _RIGHT, _TOP, _FOOT = 46, 12, 12, 34  # around the plot
_ROOM = 10  # of these: for a marker at an end of an axis
_NEAR = 0.7  # of the distance between ticks that is aimed at: rather some more than hardly one
_CLASSES = {WINNER: "w", **{colour: f"t{place + 1}" for place, colour in enumerate(TIER_COLOURS)}}


def class_of(colour: str) -> str:
    """Return the class of `live.css` that has a colour of the report's."""
    return _CLASSES[colour]


def svg(figure: Figure, name: str) -> Html:
    """Return a figure as one SVG element; `name` says what it shows, for those who hear it."""
    layout, axes = figure["layout"], _Axes(figure)
    plot = "".join(_trace(trace, axes) for trace in figure["data"])
    height, across, down = axes.height + _TOP + _FOOT, axes.width + 2 * _ROOM, axes.height + 2 * _ROOM
    return Html(
        f'<svg class="figure" role="img" aria-label="{html(name)}" viewBox="0 0 {_WIDTH} {height}">'
        f"{''.join(_ticks(axes, layout))}"
        f'<svg x="{_LEFT - _ROOM}" y="{_TOP - _ROOM}" width="{across}" height="{down}" '
        f'viewBox="-{_ROOM} -{_ROOM} {across} {down}">{plot}</svg></svg>'
    )


class _Axes:
    """The ranges of a figure's axes, and where a value lies between them."""

    def __init__(self, figure: Figure) -> None:
        layout = figure["layout"]
        self.width = _WIDTH - _LEFT - _RIGHT
        self.height: int = min(layout.get("height", _HEIGHT), 2 * _HEIGHT)
        self.y = layout.get("yaxis", {})
        self.is_log = self.y.get("type") == "log"
        points = [(x, self._scaled(y)) for t in figure["data"] for x, y in zip(t["x"], t["y"], strict=True)]
        there = [(x, y) for x, y in points if x is not None and y is not None]
        self.x_range: Range = _spread([x for x, _ in there])
        low, high = self.y.get("range") or _spread([y for _, y in there], 0.05)
        self.y_range: Range = (float(low), float(high))

    def _scaled(self, value: float | None) -> float | None:
        if value is None or not self.is_log:
            return value
        return math.log10(value) if value > 0 else None

    def at(self, x: Any, y: Any) -> tuple[float, float] | None:
        """Return the place of a point in the plot; None where it has none."""
        scaled = self._scaled(y)
        if x is None or scaled is None:
            return None
        return self.across(x), self.down(scaled)

    def across(self, x: float) -> float:
        low, high = self.x_range
        return round((x - low) / (high - low) * self.width, 1)

    def down(self, y: float) -> float:
        low, high = self.y_range
        return round((high - y) / (high - low) * self.height, 1)


def _spread(values: Sequence[float], pad: float = 0.0) -> Range:
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    room = pad * (high - low) or (0.0 if high > low else 0.5)
    return low - room, high + room


def _ticks(axes: _Axes, layout: Figure) -> Iterator[str]:
    """Yield the ticks of both axes with their lines, and the names of the axes."""
    foot = _TOP + axes.height
    for value in _round_values(*axes.x_range, 5):
        if value == round(value):  # epochs and trials
            yield f'<text x="{_LEFT + axes.across(value)}" y="{foot + 14}" text-anchor="middle">{value:g}</text>'
    if axes.y.get("visible", True):
        for value in _round_values(*axes.y_range, 4):
            y = _TOP + axes.down(value)
            shown = 10**value if axes.is_log else value
            yield f'<path class="grid" d="M{_LEFT} {y}h{axes.width}"/>'
            yield f'<text x="{_LEFT - 5}" y="{y + 4}" text-anchor="end">{shown:.3g}</text>'
    title = layout.get("xaxis", {}).get("title", {}).get("text", "")
    yield f'<text x="{_LEFT + axes.width}" y="{foot + 28}" text-anchor="end">{html(title)}</text>'


def _round_values(low: float, high: float, count: int) -> list[float]:
    """Return some round numbers in a range: 1, 2 or 5 times a power of ten apart."""
    rough = (high - low) / count
    power = 10 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * _NEAR)
    first = math.ceil(low / step)
    return [round(each * step, 10) for each in range(first, math.floor(high / step + 1e-9) + 1)]


def _trace(trace: Figure, axes: _Axes) -> str:
    mode, style = trace["mode"], trace.get("line", {})
    places = [axes.at(x, y) for x, y in zip(trace["x"], trace["y"], strict=True)]
    drawn = [f"<title>{html(trace['name'])}</title>"] if trace.get("name") else []
    if "lines" in mode:
        kind = f"line {_CLASSES.get(style.get('color'), 't1')}{' dotted' if style.get('dash') == 'dot' else ''}"
        path = _path(places, is_stepped=style.get("shape") == "hv")
        drawn.append(f'<path class="{kind}" stroke-width="{style.get("width", 1.5)}" d="{path}"/>')
    texts = trace["text"] if "text" in mode else ()
    away = 17 if trace.get("textposition", "").startswith("bottom") else -9
    if "markers" in mode:
        drawn += _markers(trace.get("marker", {}), places, () if "text" in mode else trace.get("text", ()))
    drawn += [
        f'<text x="{place[0]}" y="{place[1] + away}" text-anchor="middle">{html(text)}</text>'
        for place, text in zip(places, texts, strict=False)
        if place is not None
    ]
    return f'<g opacity="{trace.get("opacity", 1)}">{"".join(drawn)}</g>'


def _path(places: Sequence[tuple[float, float] | None], *, is_stepped: bool) -> str:
    path, pen_is_up = [], True
    for place in places:
        if place is None:
            pen_is_up = True
            continue
        path.append(
            f"M{place[0]} {place[1]}"
            if pen_is_up
            else f"H{place[0]}V{place[1]}"
            if is_stepped
            else f"L{place[0]} {place[1]}"
        )
        pen_is_up = False
    return "".join(path)


def _markers(style: Figure, places: Sequence[tuple[float, float] | None], texts: Sequence[str]) -> Iterator[str]:
    """Yield a mark at each place; a text says what it is to who points at it."""
    colours = style.get("color", "")
    size = style.get("size", 6) / 2
    for number, place in enumerate(places):
        if place is not None:
            kind = _CLASSES.get(colours if isinstance(colours, str) else colours[number], "mark")
            x, y = place
            title = f"<title>{html(texts[number])}</title>" if texts else ""
            if style.get("symbol") == "triangle-down":
                shape = f"M{x - size} {y - 2 * size}h{2 * size}l{-size} {2 * size}z"
                yield f'<path class="point {kind}" d="{shape}">{title}</path>'
            else:
                yield f'<circle class="point {kind}" cx="{x}" cy="{y}" r="{size}">{title}</circle>'
