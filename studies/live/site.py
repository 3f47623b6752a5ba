"""Answer requests for Caviar's own pages, and leave all others to Optuna's dashboard.

Optuna's page has its addresses compiled in (`/dashboard`, `/api`, `/static`), so it keeps them; `/optuna` leads there.
"""

from __future__ import annotations

import hmac
import re
import secrets
from collections.abc import Callable, Iterable
from functools import partial
from threading import Lock
from typing import TYPE_CHECKING, Any

from bottle import Bottle, HTTPResponse, request
from sqlalchemy import Engine

from caviar.limits import STUDY_NAME
from caviar.storage.definitions import load_study
from caviar.storage.errors import StudyNotFound
from caviar.storage.fingerprints import Fingerprint, read_fingerprints
from caviar.storage.who import acting_for, current_user
from caviar.studies.live.actions import ACTIONS, Functions
from caviar.studies.live.answers import Explained, css, html_answer, json_answer, moved, renewal, script
from caviar.studies.live.forms import Forms
from caviar.studies.live.html import View, html, link, page
from caviar.studies.live.listing import Listing
from caviar.studies.live.panda import panda_view
from caviar.studies.live.report import report_page
from caviar.studies.live.shared import Shared
from caviar.studies.live.study import Memory, study_view
from caviar.text import shown

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

_VIEWS, _REPORTS = 100, 3  # of studies, that are kept; a report may have megabytes
_OURS = ("", "live", "assets", "study", "optuna")
_OPTUNA = link("/optuna", "Optuna's dashboard")


class Site:
    """Caviar's pages and Optuna's dashboard as one application.

    Args:
        engine: the database whose studies are shown.
        optuna: Optuna's dashboard of the same database.
        functions: those of the library that change a study, by the names of the actions; None where nothing may be
            changed.
    """

    def __init__(self, engine: Engine, optuna: WSGIApplication, functions: Functions | None = None) -> None:
        self._engine, self._optuna, self._functions = engine, optuna, functions
        self._token = None if functions is None else secrets.token_urlsafe()
        self._listing = Listing(engine)
        self._views = _Kept(_VIEWS, lambda name: Shared(partial(self._look, name), partial(self._view, Memory())))
        self._reports = _Kept(_REPORTS, lambda name: Shared(partial(self._look, name), partial(report_page, engine)))
        self._pages = Bottle()
        self._pages.install(Explained())
        for path, answer in {
            "/": self._all,
            "/live": lambda: renewal(self._listing.shared.get()),
            "/study/<name>": self._one,
            "/study/<name>/live": lambda name: renewal(self._views.of(name).get()),
            "/study/<name>/report": lambda name: html_answer(self._reports.of(name).get(), policy=None),
            "/optuna": lambda: moved("/dashboard"),
            "/optuna/<name>": lambda name: moved(f"/dashboard/studies/{self._look(name).optuna_study_id}"),
            "/assets/live.css": css,
            "/assets/live.js": script,
        }.items():
            self._pages.route(path, "GET", answer)
        if functions is not None:
            self._pages.route("/study/<name>/<action>", "POST", self._change)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        first = environ.get("PATH_INFO", "/").lstrip("/").partition("/")[0]
        application: WSGIApplication = self._pages if first in _OURS else self._optuna
        return application(environ, start_response)

    def _all(self) -> HTTPResponse:
        return html_answer(page(self._listing.shared.get(), "/live", [_OPTUNA]))

    def _one(self, name: str) -> HTTPResponse:
        mark, view = self._views.of(name).with_mark()
        navigation = [
            link("/", "All studies"), link(f"/study/{name}/report", "Full report"),
            link(f"/optuna/{name}", "In Optuna's dashboard"),
        ]  # fmt: skip
        below = Forms(name, self._token).below(is_panda=mark.is_panda)
        return html_answer(page(view, f"/study/{name}/live", navigation, below))

    def _change(self, name: str, action: str) -> HTTPResponse:
        """Do what a form asks, and say what came of it."""
        given = request.forms.decode()
        if not hmac.compare_digest(given.get("token", "").encode(), (self._token or "").encode()):
            return json_answer({"reason": "this page is older than the dashboard: load it again"}, 403)
        if action not in ACTIONS:
            return json_answer({"reason": f"there is no action '{shown(action)}'"}, 404)
        assert self._functions is not None  # or there is no route
        self._look(name)
        with acting_for(self._visitor()):
            done = ACTIONS[action].do(self._functions, name, given)
        self._views.of(name).expire()
        self._listing.shared.expire()
        if "json" in request.get_header("Accept", ""):
            return json_answer({"done": done})
        body = {"state": f"<h1>{html(name)}</h1><p>{html(done)}</p>"}
        return html_answer(page(View("", name, body), None, [link(f"/study/{name}", f"Back to {name}")]))

    def _visitor(self) -> str:
        """Return who asks: the name given with the password, and from where; without one, who runs the dashboard."""
        name = request.environ.get("REMOTE_USER")
        here = current_user() if name is None else f"{name}@{request.environ.get('REMOTE_ADDR', '?')}"
        return f"{here}, in the dashboard"

    def _look(self, name: str) -> Fingerprint:
        """Return the fingerprint of a study.

        Raises:
            StudyNotFound: there is none of that name, or no longer.
        """
        if re.fullmatch(STUDY_NAME, name) and (mark := read_fingerprints(self._engine, name).get(name)):
            return mark
        load_study(self._engine, name)  # which says which ones there are
        raise StudyNotFound(f"the study '{shown(name)}' was begun this very moment")

    def _view(self, memory: Memory, mark: Fingerprint) -> View:
        forms = Forms(mark.name, self._token)
        if mark.is_panda:
            return panda_view(self._engine, mark, forms)
        return study_view(self._engine, mark, forms, memory)


class _Kept:
    """What is shared of the studies that were looked at last."""

    def __init__(self, most: int, make: Callable[[str], Shared[Fingerprint, Any]]) -> None:
        self._most, self._make = most, make
        self._lock = Lock()
        self._kept: dict[str, Shared[Fingerprint, Any]] = {}

    def of(self, name: str) -> Shared[Fingerprint, Any]:
        with self._lock:
            self._kept[name] = self._kept.pop(name) if name in self._kept else self._make(name)
            while len(self._kept) > self._most:
                del self._kept[next(iter(self._kept))]
            return self._kept[name]
