"""A database that goes away, refuses or only reads under a short command: one line, and its exit code."""

from __future__ import annotations

import os
import re
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest
from sqlalchemy import make_url, text
from sqlalchemy.engine import URL

from caviar.storage.engine import open_database, require_writable
from caviar.storage.errors import DatabaseAway, DatabaseError, DatabaseReadOnly, DatabaseRefused, DatabaseUnreachable
from caviar.storage.settings import Settings, read_settings
from tests.helpers.outages import Away, ReadOnly


def settings(url: URL) -> Settings:
    return read_settings(url.render_as_string(hide_password=False))


def test_a_connection_that_is_lost_is_no_bad_input(database_url: URL) -> None:
    with (
        pytest.raises(DatabaseAway, match=r"no longer answers: .*run the same command again") as raised,
        open_database(settings(database_url)) as engine,
        Away(database_url),
    ):
        engine.connect()
    assert raised.value.exit_code == os.EX_TEMPFAIL


def test_a_server_that_refuses_is_there(server: URL) -> None:
    with (
        pytest.raises(DatabaseRefused, match=r'refuses: .*"nowhere" does not exist') as raised,
        open_database(settings(server.set(database="nowhere"))),
    ):
        pass
    assert raised.value.exit_code == 2


def test_nothing_that_answers_may_be_there_later() -> None:
    with pytest.raises(DatabaseUnreachable) as raised, open_database(read_settings("postgresql://me@127.0.0.1:9/db")):
        pass
    assert raised.value.exit_code == os.EX_TEMPFAIL


@contextmanager
def answering(words: str) -> Iterator[URL]:
    """A server that answers every connection with one fatal error, as PostgreSQL does."""
    fields = b"".join(kind + text.encode() + b"\0" for kind, text in ((b"S", "FATAL"), (b"C", "57P03"), (b"M", words)))
    answer = b"E" + struct.pack("!i", len(fields) + 5) + fields + b"\0"
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            with suppress(OSError):  # the socket is shut down at the end
                while True:
                    connection, _ = listening.accept()
                    with connection:
                        connection.recv(4096)
                        connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        options = "?sslmode=disable&gssencmode=disable"
        yield make_url(f"postgresql://me@127.0.0.1:{listening.getsockname()[1]}/db{options}")
        listening.shutdown(socket.SHUT_RDWR)
        thread.join()


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ("the database system is in recovery mode", os.EX_TEMPFAIL),
        ("terminating connection due to administrator command", os.EX_TEMPFAIL),
        ("something of a later version", os.EX_TEMPFAIL),
        ('database "db" is not currently accepting connections', os.EX_TEMPFAIL),
        ('password authentication failed for user "me"', 2),
        ('no pg_hba.conf entry for host "127.0.0.1", user "me", database "db", no encryption', 2),
        ('role "me" is not permitted to log in', 2),
        ('unrecognized configuration parameter "speed"', 2),
    ],
)
def test_only_what_a_person_has_to_mend_is_a_refusal(words: str, code: int) -> None:
    with (
        answering(words) as url,
        pytest.raises(DatabaseError, match=re.escape(words)) as raised,
        open_database(settings(url), hurry=lambda: True),
    ):
        pass
    assert raised.value.exit_code == code


@pytest.mark.parametrize("empty", [False, True])
def test_a_server_that_only_reads_is_one_line(new_database: Callable[..., URL], empty: bool) -> None:
    url = new_database(empty=empty)
    with (
        ReadOnly(url),
        pytest.raises(DatabaseReadOnly, match=re.escape(f"at {url.query['host']}:5432 takes no writes now")) as raised,
        open_database(settings(url)) as engine,
        engine.begin() as connection,
    ):
        connection.execute(text("DELETE FROM caviar.study"))
    assert raised.value.exit_code == os.EX_TEMPFAIL


def test_whether_it_takes_writes_is_known_before_work_begins(database_url: URL) -> None:
    with open_database(settings(database_url)) as engine:
        require_writable(engine)
        with ReadOnly(database_url), pytest.raises(DatabaseReadOnly):
            require_writable(engine)
