"""Write a page of a report as one HTML document with its figures and a table, which loads nothing from a network.

Control characters are left out of all that comes from the database.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from html import escape
from importlib.resources import files
from typing import Any

from caviar.text import printable

# Some of plotly's traces are compiled in the browser. Nothing may be fetched.
_POLICY = "default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval'; style-src 'unsafe-inline'; img-src data: blob:"


def document(
    title: str, body: str, figures: Mapping[str, Any], columns: Sequence[str], rows: Sequence[Sequence[str]],
    after: str = "",
) -> str:  # fmt: skip
    """Return a page: its body, and a table that shows a few rows at a time.

    Args:
        body: HTML, with an element of class `figure` for each of the figures.
        figures: plotly's JSON by the id of the element.
        after: HTML behind the table.
    """
    from plotly.offline import get_plotlyjs

    folder = files(__package__)
    heads = printable("".join(f"<th>{escape(column)}</th>" for column in columns))
    title, body, after = printable(title), printable(body), printable(after)
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{_POLICY}">
<title>{escape(title)}</title>
<style>{(folder / "page.css").read_text()}</style></head><body>
{body}
<nav><button id="back">back</button><button id="on">on</button><span id="page" class="dim"></span></nav>
<div class="scroll"><table id="trials"><thead><tr>{heads}</tr></thead><tbody></tbody></table></div>
{after}
<script type="application/json" id="figures">{_embedded(figures)}</script>
<script type="application/json" id="rows">{_embedded(rows)}</script>
<script>{get_plotlyjs()}</script>
<script>{(folder / "page.js").read_text()}</script></body></html>
"""


def _embedded(value: Any) -> str:
    """Return JSON that cannot end the element that it stands in."""
    return json.dumps(_printable(value), separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")


def _printable(value: Any) -> Any:
    """Return plain JSON values with `printable` texts."""
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, Mapping):
        return {_printable(key): _printable(each) for key, each in value.items()}
    return [_printable(each) for each in value] if isinstance(value, list | tuple) else value


def card(value: str, name: str) -> str:
    """Return a value with its name below, as HTML."""
    return f'<div class="card"><b>{escape(value)}</b><span>{escape(name)}</span></div>'
