"""Answers to the requests of a browser: pages, their renewed parts, and errors in words."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.resources import files
from typing import Any
from urllib.parse import quote

from bottle import HTTPResponse, Route, request
from sqlalchemy.exc import SQLAlchemyError

from caviar.errors import CaviarError
from caviar.storage.errors import StudyNotFound
from caviar.storage.outage import is_away, reason
from caviar.studies.live.html import POLICY, View, html, link, page
from caviar.studies.results import report
from caviar.studies.results.formatting import without_password
from caviar.text import one_line

_REFUSED = 400  # the status of what waiting does not mend, such as a package that is not installed
_FRESH = {"Cache-Control": "no-store"}


def html_answer(text: str, status: int = 200, policy: str | None = POLICY) -> HTTPResponse:
    """Return a page as an answer; with the policy None it has one of its own."""
    headers = {"Content-Type": "text/html; charset=utf-8", **_FRESH}
    return HTTPResponse(text.encode(), status, {**headers, **({"Content-Security-Policy": policy} if policy else {})})


def json_answer(value: object, status: int = 200) -> HTTPResponse:
    """Return a document as an answer."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    return HTTPResponse(text.encode(), status, {"Content-Type": "application/json", **_FRESH})


def renewal(view: View) -> HTTPResponse:
    """Return the parts of a page, or that the one that is open is current."""
    if request.get_header("If-None-Match") == view.version:
        return HTTPResponse(status=304)
    now = datetime.now(UTC).isoformat()
    return json_answer({"version": view.version, "now": now, "title": view.title, "parts": dict(view.parts)})


def moved(to: str) -> HTTPResponse:
    """Return the address of another page."""
    return HTTPResponse(status=302, headers={"Location": to, **_FRESH})


def css() -> HTTPResponse:
    """Return the style of the pages: that of the report, and what only these have."""
    style = (files(report) / "page.css").read_text() + (files(__package__) / "live.css").read_text()
    return HTTPResponse(
        style.encode(), headers={"Content-Type": "text/css; charset=utf-8", "Cache-Control": "no-cache"}
    )


def script() -> HTTPResponse:
    """Return the script that renews the pages."""
    text = (files(__package__) / "live.js").read_bytes()
    return HTTPResponse(text, headers={"Content-Type": "text/javascript; charset=utf-8", "Cache-Control": "no-cache"})


class Explained:
    """A plugin of the web framework, bottle: an error that somebody can do something about is one sentence.

    A page that cannot be shown for now has the script all the same, which loads it once it can be.
    """

    name, api = "explained", 2

    def apply(self, callback: Callable[..., Any], route: Route) -> Callable[..., Any]:
        """Return the function of a route, whose expected errors are answers."""

        def explained(**arguments: Any) -> Any:
            try:
                return callback(**arguments)
            except (CaviarError, SQLAlchemyError) as error:
                status, why = in_words(error)
            if route.method != "GET" or request.path.endswith("/live"):
                return json_answer({"reason": why}, status)
            return _page_of_an_error(why, status, arguments.get("name"))

        return explained


def in_words(error: CaviarError | SQLAlchemyError) -> tuple[int, str]:
    """Return an error as the status of an answer and a sentence, which names no password."""
    if isinstance(error, CaviarError):
        status = 404 if isinstance(error, StudyNotFound) else _REFUSED
        return status, one_line(str(error))
    what = "the database does not answer" if is_away(error) else "the database refuses this"
    return 503, one_line(without_password(f"{what}: {reason(error)}"))


def _page_of_an_error(why: str, status: int, study: str | None) -> HTTPResponse:
    """Return an error as a page; its script waits for what may come: the study, or an answer of the database."""
    renewed_at = None if status == _REFUSED else "/live" if study is None else f"/study/{quote(study)}/live"
    head, then = ("", "") if renewed_at is None else (" now", "<p>It is loaded as soon as it can be.</p>")
    body = f"<h1>This page cannot be shown{head}</h1><p>{html(why)}</p>{then}"
    return html_answer(page(View("", "Caviar", {"state": body}), renewed_at, [link("/", "All studies")]), status)
