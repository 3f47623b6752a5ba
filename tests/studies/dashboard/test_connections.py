"""Slow connections keep nobody out of the dashboard, whether they know its password or not."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from http.client import HTTPConnection
from typing import Any

import pytest

from caviar.studies.dashboard import connections
from caviar.studies.dashboard.server import DashboardServer
from caviar.studies.workers.local.signals import Stop

HELD = threading.Event()  # lets the slow answer end


def shown(environ: Any, start_response: Any) -> list[bytes]:
    if environ["PATH_INFO"] == "/slow":
        assert HELD.wait(60)
    start_response("200 OK", [("Content-Length", "6")])
    return [b"inside"]


@pytest.fixture
def port() -> Iterator[int]:
    with Stop() as stop, DashboardServer("127.0.0.1", 0) as server:
        thread = threading.Thread(target=server.serve, args=(shown, stop))
        thread.start()
        yield int(server.url.rpartition(":")[2])
        stop.ask()
        thread.join(60)


@pytest.fixture
def open_slow(port: int) -> Iterator[Callable[..., list[socket.socket]]]:
    """Opens connections from an address of this machine, each with half a request."""
    with ExitStack() as stack:

        def start(count: int, address: str = "127.0.0.1") -> list[socket.socket]:
            made = []
            for _ in range(count):
                slow = socket.create_connection(("127.0.0.1", port), timeout=60, source_address=(address, 0))
                made.append(stack.enter_context(slow))
                slow.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nX-")
            return made

        yield start


def ask(port: int, address: str = "127.0.0.1", path: str = "/") -> bytes:
    asking = HTTPConnection("127.0.0.1", port, timeout=60, source_address=(address, 0))
    asking.request("GET", path)
    answer = asking.getresponse().read()
    asking.close()
    return answer


def is_closed(connection: socket.socket) -> bool:
    connection.settimeout(60)
    with suppress(ConnectionResetError):
        return connection.recv(1) == b""
    return True


@pytest.mark.parametrize("address", ["127.0.0.1", "127.0.0.2"])
def test_150_slow_connections_keep_nobody_out(
    port: int, open_slow: Callable[..., list[socket.socket]], address: str
) -> None:
    slow = open_slow(150)
    assert ask(port, address) == b"inside"
    assert all(is_closed(connection) for connection in slow[:110])  # the oldest of that address


def test_slow_connections_from_many_addresses_keep_nobody_out(
    port: int, open_slow: Callable[..., list[socket.socket]]
) -> None:
    oldest = open_slow(1, "127.0.1.1")
    for number in range(2, 12):
        open_slow(30, f"127.0.1.{number}")
    assert ask(port) == b"inside"
    assert is_closed(oldest[0])


def test_an_answer_that_takes_long_is_not_cut_off(port: int, open_slow: Callable[..., list[socket.socket]]) -> None:
    HELD.clear()
    answers: list[bytes] = []
    waiting = threading.Thread(target=lambda: answers.append(ask(port, path="/slow")))
    waiting.start()
    assert ask(port) == b"inside"
    open_slow(100)
    assert ask(port) == b"inside"
    HELD.set()
    waiting.join(60)
    assert answers == [b"inside"]


def test_a_request_that_drips_in_is_not_waited_for(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "_SECONDS", 0.3)
    with socket.create_connection(("127.0.0.1", port), timeout=0.1) as slow:
        slow.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nX: ")
        for _ in range(600):
            try:
                slow.sendall(b"x")
                assert slow.recv(1) == b""
                return
            except TimeoutError:
                continue
            except OSError:
                return
    pytest.fail("it was waited for")
