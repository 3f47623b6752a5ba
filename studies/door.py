"""The dashboard's door: who may come in, and what may be changed. A WSGI application around another one.

A rename in the dashboard would kill the workers of a study, which know it by its name, and a told trial would spend a
slot that nobody leased: so nothing is changed unless that is allowed, and a study that is being trained is not renamed.
"""

from __future__ import annotations

import base64
import hmac
import json
import re
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

_LOOKS = ("GET", "HEAD")
_RENAME = re.compile(r"/api/studies/(\d+)/rename")
_DELAY_SECONDS = 1.0  # after a wrong password
_LOCAL = ("localhost", "127.0.0.1", "::1")
_HEADERS = [
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
    ("Referrer-Policy", "no-referrer"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
]


class Door:
    """Lets requests through to a dashboard, or refuses them.

    Args:
        password: what HTTP's basic authentication has to give, under any name; None asks for none, and answers only
            those who came by a name of this machine: another site's page, whose name was made to mean this machine,
            could otherwise read along.
        changes: whether anything may be changed.
        is_trained: says of Optuna's id of a study whether somebody trains it.
    """

    def __init__(
        self, shown: WSGIApplication, password: str | None, *, changes: bool, is_trained: Callable[[int], bool]
    ) -> None:
        self._shown = shown
        self._password = password
        self._changes = changes
        self._is_trained = is_trained

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        def start(status: str, headers: list[tuple[str, str]], *exception: object) -> object:
            return start_response(status, [*headers, *_HEADERS], *exception)  # type: ignore[arg-type]

        refused = self._refused(environ)
        if refused is None:
            return self._shown(environ, start)  # type: ignore[arg-type]
        status, why = refused
        body = json.dumps({"reason": why}).encode()  # as the dashboard shows it to its user
        headers = [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
        if status.startswith("401"):
            headers.append(("WWW-Authenticate", 'Basic realm="caviar", charset="UTF-8"'))
        start(status, headers)
        return [body]

    def _refused(self, environ: WSGIEnvironment) -> tuple[str, str] | None:
        """Return the status and the reason of a refusal; None where a request may come in."""
        if self._password is None:
            if urlsplit(f"//{environ.get('HTTP_HOST', '')}").hostname not in _LOCAL:
                return "403 Forbidden", "this dashboard answers at localhost only"
        elif not self._knows(environ.get("HTTP_AUTHORIZATION", "")):
            if "HTTP_AUTHORIZATION" in environ:
                time.sleep(_DELAY_SECONDS)
            return "401 Unauthorized", "the password is that of CAVIAR_DASHBOARD_PASSWORD, under any name"
        if environ["REQUEST_METHOD"] in _LOOKS:
            return None
        if not self._changes:
            return "403 Forbidden", "this dashboard is to look at; start it with --allow-changes"
        origin = environ.get("HTTP_ORIGIN")
        if origin is not None and urlsplit(origin).netloc != environ.get("HTTP_HOST"):
            return "403 Forbidden", "a page of another site may change nothing here"
        renamed = _RENAME.fullmatch(environ.get("PATH_INFO", ""))
        if renamed and self._is_trained(int(renamed[1])):
            return "403 Forbidden", "the study is being trained, and its workers know it by this name"
        return None

    def _knows(self, given: str) -> bool:
        assert self._password is not None
        kind, _, encoded = given.partition(" ")
        try:
            _, _, password = base64.b64decode(encoded, validate=True).partition(b":")
        except ValueError:  # not of its alphabet, or not even ASCII
            return False
        return kind.lower() == "basic" and hmac.compare_digest(password, self._password.encode())
