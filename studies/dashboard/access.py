"""Control access to the dashboard as WSGI middleware: which requests are answered, and whether any may change things.

Which changes are made, where they are allowed, is decided on in `changes`.
"""

from __future__ import annotations

import base64
import hmac
import json
import os
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from caviar.studies.dashboard.changes import READING

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

_DELAY_SECONDS = 1.0  # after a wrong password, in which that address gets no other try
_LOCAL = ("localhost", "127.0.0.1", "::1")
_ADDRESSES = 1000  # that are remembered
_HEADERS = [
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
    ("Referrer-Policy", "no-referrer"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
]


class AccessControl:
    """Passes requests on to a dashboard, or refuses them.

    Args:
        application: the dashboard.
        password: the password for HTTP's basic authentication, under any name. With None only requests for a name of
            this machine are answered: a page of another site whose name points at this machine (DNS rebinding) could
            otherwise read the answers.
        host: the address that the dashboard listens at, which is one of the names of this machine.
        changes: whether anything may be changed.
    """

    def __init__(
        self, application: WSGIApplication, password: str | None, *, changes: bool, host: str = "127.0.0.1"
    ) -> None:
        self._application, self._password, self._changes = application, password, changes
        self._names = {*_LOCAL, host.lower()}
        self._failed: dict[str, float] = {}  # the time of the last wrong password, by address

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        def start(status: str, headers: list[tuple[str, str]], *exception: object) -> object:
            return start_response(status, [*headers, *_HEADERS], *exception)  # type: ignore[arg-type]

        refused = self._refusal(environ)
        if refused is None:
            return self._application(environ, start)  # type: ignore[arg-type]
        status, why = refused
        body = json.dumps({"reason": why}).encode()  # the form that the dashboard's page shows
        headers = [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
        if status.startswith("401"):
            headers.append(("WWW-Authenticate", 'Basic realm="caviar", charset="UTF-8"'))
        start(status, headers)
        return [body]

    def _refusal(self, environ: WSGIEnvironment) -> tuple[str, str] | None:
        """Return status and reason if a request is refused, else None."""
        if self._password is None:
            if _host(f"//{environ.get('HTTP_HOST', '')}")[0] not in self._names:
                return "403 Forbidden", "this dashboard answers at this machine's own name only"
        elif (refused := self._password_refusal(environ)) is not None:
            return refused
        if environ["REQUEST_METHOD"] in READING:
            return None
        if not self._changes:
            return "403 Forbidden", "this dashboard is to look at; start it with --allow-changes"
        origin = environ.get("HTTP_ORIGIN")
        if origin is not None and _host(origin)[1] != environ.get("HTTP_HOST"):
            return "403 Forbidden", "a page of another site may change nothing here"
        return None

    def _password_refusal(self, environ: WSGIEnvironment) -> tuple[str, str] | None:
        """Return status and reason if a request lacks the password, else None."""
        address, now = environ.get("REMOTE_ADDR", ""), time.monotonic()
        if now - self._failed.get(address, -_DELAY_SECONDS) < _DELAY_SECONDS:
            return "429 Too Many Requests", "wait a second after a wrong password"
        given = environ.get("HTTP_AUTHORIZATION")
        if given is not None and (name := self._name_with_the_password(given)) is not None:
            environ["REMOTE_USER"] = name  # as CGI calls it, for whoever records who changed something
            return None
        if given is not None:  # a browser's first request has none
            if len(self._failed) >= _ADDRESSES:
                self._failed.clear()
            self._failed[address] = now
        return "401 Unauthorized", "the password is that of CAVIAR_DASHBOARD_PASSWORD, under any name"

    def _name_with_the_password(self, given: str) -> str | None:
        """Return the name that the right password is given with; None if it is a wrong one."""
        assert self._password is not None
        kind, _, encoded = given.partition(" ")
        try:
            name, _, password = base64.b64decode(encoded, validate=True).partition(b":")
        except ValueError:  # not base64
            return None
        is_right = kind.lower() == "basic" and hmac.compare_digest(password, os.fsencode(self._password))
        return name.decode(errors="replace") if is_right else None


def _host(url: str) -> tuple[str | None, str | None]:
    """Return an address' host without and with its port; None for what is no address."""
    try:
        parts = urlsplit(url)
        return parts.hostname, parts.netloc
    except ValueError:
        return None, None
