"""Write HTML for pages that a script renews: every text is escaped, and nothing needs a style or script of its own.

The content security policy of these pages allows no inline style, so colours are classes of `live.css`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape

from caviar.studies.results.formatting import duration
from caviar.text import printable

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)


class Html(str):
    """A text that is HTML already, and is not escaped again."""

    __slots__ = ()


@dataclass(frozen=True)
class View:
    """A page at one moment.

    Attributes:
        version: changes with anything in it.
        title: the text of the page's title.
        parts: the HTML of each part by the id of its element, in their order. The script replaces those that changed.
    """

    version: str
    title: str
    parts: Mapping[str, str]


def version_of(*texts: str) -> str:
    """Return a short text that differs where any of these texts does."""
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:16]


def html(value: object) -> str:
    """Return a value as HTML: a text without control characters, escaped unless it is `Html`."""
    return printable(value if isinstance(value, Html) else escape(str(value)))


def table(columns: Sequence[str], rows: Sequence[Sequence[object]], name: str) -> Html:
    """Return a table, whose rows a narrow screen shows as cards: each cell has the name of its column.

    Args:
        name: what it lists, for those who hear it.
    """
    head = "".join(f'<th scope="col">{html(column)}</th>' for column in columns)
    body = "".join(
        "<tr>" + "".join(
            f'<td data-label="{html(column)}">{html(cell)}</td>' for column, cell in zip(columns, row, strict=True)
        ) + "</tr>"
        for row in rows
    )  # fmt: skip
    return Html(
        f'<table class="rows" aria-label="{html(name)}"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'
    )


def link(address: str, text: object) -> Html:
    """Return a link."""
    return Html(f'<a href="{html(address)}">{html(text)}</a>')


def bar(done: int, of: int, name: str, kind: str = "") -> Html:
    """Return a progress bar; `kind` is a class that has its colour."""
    return Html(
        f'<progress class="{html(kind)}" value="{done}" max="{max(of, 1)}" aria-label="{html(name)}"></progress>'
    )


def badge(state: object) -> Html:
    """Return the state of a study, in its colour."""
    return Html(f'<span class="badge {html(state).split()[0]}">{html(state)}</span>')


def age(at: datetime, now: datetime | None = None) -> Html:
    """Return how long ago something was; the script counts on."""
    seconds = max(((now or datetime.now(UTC)) - at).total_seconds(), 0.0)
    return Html(f'<time datetime="{at.isoformat()}" data-age>{duration(float(round(seconds)))} ago</time>')


def page(view: View, renewed_at: str | None, navigation: Sequence[Html], below: str = "") -> str:
    """Return a whole page.

    Args:
        renewed_at: the address that gives the script the parts anew; None if they stay as they are.
        below: HTML that is not renewed, such as forms.
    """
    parts = "".join(f'<section id="{html(name)}" class="part">{part}</section>' for name, part in view.parts.items())
    now = datetime.now(UTC).isoformat()
    links = "".join(f"<li>{one}</li>" for one in navigation)
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{html(view.title)}</title>
<link rel="icon" href="data:,"><link rel="stylesheet" href="/assets/live.css">
<script src="/assets/live.js" defer></script>
<noscript><meta http-equiv="refresh" content="10"></noscript></head><body>
<nav aria-label="Pages"><ul>{links}</ul></nav>
<p id="said" role="status"></p>
<main data-live="{html(renewed_at or "")}" data-version="{html(view.version)}" data-now="{now}">
{parts}{below}</main></body></html>
"""
