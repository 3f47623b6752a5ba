"""Access control for the dashboard (WSGI middleware): which requests may come in, and what they may change.

A rename in the dashboard makes another study of Optuna's and deletes the first, to which all of Caviar's rows belong,
and a told trial would spend a slot that nobody leased: so nothing is changed unless that is allowed, and no study of
Caviar's is ever renamed.
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
_DELAY_SECONDS = 1.0  # after a wrong password, in which nobody at that address is answered
_LOCAL = ("localhost", "127.0.0.1", "::1")
_ADDRESSES = 1000  # that are remembered
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
        host: that the dashboard was asked to listen at: one of the names of this machine.
        changes: whether anything may be changed.
        is_ours: says of Optuna's id of a study whether it is Caviar's.
    """

    def __init__(
        self,
        shown: WSGIApplication,
        password: str | None,
        *,
        changes: bool,
        is_ours: Callable[[int], bool],
        host: str = "127.0.0.1",
    ) -> None:
        self._shown = shown
        self._password = password
        self._changes = changes
        self._is_ours = is_ours
        self._names = {*_LOCAL, host.lower()}
        self._failed: dict[str, float] = {}  # when, by address

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
            if _host(f"//{environ.get('HTTP_HOST', '')}")[0] not in self._names:
                return "403 Forbidden", "this dashboard answers at this machine's own name only"
        elif (refused := self._without_password(environ)) is not None:
            return refused
        if environ["REQUEST_METHOD"] in _LOOKS:
            return None
        if not self._changes:
            return "403 Forbidden", "this dashboard is to look at; start it with --allow-changes"
        origin = environ.get("HTTP_ORIGIN")
        if origin is not None and _host(origin)[1] != environ.get("HTTP_HOST"):
            return "403 Forbidden", "a page of another site may change nothing here"
        # As the application reads a path: without what is no UTF-8, and without slashes at its end.
        path = environ.get("PATH_INFO", "").encode("latin1", "ignore").decode("utf8", "ignore").rstrip("/")
        renamed = _RENAME.fullmatch(path)
        if renamed and self._is_ours(int(renamed[1])):
            return "403 Forbidden", "a rename would take the study from Caviar; run it under another name instead"
        return None

    def _without_password(self, environ: WSGIEnvironment) -> tuple[str, str] | None:
        """Return how a request without the right password is refused; None where it has it."""
        address, now = environ.get("REMOTE_ADDR", ""), time.monotonic()
        if now - self._failed.get(address, -_DELAY_SECONDS) < _DELAY_SECONDS:
            return "429 Too Many Requests", "wait a second after a wrong password"
        given = environ.get("HTTP_AUTHORIZATION")
        if given is not None and self._knows(given):
            return None
        if given is not None:  # a browser asks without one first
            if len(self._failed) >= _ADDRESSES:
                self._failed.clear()
            self._failed[address] = now
        return "401 Unauthorized", "the password is that of CAVIAR_DASHBOARD_PASSWORD, under any name"

    def _knows(self, given: str) -> bool:
        assert self._password is not None
        kind, _, encoded = given.partition(" ")
        try:
            _, _, password = base64.b64decode(encoded, validate=True).partition(b":")
        except ValueError:  # not of its alphabet, or not even ASCII
            return False
        return kind.lower() == "basic" and hmac.compare_digest(password, self._password.encode())


def _host(url: str) -> tuple[str | None, str | None]:
    """Return the name of the host of an address, and that with its port; None where it is no address."""
    try:
        parts = urlsplit(url)
        return parts.hostname, parts.netloc
    except ValueError:
        return None, None
