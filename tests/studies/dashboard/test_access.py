"""Who comes in at the dashboard's access, and what may be changed there."""

from __future__ import annotations

import base64
import io
from typing import Any
from wsgiref.util import setup_testing_defaults

import pytest

from caviar.studies.dashboard import access as module
from caviar.studies.dashboard.access import AccessControl

Headers = dict[str, str]


def shown(environ: Any, start_response: Any) -> list[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"inside"]


def ask(access: AccessControl, method: str = "GET", path: str = "/", **more: str) -> tuple[str, Headers, bytes]:
    environ: dict[str, Any] = {"REQUEST_METHOD": method, "PATH_INFO": path, "HTTP_HOST": "127.0.0.1:8080", **more}
    setup_testing_defaults(environ)
    environ["wsgi.input"] = io.BytesIO()
    answered: list[Any] = []
    body = b"".join(access(environ, lambda status, headers, *_: answered.append((status, dict(headers)))))  # type: ignore[arg-type, return-value]
    status, headers = answered[0]
    return status[:3], headers, body


def with_password(password: str, name: str = "me") -> Headers:
    return {"HTTP_AUTHORIZATION": "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()}


def local(*, changes: bool = False, host: str = "127.0.0.1") -> AccessControl:
    return AccessControl(shown, None, host=host, changes=changes)


def test_this_machine_may_look_and_every_answer_has_the_headers() -> None:
    for host in ("127.0.0.1:8080", "localhost:8080", "[::1]:8080"):
        status, headers, body = ask(local(), HTTP_HOST=host)
        assert (status, body) == ("200", b"inside")
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["X-Frame-Options"] == "DENY"
    assert ask(local(), "POST")[1]["X-Frame-Options"] == "DENY"


def test_a_name_that_was_made_to_mean_this_machine_is_refused() -> None:
    for host in ("evil.example", "127.0.0.1.evil.example:8080", "", "[", "127.0.0.2:8080"):
        assert ask(local(), HTTP_HOST=host)[0] == "403"
    assert ask(local(host="127.0.0.2"), HTTP_HOST="127.0.0.2:8080")[0] == "200"


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_to_look_at_means_that_nothing_is_changed(method: str) -> None:
    status, _, body = ask(local(), method, "/api/studies/3")
    assert status == "403"
    assert body == b'{"reason": "this dashboard is to look at; start it with --allow-changes"}'


def test_changes_that_are_allowed_reach_the_dashboard() -> None:
    access = local(changes=True)
    assert ask(access, "DELETE", "/api/studies/3")[0] == "200"
    assert ask(access, "POST", "/api/studies/4/rename")[0] == "200"


def test_another_sites_page_changes_nothing() -> None:
    access = local(changes=True)
    assert ask(access, "POST", "/api/studies", HTTP_ORIGIN="http://evil.example")[0] == "403"
    assert ask(access, "POST", "/api/studies", HTTP_ORIGIN="http://[")[0] == "403"
    assert ask(access, "POST", "/api/studies", HTTP_ORIGIN="http://127.0.0.1:8080")[0] == "200"


def test_a_password_is_asked_for_and_a_wrong_one_makes_its_address_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: clock[0])
    access = AccessControl(shown, "s{e}c:rät", changes=False)
    status, headers, _ = ask(access, HTTP_HOST="caviar.example")
    assert status == "401"
    assert headers["WWW-Authenticate"].startswith("Basic ")
    assert ask(access, HTTP_HOST="caviar.example", **with_password("s{e}c:rät"))[0] == "200"  # at once
    wrong = [with_password(password) for password in ("", "s{e}c", "s{e}c:rät ", "S{E}C:RÄT")]
    for garbage in ("Basic", "Basic ???", "Bearer s{e}c:rät", "Basic " + base64.b64encode(b"\xff\xfe").decode()):
        wrong.append({"HTTP_AUTHORIZATION": garbage})
    for given in wrong:
        clock[0] += 2
        assert ask(access, **given)[0] == "401"
        assert ask(access, **with_password("s{e}c:rät"))[0] == "429"  # so that nobody can guess faster than that
        assert ask(access, REMOTE_ADDR="10.0.0.9", **with_password("s{e}c:rät"))[0] == "200"
    clock[0] += 2
    assert ask(access, **with_password("s{e}c:rät"))[0] == "200"


def test_a_password_may_be_any_bytes() -> None:
    access = AccessControl(shown, "caf\udce9", host="0.0.0.0", changes=False)
    given = {"HTTP_AUTHORIZATION": "Basic " + base64.b64encode(b"me:caf\xe9").decode()}
    assert ask(access, REMOTE_ADDR="10.0.0.1", **given)[0] == "200"
