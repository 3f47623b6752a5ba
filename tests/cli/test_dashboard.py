"""`caviar dashboard` as a user runs it: a real process, asked by HTTP, ended by signals."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.request import urlopen

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.engine import URL

from studies.cli import run
from studies.manager import open_study
from tests.studies_for_tests import small_study

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
        assert "<!DOCTYPE html>" in get(port, "/")
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


def test_the_built_in_server_too_which_sigterm_stops(start: Callable[..., subprocess.Popen[str]], home: Path) -> None:
    process = start(None)
    _, port = address_of(process)
    assert not shows_small(port)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 0
    assert not (home / "postgres" / "data" / "postmaster.pid").exists()


def test_an_address_that_others_reach_comes_with_a_word_of_warning(
    engine: Engine, start: Callable[..., subprocess.Popen[str]]
) -> None:
    process = start(engine.url, "--host", "0.0.0.0")
    host, port = address_of(process)
    assert host == "0.0.0.0"
    assert not shows_small(port)
    process.terminate()
    _, told = process.communicate(timeout=30)
    assert told.splitlines() == [
        "it has no login yet: anybody who reaches this address can change and delete studies there"
    ]


@pytest.mark.parametrize("host", ["127.0.0.1", "192.0.2.1", "no-such-host.invalid"])
def test_an_address_that_is_not_to_be_had_is_one_line(host: str, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert run(["dashboard", "--host", host, "--port", str(port)]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith(f"caviar: the dashboard cannot listen at {host}:{port}: ")
    assert len(said.err.splitlines()) == 1
    assert host != "127.0.0.1" or "Address already in use" in said.err
