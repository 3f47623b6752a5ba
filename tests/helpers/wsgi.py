"""Requests to a WSGI application, without a server."""

from __future__ import annotations

from typing import Any
from wsgiref.util import setup_testing_defaults


def asked(application: Any, path: str) -> str:
    """Return the answer to a request."""
    environ: dict[str, Any] = {}
    setup_testing_defaults(environ)
    said: list[str] = []
    body = b"".join(application({**environ, "PATH_INFO": path}, lambda status, *_: said.append(status)))
    assert said == ["200 OK"], (path, said, body)
    return body.decode()
