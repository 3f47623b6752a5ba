"""PgBouncer in transaction mode, in front of a PostgreSQL that a test has."""

from __future__ import annotations

import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import psycopg2
from sqlalchemy.engine import URL

from tests.helpers.debian import unpacked

_SETTINGS = """
[databases]
{database} = host={host} port={port} dbname={database} user=postgres
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {listen}
auth_type = any
pool_mode = transaction
default_pool_size = {connections}
unix_socket_dir =
"""


def program(folder: Path) -> str:
    """Return where PgBouncer is: the one that is installed, or Debian's, unpacked and copied into a folder; skip the
    test where neither can be had."""
    if installed := shutil.which("pgbouncer", path=os.environ.get("PATH", "") + ":/usr/sbin"):
        return installed
    unpacked_into = unpacked("pgbouncer", *_libraries())  # a cache that only this user may enter
    lib, copy = folder / "lib", folder / "pgbouncer"
    lib.mkdir()
    for library in unpacked_into.rglob("lib*.so.*"):
        shutil.copy(library, lib)
    shutil.copy(unpacked_into / "usr/sbin/pgbouncer", folder / "program")
    copy.write_text(f'#!/bin/sh\nLD_LIBRARY_PATH={lib} exec {folder / "program"} "$@"\n')
    copy.chmod(0o755)
    return str(copy)


def _libraries() -> list[str]:
    """Return the libraries that PgBouncer needs and a machine may lack: their names differ by Debian's release."""
    if shutil.which("apt-cache") is None:
        return []
    found = subprocess.run(["apt-cache", "depends", "pgbouncer"], capture_output=True, text=True, check=False).stdout
    return re.findall(r"Depends: (lib(?:event|c-ares)\S*)", found)


class Pooler:
    """A PgBouncer that shares few connections among all of its clients.

    Args:
        behind: the address of the database, with its host as a socket's folder or as a name.
        owner: the user id to run as, where only that user may enter the socket's folder; None for this one.
        connections: to the server, for everybody together.
    """

    def __init__(self, behind: URL, *, owner: int | None = None, connections: int = 4) -> None:
        if owner is None and os.geteuid() == 0:  # as whom it refuses to run
            owner = pwd.getpwnam("nobody").pw_uid
        self._owner, self._behind, self._listen = owner, behind, free_port()
        self._folder = Path(tempfile.mkdtemp(prefix="caviar-pgbouncer-"))  # not pytest's, which only root may enter
        self._folder.chmod(0o755)
        self._program = program(self._folder)
        self._file = self._folder / "pgbouncer.ini"
        host = behind.query.get("host") or behind.host
        self._file.write_text(
            _SETTINGS.format(
                database=behind.database, host=host, port=behind.port or 5432, listen=self._listen,
                connections=connections,
            )
        )  # fmt: skip
        self._file.chmod(0o644)
        self.start()

    @property
    def url(self) -> URL:
        return URL.create(
            "postgresql+psycopg2", "postgres", host="127.0.0.1", port=self._listen, database=self._behind.database
        )

    def start(self) -> None:
        """Start it, and wait until it lets somebody through."""
        owner = {} if self._owner is None else {"user": self._owner, "group": self._owner, "extra_groups": []}
        log = self._folder / "log"
        with log.open("a") as errors:
            self._process = subprocess.Popen([self._program, str(self._file)], stderr=errors, cwd="/", **owner)  # type: ignore[call-overload]
        deadline = time.monotonic() + 60
        while True:
            try:
                psycopg2.connect(
                    host="127.0.0.1", port=self._listen, user="postgres", dbname=self._behind.database
                ).close()
                return
            except psycopg2.OperationalError:
                assert self._process.poll() is None, log.read_text()
                assert time.monotonic() < deadline, log.read_text()
                time.sleep(0.1)

    def kill(self) -> None:
        """Kill it as a crash does."""
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()

    def remove(self) -> None:
        self._process.terminate()
        self._process.wait(60)
        shutil.rmtree(self._folder)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
