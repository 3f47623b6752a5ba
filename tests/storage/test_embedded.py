"""The built-in server: shared, stopped by the last one out, found again after any death. Real processes and signals."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg2
import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.engine import URL

from caviar.storage import libpq_variables
from caviar.storage.embedded import serve
from caviar.storage.engine import make_engine, open_database
from caviar.storage.errors import DatabaseUnreachable, EmbeddedServerError
from caviar.storage.migrate import ensure_schema
from caviar.storage.settings import Settings

pytestmark = pytest.mark.database  # the built-in one

_USER = """
import sys, time
from pathlib import Path
from caviar.storage.embedded import serve
with serve(Path(sys.argv[1]), lambda line: None) as url:
    print("ready", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "home"
    pid = server_pid(tmp_path / "home")
    if pid is not None:
        os.kill(pid, signal.SIGQUIT)


def server_pid(home: Path) -> int | None:
    file = home / "postgres" / "data" / "postmaster.pid"
    pid = int(file.read_text().split()[0]) if file.exists() else None
    return pid if pid is not None and Path(f"/proc/{pid}").exists() else None


def use(home: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen([sys.executable, "-c", _USER, str(home)], stdin=-1, stdout=-1, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def leave(process: subprocess.Popen[str]) -> None:
    process.communicate("")
    assert process.returncode == 0


def answers(home: Path) -> bool:
    with serve(home, print) as url, psycopg2.connect(host=url.query["host"], user="postgres") as connection:
        cursor = connection.cursor()
        cursor.execute("SELECT count(*) FROM pg_database")
        return bool(cursor.fetchone())


def test_several_processes_share_it_and_the_last_one_out_stops_it(home: Path) -> None:
    first, second = use(home), use(home)
    pid = server_pid(home)
    assert pid is not None
    leave(first)
    assert server_pid(home) == pid
    leave(second)
    assert server_pid(home) is None


def test_processes_that_start_at_once_share_one_server(home: Path) -> None:
    processes = [
        subprocess.Popen([sys.executable, "-c", _USER, str(home)], stdin=-1, stdout=-1, text=True) for _ in range(6)
    ]
    assert [p.stdout.readline() for p in processes if p.stdout] == ["ready\n"] * 6
    for process in processes:
        leave(process)
    assert server_pid(home) is None


def test_a_server_left_behind_by_kill_9_is_used_again_and_then_stopped(home: Path) -> None:
    process = use(home)
    pid = server_pid(home)
    process.kill()
    process.wait()
    assert server_pid(home) == pid
    with serve(home, print):
        assert server_pid(home) == pid
    assert server_pid(home) is None  # the killed process does not count as a user for ever


def test_a_crashed_server_is_started_again(home: Path) -> None:
    process = use(home)
    pid = server_pid(home)
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    process.kill()
    process.wait()
    assert answers(home)  # whether the pid file is there, and whether anybody reaps the dead process


def test_a_pid_file_whose_number_is_another_process_by_now_is_no_server(home: Path) -> None:
    with serve(home, print):
        pass
    pid_file = home / "postgres" / "data" / "postmaster.pid"
    other = subprocess.Popen(["sleep", "60"], user=pid_file.parent.stat().st_uid)
    pid_file.write_text(f"{other.pid}\n{pid_file.parent}\n1700000000\n5432\n\n\n\nready\n")
    try:
        assert answers(home)
    finally:
        other.kill()
        other.wait()


def test_a_container_with_its_own_process_ids_uses_the_same_server(home: Path) -> None:
    container = ["unshare", "--pid", "--ipc", "--fork", "--mount-proc"]
    if subprocess.run([*container, "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("this machine lets no new process namespaces be made")
    log = home / "postgres" / "data" / "server.log"
    with serve(home, print):
        command = [*container, sys.executable, "-c", _USER, str(home)]
        inside = subprocess.run(command, input="", capture_output=True, text=True, check=False)
        assert inside.stdout == "ready\n", inside.stderr
        assert answers(home)
    assert log.read_text().count("starting PostgreSQL") == 1


def test_a_server_of_another_container_is_left_running(home: Path) -> None:
    with serve(home, print):
        pid = server_pid(home)
        (home / "postgres" / "machine").write_text("another boot/1")
    assert server_pid(home) == pid  # whatever has this number here, it is not to be signalled


def test_a_half_made_data_folder_is_made_anew(home: Path) -> None:
    (home / "postgres" / f"data.{os.getpid()}").mkdir(parents=True)
    (home / "postgres" / f"data.{os.getpid()}" / "PG_VERSION").write_text("18")
    assert answers(home)


MEANT_FOR_ANOTHER_SERVER = {
    "PGHOST": "db.example",
    "PGHOSTADDR": "127.0.0.1",
    "PGPORT": "6000",
    "PGUSER": "somebody",
    "PGREQUIREAUTH": "scram-sha-256",
    "PGCHANNELBINDING": "require",
    "PGSERVICE": "production",
    "PGTARGETSESSIONATTRS": "standby",
    "PGREQUIREPEER": "somebody",
    "PGGSSENCMODE": "require",
    "PGSSLMODE": "verify-full",
    "PGSSLNEGOTIATION": "direct",
    "PGMAXPROTOCOLVERSION": "nonsense",
    "PGOPTIONS": "-c no_such_setting=1",
    "PGTZ": "Nowhere/At_all",
    "PGDATESTYLE": "nonsense",
    "PGCLIENTENCODING": "nonsense",
}


def test_the_callers_own_settings_of_libpq_do_not_matter(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serve(home, print) as url:
        for name, value in MEANT_FOR_ANOTHER_SERVER.items():
            monkeypatch.setenv(name, value)
            engine = make_engine(url)
            engine.connect().close()
            engine.dispose()
        ensure_schema(engine)  # Optuna makes its tables on connections of its own
        dashboard = create_engine(url)
        dashboard.connect().close()
        dashboard.dispose()
        assert {name: os.environ[name] for name in MEANT_FOR_ANOTHER_SERVER} == MEANT_FOR_ANOTHER_SERVER


def test_other_threads_see_all_variables_while_one_connects(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGHOST", "db.example")
    echo = ["sh", "-c", "echo $PGHOST"]
    with libpq_variables._hidden():
        assert os.environ.copy()["PGHOST"] == "db.example"
        assert subprocess.check_output(echo, text=True) == "\n"  # as libpq sees it
    assert subprocess.check_output(echo, text=True) == "db.example\n"


def test_the_callers_settings_of_libpq_hold_for_every_other_server(
    database_url: URL, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(libpq_variables, "_sockets", set())  # the tests' server is a built-in one as well
    monkeypatch.setenv("PGAPPNAME", "mine")
    engine = create_engine(database_url)
    with engine.connect() as connection:
        assert connection.scalar(text("SHOW application_name")) == "mine"
    engine.dispose()


@pytest.mark.parametrize("name", ["""a,b "c" $HOME `d` 'e' %41 :f\\g""", """"c" $(touch made) `touch made` 'e'"""])
def test_the_folder_may_have_any_printable_name(tmp_path: Path, name: str) -> None:
    assert answers(tmp_path / name)
    assert not list(tmp_path.rglob("made"))


def test_a_built_in_server_that_does_not_answer_is_not_taken_for_an_address_of_the_users(tmp_path: Path) -> None:
    url = URL.create("postgresql+psycopg2", username="postgres", query={"host": str(tmp_path)})
    libpq_variables.hide_from(url)
    with (
        pytest.raises(DatabaseUnreachable, match=r"the built-in PostgreSQL at .* does not answer") as caught,
        open_database(Settings(url, tmp_path)),
    ):
        pass
    assert "unset CAVIAR_DATABASE_URL" not in str(caught.value)


def test_nobody_else_can_connect_and_nothing_listens_on_the_network(home: Path) -> None:
    with serve(home, print) as url, psycopg2.connect(host=url.query["host"], user="postgres") as connection:
        socket_dir = Path(str(url.query["host"]))
        assert socket_dir.stat().st_mode & 0o077 == 0
        cursor = connection.cursor()
        cursor.execute("SHOW listen_addresses")
        assert cursor.fetchone() == ("",)


def test_a_long_path_works_too(tmp_path: Path) -> None:
    home = tmp_path / ("x" * 100)
    assert answers(home)


@pytest.mark.parametrize("what", ["link", "file", "foreign", "open"])
def test_a_folder_in_tmp_that_somebody_else_made_is_not_used_and_not_changed(tmp_path: Path, what: str) -> None:
    """Its name follows from the path of CAVIAR_HOME, which others may know."""
    home, victim = tmp_path / ("x" * 100), tmp_path / "victim"
    victim.mkdir(mode=0o755)
    digest = hashlib.sha256(os.fsencode(home / "postgres")).hexdigest()[:16]
    folder = Path(f"/tmp/caviar-{os.geteuid()}-{digest}")
    if what == "link":
        folder.symlink_to(victim)
    elif what == "file":
        folder.touch()
    else:
        folder.mkdir()
        folder.chmod(0o777 if what == "open" else 0o755)
        if what == "foreign":
            if os.geteuid() != 0:
                folder.rmdir()
                pytest.skip("only root can give a folder to another user")
            os.chown(folder, 54321, 54321)
    before = folder.lstat()
    try:
        with pytest.raises(EmbeddedServerError, match=f"{folder}.*; remove it, or set CAVIAR_HOME"), serve(home, print):
            pass
        after = folder.lstat()
        assert (after.st_mode, after.st_uid) == (before.st_mode, before.st_uid)
        assert victim.stat().st_mode & 0o777 == 0o755
        assert victim.stat().st_uid == os.geteuid()
    finally:
        folder.unlink() if what in ("link", "file") else folder.rmdir()


def test_a_server_that_answers_from_a_folder_of_somebody_else_is_not_used(home: Path) -> None:
    with serve(home, print) as url:
        folder = Path(str(url.query["host"]))
        folder.chmod(0o777)
        with pytest.raises(EmbeddedServerError, match="other users may write in"), serve(home, print):
            pass
        folder.chmod(0o700)
        assert answers(home)


def test_a_folder_that_cannot_be_written_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(EmbeddedServerError, match="set CAVIAR_HOME to a folder of your own"),
        serve(tmp_path / "file", print),
    ):
        pass


@pytest.mark.skipif(os.geteuid() != 0, reason="only root needs another account for PostgreSQL")
def test_as_root_it_runs_as_another_account_and_opens_folders_only_to_pass_through(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    said: list[str] = []
    with serve(closed / "home", said.append):
        pid = server_pid(closed / "home")
        assert pid is not None
        assert Path(f"/proc/{pid}").stat().st_uid != 0
    assert closed.stat().st_mode & 0o777 == 0o701
    assert any(str(closed) in line for line in said)
