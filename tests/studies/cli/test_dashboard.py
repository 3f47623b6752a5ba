"""`caviar dashboard` as a user runs it: a real process, asked by HTTP, ended by signals."""

from __future__ import annotations

import base64
import json
import os
import re
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.engine import URL

from caviar.storage.definitions import load_study
from caviar.storage.grants import grant_worker
from caviar.studies.cli import run
from caviar.studies.dashboard.note import leave_note
from caviar.studies.dashboard.server import DashboardServer
from caviar.studies.lifecycle.manager import open_study, progress
from caviar.studies.results.conclusion import conclude
from caviar.studies.results.winner import read_winner
from tests.helpers.browser import browser, needs_chromedriver
from tests.helpers.roles import execute, new_role
from tests.helpers.studies import small_study
from tests.helpers.workers import register, worker

PASSWORD = "s{e}c@r/e%t"  # the tests' server takes any; what Optuna makes of it must still be an address


@pytest.fixture
def home() -> Iterator[Path]:
    """Not under pytest's own temporary folder, for the reason that conftest.py gives."""
    with tempfile.TemporaryDirectory(prefix="caviar-tests-") as folder:
        yield Path(folder)


@pytest.fixture
def start(caviar: list[str], home: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts the command on a free port, on a database or on the built-in server; the test's end kills it."""
    processes = []

    def start(url: URL | None, *arguments: str) -> subprocess.Popen[str]:
        environ = {**os.environ, "CAVIAR_HOME": str(home)}
        if url is not None:
            environ["CAVIAR_DATABASE_URL"] = url.set(password=PASSWORD).render_as_string(hide_password=False)
        process = subprocess.Popen([*caviar, "dashboard", "--port", "0", *arguments], env=environ, text=True,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE)  # fmt: skip
        processes.append(process)
        return process

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def address_of(process: subprocess.Popen[str]) -> tuple[str, int]:
    """Wait until the dashboard says where it is."""
    assert process.stdout is not None
    said = process.stdout.readline()
    found = re.fullmatch(r"the dashboard is at http://(\S+):(\d+); Ctrl-C stops it\n", said)
    assert found, said or process.communicate()[1]
    return found[1], int(found[2])


def asked(
    port: int, path: str, method: str = "GET", *, password: str | None = None, body: dict[str, Any] | None = None
) -> int:
    """Ask for something; return the status of the answer."""
    request = Request(f"http://127.0.0.1:{port}{path}", method=method, data=body and json.dumps(body).encode())
    if body:
        request.add_header("Content-Type", "application/json")
    if password is not None:
        request.add_header("Authorization", "Basic " + base64.b64encode(f"me:{password}".encode()).decode())
    try:
        with urlopen(request, timeout=30) as response:
            return int(response.status)
    except HTTPError as error:
        return error.code


def get(port: int, path: str) -> str:
    with urlopen(f"http://127.0.0.1:{port}{path}", timeout=30) as response:
        return str(response.read().decode())


def shows_small(port: int) -> bool:
    return '"small"' in get(port, "/api/studies")


def test_it_shows_the_studies_of_the_database_until_ctrl_c(
    engine: Engine, start: Callable[..., subprocess.Popen[str]]
) -> None:
    open_study(engine, small_study())
    process = start(engine.url)
    host, port = address_of(process)
    assert host == "127.0.0.1"
    with socket.create_connection((host, port)):  # as a browser that may ask something later
        assert shows_small(port)
        assert "<h1>Studies</h1>" in get(port, "/")
        assert "<!DOCTYPE html>" in get(port, "/optuna")
        process.send_signal(signal.SIGINT)
        said, told = process.communicate(timeout=30)
    assert (process.returncode, said, told) == (130, "", "caviar: stopped\n")


def test_it_survives_a_restart_of_the_database(engine: Engine, start: Callable[..., subprocess.Popen[str]]) -> None:
    open_study(engine, small_study())
    _, port = address_of(start(engine.url))
    assert shows_small(port)
    with engine.begin() as connection:
        connection.execute(text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                                "WHERE datname = current_database() AND pid <> pg_backend_pid()"))  # fmt: skip
    assert shows_small(port)


@pytest.mark.database
def test_the_built_in_server_too_which_sigterm_stops(start: Callable[..., subprocess.Popen[str]], home: Path) -> None:
    process = start(None)
    _, port = address_of(process)
    assert not shows_small(port)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 0
    assert not (home / "postgres" / "data" / "postmaster.pid").exists()


def test_an_address_that_others_reach_needs_a_password(
    engine: Engine, start: Callable[..., subprocess.Popen[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    open_study(engine, small_study())
    said, told = (refused := start(engine.url, "--host", "0.0.0.0")).communicate(timeout=60)
    assert (refused.returncode, said) == (2, "")
    assert "set CAVIAR_DASHBOARD_PASSWORD" in told
    monkeypatch.setenv("CAVIAR_DASHBOARD_PASSWORD", PASSWORD)
    process = start(engine.url, "--host", "0.0.0.0")
    host, port = address_of(process)
    assert host == "0.0.0.0"
    for password, status in ((None, 401), (PASSWORD, 200), ("wrong", 401), (PASSWORD, 429)):
        assert asked(port, "/api/studies", password=password) == status
    assert PASSWORD not in Path(f"/proc/{process.pid}/cmdline").read_text()


def test_it_is_to_look_at(engine: Engine, start: Callable[..., subprocess.Popen[str]]) -> None:
    id_ = open_study(engine, small_study()).optuna_study_id
    _, port = address_of(start(engine.url))
    assert asked(port, f"/api/studies/{id_}", "DELETE") == 403
    assert asked(port, f"/api/studies/{id_}/rename", "POST", body={"study_name": "other"}) == 403
    assert shows_small(port)


def test_changes_that_are_allowed_are_made_but_for_what_harms_a_study_of_ours(
    engine: Engine, start: Callable[..., subprocess.Popen[str]]
) -> None:
    record = open_study(engine, small_study())
    _, port = address_of(start(engine.url, "--allow-changes"))
    rename = f"/api/studies/{record.optuna_study_id}/rename"
    for path in (rename, rename + "/", rename.replace("rename", "ren%FFame"), rename + "%0a", rename + "%0A/"):
        assert asked(port, path, "POST", body={"study_name": "other"}) == 403
    assert asked(port, f"/api/studies/{record.optuna_study_id}", "DELETE") == 403
    assert load_study(engine, "small").optuna_study_id == record.optuna_study_id
    note = {"body": "seen", "version": 1}
    assert asked(port, f"/api/studies/{record.optuna_study_id}/note", "PUT", body=note) == 204


def test_the_page_of_a_study_is_named(engine: Engine, start: Callable[..., subprocess.Popen[str]]) -> None:
    open_study(engine, small_study())
    process = start(engine.url, "small")
    assert process.stdout is not None
    said = process.stdout.readline()
    assert re.fullmatch(r"the dashboard is at http://\S+/study/small; Ctrl-C stops it\n", said)
    said, told = (refused := start(engine.url, "smal")).communicate(timeout=60)
    assert (refused.returncode, said) == (2, "")
    assert "no study 'smal'" in told


def test_the_role_of_a_worker_sees_it_too_and_one_that_may_not_is_told_so(
    engine: Engine, start: Callable[..., subprocess.Popen[str]]
) -> None:
    open_study(engine, small_study())
    with new_role(engine) as role:
        grant_worker(engine, role)
        process = start(engine.url.set(username=role))
        assert shows_small(address_of(process)[1])
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=30) == ("", "caviar: stopped\n")
        execute(engine, f"REVOKE SELECT ON public.version_info FROM {role}")  # as before there was that right
        said, told = (refused := start(engine.url.set(username=role))).communicate(timeout=60)
        assert (refused.returncode, said) == (2, "")
        assert "permission denied for table version_info" in told
        assert told.endswith(f"caviar db grant {role}\n")
        assert len(told.splitlines()) == 1


@pytest.mark.slow
@needs_chromedriver
def test_a_browser_shows_the_study_its_points_and_its_note_behind_the_password(
    engine: Engine, start: Callable[..., subprocess.Popen[str]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    record, study = register(engine, budget=12, pruner="none")
    worker(engine, record, study).run()
    conclude(engine, record, Path("nowhere"))
    leave_note(engine, record, read_winner(engine, record))
    best = progress(engine, record).best
    assert best is not None
    with engine.connect() as connection:
        values = connection.scalars(text("SELECT value FROM public.trial_values")).all()
    assert len(values) == study.budget
    monkeypatch.setenv("CAVIAR_DASHBOARD_PASSWORD", "open sesame")
    process = start(engine.url, "small")
    assert process.stdout is not None
    said = re.search(r"http://(\S+)/study/small;", process.stdout.readline())
    assert said
    place, path = said[1], f"dashboard/studies/{record.optuna_study_id}"
    with browser(tmp_path) as page:
        page.go(f"http://me:wrong@{place}/{path}")
        assert page.status() == 401
        time.sleep(1.1)  # that the door waits after a wrong one
        page.go(f"http://me:open%20sesame@{place}/dashboard")
        assert page.status() == 200
        page.go(f"http://{place}/dashboard")  # what a page asks for by itself has no name in its address
        link = f"return document.querySelector('a[href$=\"/{path}\"]')"
        assert page.wait(f"{link}?.innerText") == f"{record.optuna_study_id}. small\nDirection: MAXIMIZE"
        page.ask(f"{link}.click()")  # the list has no values: they are on the study's own page
        page.wait("return document.body.innerText.includes(arguments[0])", str(best.value))
        assert f"Best Trial (number={best.slot.number})" in page.ask("return document.body.innerText")
        points = page.wait(
            "const plot = document.querySelector('#plot-history.js-plotly-plot');"
            "return plot && plot.data.filter(t => !t.name.startsWith('Best Value')).flatMap(t => [...t.y])"
        )
        assert sorted(points) == sorted(values)
        page.go(f"http://{place}/{path}/note")
        page.wait("return [...document.querySelectorAll('h2')].some(e => e.innerText === 'small')")
        note = page.ask("return document.body.innerText")
        assert f"Winner: trial {best.slot.number}, accuracy {best.value:.4g}" in note
        assert "caviar-begin" not in note
        assert "tier 2: momentum, 0.9 … 0.999, log of 1-β" in note
        delete = f"/api/studies/{record.optuna_study_id}"
        assert page.ask("return fetch(arguments[0], {method: 'DELETE'}).then(r => r.status)", delete) == 403
        assert [error for error in page.errors() if "status of 40" not in error] == []
    assert progress(engine, record).done == study.budget


def test_where_8080_is_taken_the_next_one_is_listened_at() -> None:
    with DashboardServer("127.0.0.1", None) as first, DashboardServer("127.0.0.1", None) as second:
        ports = [int(server.url.rpartition(":")[2]) for server in (first, second)]
    assert 8080 <= ports[0] < ports[1] < 8100


@pytest.mark.parametrize("host", ["127.0.0.1", "192.0.2.1", "no-such-host.invalid", "a..b", "a" * 64])
def test_an_address_that_is_not_to_be_had_is_one_line(host: str, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert run(["dashboard", "--host", host, "--port", str(port)]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith(f"caviar: the dashboard cannot listen at {host}:{port}: ")
    assert len(said.err.splitlines()) == 1
    assert host != "127.0.0.1" or "Address already in use" in said.err
