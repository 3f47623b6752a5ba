"""A database that goes away, refuses or only reads under a short command: one line, and its exit code."""

from __future__ import annotations

import os
import re
from collections.abc import Callable

import pytest
from sqlalchemy import text
from sqlalchemy.engine import URL

from caviar.storage.engine import open_database, require_writable
from caviar.storage.errors import DatabaseAway, DatabaseReadOnly, DatabaseRefused, DatabaseUnreachable
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
