"""Waiting for the server: a slow handshake is a slow one, and no failure."""

from __future__ import annotations

import os
import resource
import socket
import threading

from psycopg2 import extensions
from sqlalchemy import Engine

from caviar.storage.waiting import _never, _wait


class SlowHandshake:
    """A connection whose socket is not writable at first, as before the server has answered; polled like psycopg2's."""

    status = extensions.STATUS_SETUP

    def __init__(self) -> None:
        self._socket, self._server = socket.socketpair()
        self._socket.setblocking(False)
        with self._socket.dup() as full:
            full.setblocking(False)
            try:
                while True:
                    full.send(bytes(65536))
            except BlockingIOError:
                self.polls, self.answers = 0, False

    def answer(self) -> None:
        self.answers = True
        self._server.setblocking(False)
        try:
            while self._server.recv(65536):
                pass
        except BlockingIOError:
            pass

    def fileno(self) -> int:
        return self._socket.fileno()

    def poll(self) -> int:
        self.polls += 1
        return extensions.POLL_WRITE if self.polls == 1 else extensions.POLL_OK


def test_a_connection_is_polled_only_once_its_socket_is_ready() -> None:
    connection = SlowHandshake()
    timer = threading.Timer(1.2, connection.answer)  # longer than two steps of waiting
    timer.start()
    assert connection.polls == 0
    _wait(_never, connection)
    assert connection.answers  # it was not taken for ready before
    assert connection.polls == 2


def test_a_process_with_a_thousand_open_files_connects(engine: Engine) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, hard), hard))
    files = [os.open(os.devnull, os.O_RDONLY)]
    try:
        while files[-1] < 1100:
            files.append(os.dup(files[0]))
        with engine.connect() as connection:
            assert connection.connection.driver_connection is not None
            assert connection.connection.driver_connection.fileno() > 1024
    finally:
        for file in files:
            os.close(file)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
