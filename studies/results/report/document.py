"""Write a page of a report as one HTML document with its figures and a table, which loads nothing from a network.

Control characters are left out of all that comes from the database.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from importlib.resources import files
from itertools import count
from typing import Any

from caviar.studies.results.next_steps import Reason, Step
from caviar.text import printable

_HEADING = re.compile("<h2>(.*?)</h2>")
_MANY = 6  # headings, from which on a list of them helps
# Some of plotly's traces are compiled in the browser. Nothing may be fetched.
_POLICY = "default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval'; style-src 'unsafe-inline'; img-src data: blob:"


def document(
    title: str, body: str, figures: Mapping[str, Any], columns: Sequence[str] = (), rows: Sequence[Sequence[str]] = (),
    after: str = "", marked: str = "",
) -> str:  # fmt: skip
    """Return a page: its body, and a table that a reader can sort and search, if it has columns.

    Args:
        body: HTML, with an element of class `figure` for each of the figures.
        figures: plotly's JSON by the id of the element.
        rows: the cells of each row, in the order in which they are shown first.
        after: HTML behind the table.
        marked: the first cell of the row that is to stand out.
    """
    from plotly.offline import get_plotlyjs

    folder = files(__package__)
    title, marked = printable(title), escape(printable(marked))
    body, after = _with_contents(printable(body), printable(after))
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{_POLICY}">
<title>{escape(title)}</title>
<style>{(folder / "page.css").read_text()}</style></head><body>
{body}
{_table(columns, marked) if columns else ""}
{after}
<script type="application/json" id="figures">{_embedded(figures)}</script>
<script type="application/json" id="rows">{_embedded(rows)}</script>
<script>{get_plotlyjs()}</script>
<script>{(folder / "page.js").read_text()}</script>
{f"<script>{(folder / 'table.js').read_text()}</script>" if columns else ""}</body></html>
"""


def _with_contents(body: str, after: str) -> tuple[str, str]:
    """Return the HTML before and after the table, with a list of many headings below the first line."""
    heads = re.findall(_HEADING, body + after)
    if len(heads) < _MANY:
        return body, after
    places = count(1)
    body, after = (re.sub(_HEADING, lambda head: f'<h2 id="part{next(places)}">{head[1]}</h2>', part)
                   for part in (body, after))  # fmt: skip
    links = "".join(f'<li><a href="#part{place}">{head}</a></li>' for place, head in enumerate(heads, start=1))
    first, end, rest = body.partition("</p>")
    return f'{first}{end}<nav class="contents" aria-label="Contents"><ul>{links}</ul></nav>{rest}', after


def _table(columns: Sequence[str], marked: str) -> str:
    """Return an empty table with its heads and its search, which the script fills."""
    heads = printable("".join(_head(column) for column in columns))
    return f"""<nav><label>Search <input id="search" type="search"></label>
<span class="dim">Rows: <span id="count" role="status"></span>. A click on a head sorts.</span>
<button id="all" type="button" hidden>Draw all rows</button></nav>
<div class="table" tabindex="0" role="region" aria-label="The table" data-marked="{marked}">
<table id="trials"><thead><tr>{heads}</tr></thead><tbody></tbody></table></div>"""


def _head(column: str) -> str:
    return f'<th scope="col" aria-sort="none"><button type="button">{escape(column)}</button></th>'


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


def scrolled(content: str, name: str) -> str:
    """Return HTML that is wider than a narrow screen in a box that scrolls, by keyboard too; `name` says what it is."""
    return f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(name)}">{content}</div>'


def card(value: str, name: str) -> str:
    """Return a value with its name below, as HTML."""
    return f'<div class="card"><b>{escape(value)}</b><span>{escape(name)}</span></div>'


def steps_list(steps: Iterable[Step], without: Reason | None = None) -> str:
    """Return what to do next as HTML; `without` is the reason of the step that led to the page."""
    items = "".join(
        f"<li><code>{escape(step.command)}</code> <span>{escape(step.why)}</span></li>"
        for step in steps
        if step.reason is not without
    )
    return f'<h2>What to do next</h2><ol class="steps">{items}</ol>' if items else ""
