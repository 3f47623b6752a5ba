"""Through PgBouncer in transaction mode, whose server connections change from one transaction to the next."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from sqlalchemy.engine import URL

from caviar.storage.engine import make_engine
from caviar.storage.migrate import ensure_schema
from caviar.studies.lifecycle.manager import progress
from caviar.studies.results.winner import conclude
from tests.helpers.workers import register, worker

_SETTINGS = """
[databases]
{database} = host={host} port=5432 dbname={database} user=postgres
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
auth_type = any
pool_mode = transaction
default_pool_size = 4
unix_socket_dir =
"""


@pytest.fixture
def pooled(new_database: Callable[..., URL]) -> Iterator[URL]:
    """The address of an empty database behind a pooler with four connections for everybody."""
    program = shutil.which("pgbouncer", path=os.environ.get("PATH", "") + ":/usr/sbin")
    if program is None:
        pytest.skip("there is no pgbouncer here (Debian's package is called that)")
    url = new_database(empty=True)
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    folder = Path(tempfile.mkdtemp(prefix="caviar-pgbouncer-"))  # not pytest's, which only root may enter
    folder.chmod(0o755)
    file = folder / "pgbouncer.ini"
    file.write_text(_SETTINGS.format(database=url.database, host=url.query["host"], port=port))
    file.chmod(0o644)
    whom: dict[str, Any] = {}
    if os.geteuid() == 0:  # as whom the server runs, whose socket nobody else may use
        owner = Path(str(url.query["host"])).stat()
        whom = {"user": owner.st_uid, "group": owner.st_gid, "extra_groups": []}
    process = subprocess.Popen([program, str(file)], stderr=subprocess.DEVNULL, cwd="/", **whom)
    address = URL.create("postgresql+psycopg2", "postgres", host="127.0.0.1", port=port, database=url.database)
    deadline = time.monotonic() + 20
    while True:
        try:
            psycopg2.connect(host="127.0.0.1", port=port, user="postgres", dbname=url.database).close()
            break
        except psycopg2.OperationalError:
            assert time.monotonic() < deadline
            time.sleep(0.1)
    yield address
    process.terminate()
    process.wait(20)
    shutil.rmtree(folder)


def test_a_study_runs_through_a_pooler_from_its_first_table_on(pooled: URL) -> None:
    engine = make_engine(pooled)
    ensure_schema(engine)
    record, study = register(engine, epochs=3)
    worker(engine, record, study).run()
    conclude(engine, record, Path("nowhere"))
    now = progress(engine, record)
    assert (now.done, now.open, now.leased) == (8, 0, 0)
    engine.dispose()
