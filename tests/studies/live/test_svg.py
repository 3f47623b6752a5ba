"""Figures as SVG: every point in its place, and no text that is anything but text."""

from __future__ import annotations

import re
from xml.etree import ElementTree

from caviar.studies.live.svg import svg
from caviar.studies.results.report.style import TIER_COLOURS, WINNER

SVG = "{http://www.w3.org/2000/svg}"


def drawn(figure: dict[str, object]) -> ElementTree.Element:
    return ElementTree.fromstring(
        svg(figure, "a <figure>").replace("<svg", '<svg xmlns="http://www.w3.org/2000/svg"', 1)
    )


def test_lines_have_a_point_for_each_value_and_gaps_where_there_is_none() -> None:
    line = {"mode": "lines", "name": "<b>", "x": [1, 2, 3, 4], "y": [0.1, None, 0.3, 0.2], "line": {"color": WINNER}}
    root = drawn({"data": [line], "layout": {"xaxis": {"title": {"text": "epoch"}}}})
    assert root.get("aria-label") == "a <figure>"
    (path,) = [p for p in root.iter(f"{SVG}path") if "line" in (p.get("class") or "")]
    assert path.get("class") == "line w"
    assert re.sub(r"[\d.]+ [\d.]+", "", path.get("d") or "") == "MML"
    assert [title.text for title in root.iter(f"{SVG}title")] == ["<b>"]
    numbers = [text.text for text in root.iter(f"{SVG}text")]
    assert {"1", "2", "3", "4", "epoch", "0.1", "0.2", "0.3"} <= set(numbers)


def test_texts_stand_above_or_below_their_points_and_a_mark_says_what_it_is() -> None:
    numbers = {"mode": "text", "x": [0, 1], "y": [0.5, 0.25], "text": ["1", "2"], "textposition": "bottom center"}
    above = {**numbers, "textposition": "top center", "text": ["3", "4"]}
    marks = {"mode": "markers", "x": [0], "y": [0.5], "text": ["<lr> 0.3"], "marker": {"symbol": "triangle-down"}}
    root = drawn({"data": [numbers, above, marks], "layout": {}})
    at = {text.text: float(text.get("y") or 0) for text in root.iter(f"{SVG}text") if text.get("x") == "0.0"}
    assert at["1"] > at["3"]
    assert [title.text for title in root.iter(f"{SVG}title")] == ["<lr> 0.3"]


def test_an_axis_has_several_ticks() -> None:
    line = {"mode": "lines", "x": [0, 8], "y": [0.13, 0.91]}
    root = drawn({"data": [line], "layout": {}})
    assert len([path for path in root.iter(f"{SVG}path") if path.get("class") == "grid"]) == 4


def test_the_highest_value_is_at_the_top_and_a_step_goes_across_before_it_goes_up() -> None:
    line = {"mode": "lines", "x": [0, 1], "y": [1, 2], "line": {"color": TIER_COLOURS[1], "shape": "hv"}}
    root = drawn({"data": [line], "layout": {"yaxis": {"range": [1, 2]}}})
    (path,) = [p for p in root.iter(f"{SVG}path") if p.get("class") == "line t2"]
    found = re.fullmatch(r"M0.0 ([\d.]+)H([\d.]+)V0.0", path.get("d") or "")
    assert found
    assert float(found[1]) > 100
    assert float(found[2]) > 100


def test_markers_have_a_colour_each_and_their_texts_above_them() -> None:
    days = {"mode": "markers+text", "x": [0, 2], "y": [-1, -2], "text": ["0", "<1>"],
            "marker": {"size": 14, "color": [WINNER, TIER_COLOURS[0]]}}  # fmt: skip
    root = drawn({"data": [days], "layout": {"yaxis": {"visible": False, "range": [-3, 0]}}})
    circles = list(root.iter(f"{SVG}circle"))
    assert [circle.get("class") for circle in circles] == ["point w", "point t1"]
    assert float(circles[0].get("cy") or 0) < float(circles[1].get("cy") or 0)
    assert "<1>" in [text.text for text in root.iter(f"{SVG}text")]


def test_one_point_and_a_logarithmic_axis_are_drawn_too() -> None:
    dot = {"mode": "markers", "x": [3], "y": [0.01], "marker": {"symbol": "triangle-down"}}
    assert "<path" in svg({"data": [dot], "layout": {"yaxis": {"type": "log"}}}, "one")
    empty = {"mode": "lines", "x": [], "y": []}
    assert svg({"data": [empty], "layout": {}}, "none").startswith("<svg")
