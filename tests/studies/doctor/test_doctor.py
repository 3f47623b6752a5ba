"""`caviar doctor`: each finding provoked for real, mended with --fix where that is safe, and clean the second time."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from io import StringIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from rich.console import Console
from sqlalchemy import Engine, text
from sqlalchemy.engine import URL

from caviar.storage.checkpoints import CheckpointStore, Staged
from caviar.storage.definitions import delete_study, load_study, register_study
from caviar.storage.engine import make_engine
from caviar.storage.errors import CheckpointNotRemoved
from caviar.storage.events import read_events
from caviar.storage.files import CheckpointFiles
from caviar.storage.grants import grant_worker
from caviar.storage.ledger import Ledger
from caviar.storage.losses import release_dead
from caviar.storage.pandas import read_life
from caviar.storage.processes import machine_id
from caviar.storage.records import Lease, Provenance, Slot, StudyRecord, WorkerDeath
from caviar.storage.settings import read_settings
from caviar.storage.unsent import Unsent, UnsentStates
from caviar.studies.cli import findings as printing
from caviar.studies.cli import run
from caviar.studies.definition import to_body
from caviar.studies.doctor import database as server_checks
from caviar.studies.doctor import machine as machine_checks
from caviar.studies.doctor.run import Report, examine
from caviar.studies.findings import Finding
from caviar.studies.lifecycle.manager import extend_study
from caviar.studies.lifecycle.provenance import package_versions
from caviar.studies.results.conclusion import conclude
from caviar.studies.workers.local.devices import cores
from tests.helpers.command import INDEPENDENT, Caviar, count_everything, rows, until
from tests.helpers.pandas import born, days
from tests.helpers.studies import small_study
from tests.helpers.workers import ledger, register, register_process, worker

Doctor = Callable[..., Any]
ALL = [
    "database", "rights", "schema", "clock", "connections", "versions", "leases", "workers", "trials", "checkpoints",
    "files", "unsent", "disk", "software", "gpus", "data",
]  # fmt: skip


@pytest.fixture
def doctor(engine: Engine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Doctor:
    """Runs the command, and returns its findings that are not ok, or with --fix what it did."""
    monkeypatch.setenv("CAVIAR_DATABASE_URL", engine.url.render_as_string(hide_password=False))

    def run_it(*arguments: str, code: int = 0, everything: bool = False) -> Any:
        assert run(["doctor", "--json", *arguments]) == code
        said = capsys.readouterr()
        assert said.err == ""
        document = json.loads(said.out)
        assert {f["level"] for f in document["findings"]} <= {"ok", "warning", "error"}
        assert code == int(any(f["level"] == "error" for f in document["findings"]))
        if everything:
            return document["findings"]
        if "--fix" in arguments:
            return document["done"]
        # Whether torch sees the GPUs of the machine that tests is none of the tests' business.
        return [f for f in document["findings"] if f["level"] != "ok" and f["what"] != "gpus"]

    return run_it


def dead_process() -> int:
    """Return the id of a process that there was."""
    process = subprocess.Popen(["true"])
    process.wait()
    return process.pid


def execute(engine: Engine, statement: str, **parameters: Any) -> None:
    with engine.begin() as connection:
        connection.execute(text(statement), parameters)


def lease(engine: Engine, record: StudyRecord, pid: int | None = None) -> tuple[Ledger, Lease]:
    who = ledger(engine, record, pid=pid or os.getpid())
    found = who.lease()
    assert found is not None
    return who, found


def only(found: list[dict[str, str]]) -> dict[str, str]:
    assert len(found) == 1, found
    return found[0]


def is_mended(doctor: Doctor, what: str, told: str, done: str) -> None:
    """Check that a look finds it and changes nothing, that --fix mends it, and that nothing is left of it then."""
    found = only(doctor())
    assert (found["level"], found["what"], found["step"]) == ("warning", what, "caviar doctor --fix")
    assert told in found["told"]
    assert doctor() == [found]
    assert [line for line in doctor("--fix") if done in line], done
    assert doctor() == []
    assert doctor("--fix") == []


def test_a_healthy_database_has_no_warning(engine: Engine, doctor: Doctor) -> None:
    record, _ = register(engine)
    lease(engine, record)
    found = doctor(everything=True)
    assert [f["what"] for f in found] == ALL
    assert all(f["level"] == "ok" for f in found if f["what"] != "gpus")
    assert doctor("--fix") == []
    told = {f["what"]: f["told"] for f in found}
    assert f"database '{engine.url.database}', as 'postgres'" in told["database"]
    assert told["leases"] == "1 held, none lost"
    assert told["workers"] == "1 at work, none lost"
    assert "optuna 5." in told["software"]
    assert "psycopg2 2." in told["software"]


def test_a_finished_study_with_its_winner_has_no_warning(engine: Engine, doctor: Doctor) -> None:
    record, study = register(engine, epochs=2, budget=6)
    worker(engine, record, study).run()
    conclude(engine, record, Path("nowhere"))
    assert doctor() == []
    assert "1 in the database" in next(f["told"] for f in doctor(everything=True) if f["what"] == "checkpoints")


def test_an_expired_lease(engine: Engine, doctor: Doctor) -> None:
    record, _ = register(engine)
    lease(engine, record)
    execute(engine, "UPDATE caviar.slot SET expires_at = now() - interval '1 second' WHERE state = 'leased'")
    is_mended(doctor, "leases", "1 trial(s) of 'small' wait", "1 trial(s) of 'small' are taken back")


def test_a_lease_of_a_process_of_this_machine_that_is_dead(engine: Engine, doctor: Doctor) -> None:
    record, _ = register(engine)
    lease(engine, record, pid=dead_process())
    lease(engine, record)
    found = doctor()
    assert [f["what"] for f in found] == ["leases", "workers"]
    assert "1 on test" in found[1]["told"]
    assert doctor("--fix") == [
        "1 trial(s) of 'small' are taken back from workers that died", "1 worker(s) are written down as ended",
    ]  # fmt: skip
    assert doctor() == []
    with engine.connect() as connection:
        states = connection.scalars(text("SELECT state FROM caviar.slot ORDER BY number")).all()
    assert states[:3] == ["open", "leased", "open"]


def test_a_lease_on_another_machine_whose_process_id_means_nobody_here(engine: Engine, doctor: Doctor) -> None:
    record, _ = register(engine)
    assert ledger(engine, record, pid=dead_process(), machine="elsewhere").lease() is not None
    assert doctor("--fix") == []
    assert doctor() == []


def test_a_worker_that_ended_without_a_word(engine: Engine, doctor: Doctor) -> None:
    record, _ = register(engine)
    register_process(engine, record, machine="elsewhere")
    execute(engine, "UPDATE caviar.worker SET last_seen = now() - interval '26 hours'")
    told = "1 died: 1 on test: it ended without a word"
    is_mended(doctor, "workers", told, "1 worker(s) are written down as ended")


def test_a_worker_that_the_watchdog_ended(engine: Engine, doctor: Doctor) -> None:
    record, _ = register(engine)
    pid, death = dead_process(), WorkerDeath("its training hung in forward (net.py:7): no batch for 301 s")
    lease(engine, record, pid=pid)
    assert release_dead(engine, record.study_id, machine_id(), {pid: death}) == 1
    is_mended(doctor, "workers", f"1 died: 1 on test: {death.why}", "1 worker(s) are written down as ended")


def test_a_worker_that_may_come_back_is_left_alone(engine: Engine, doctor: Doctor) -> None:
    record, _ = register(engine)
    register_process(engine, record, machine="elsewhere")
    execute(engine, "UPDATE caviar.worker SET last_seen = now() - interval '24 hours'")
    assert doctor() == []


def test_a_trial_that_only_seems_to_run(engine: Engine, doctor: Doctor) -> None:
    record, study = register(engine, epochs=1, budget=6)
    worker(engine, record, study).run()
    conclude(engine, record, Path("nowhere"))
    execute(engine, "UPDATE public.trials SET state = 'RUNNING', datetime_complete = NULL WHERE number = 3")
    is_mended(doctor, "trials", "1 trial(s) of 'small' (3) seem to run", "(3) are ended, as failed")
    with engine.connect() as connection:
        state, end = connection.execute(
            text("SELECT state, datetime_complete FROM public.trials WHERE number = 3")
        ).one()
    assert (state, end is None) == ("FAIL", False)


def test_a_trial_that_somebody_made_with_optuna_alone(engine: Engine, doctor: Doctor) -> None:
    import optuna

    register(engine)
    storage = engine.url.render_as_string(hide_password=False)
    optuna.load_study(study_name="small", storage=storage).ask()
    found = only(doctor())
    assert (found["level"], found["what"]) == ("warning", "trials")
    assert "were made with Optuna alone, and run" in found["told"]
    assert doctor("--fix") == []
    assert doctor() == [found]
    execute(engine, "UPDATE public.trials SET datetime_start = datetime_start - interval '25 hours'")
    is_mended(doctor, "trials", "1 trial(s) of 'small' (0) seem to run", "are ended, as failed")


def test_what_other_programs_made_beside_the_budget(engine: Engine, doctor: Doctor) -> None:
    import optuna

    register(engine, budget=4)
    theirs = optuna.load_study(study_name="small", storage=engine.url.render_as_string(hide_password=False))
    theirs.add_trial(optuna.trial.create_trial(value=0.5))
    theirs.enqueue_trial({"learning_rate": 0.1})
    assert doctor() == []
    (told,) = [f["told"] for f in doctor(everything=True) if f["what"] == "trials"]
    made = "2 in 'small' were made by other Optuna programs, and are not counted in its budget"
    assert told == f"{made}; 1 of them wait to be trained"
    execute(engine, "UPDATE caviar.slot SET state = 'done'")
    found = only(doctor())
    assert (found["level"], found["step"]) == ("warning", "give it more trials: caviar extend small --budget N")
    assert found["told"].endswith("1 of them wait to be trained, and it is done")


def test_a_trial_that_was_given_up(engine: Engine, doctor: Doctor) -> None:
    record, study = register(engine, epochs=1, budget=6)
    for _ in range(5):
        lease(engine, record)
        execute(engine, "UPDATE caviar.slot SET expires_at = now() - interval '1 second' WHERE state = 'leased'")
        doctor("--fix")
    found = only(doctor())
    assert (found["level"], found["what"]) == ("warning", "trials")
    assert "trial(s) 0 of 'small' were given up: each lost its workers again and again" in found["told"]
    assert "caviar history small" in found["step"]
    worker(engine, record, study).run()
    conclude(engine, record, Path("nowhere"))
    assert doctor() == []


def test_checkpoints_that_are_not_the_winners(engine: Engine, doctor: Doctor) -> None:
    record, study = register(engine, epochs=1, budget=6)
    worker(engine, record, study).run()
    conclude(engine, record, Path("nowhere"))
    execute(engine, "INSERT INTO caviar.checkpoint (study_id, slot, epoch, digest, state) "
                    "SELECT study_id, (slot + 1) % 6, epoch, digest, state FROM caviar.checkpoint")  # fmt: skip
    is_mended(doctor, "checkpoints", "1 checkpoint(s) of 'small', which is done", "removed, but for the winner's")
    with engine.connect() as connection:
        assert (
            connection.scalar(text("SELECT count(*) FROM caviar.checkpoint JOIN caviar.test_result USING (slot)")) == 1
        )


def test_the_days_of_a_panda_are_kept(engine: Engine, doctor: Doctor) -> None:
    record = born(engine)
    days(engine, record, 2)
    assert doctor("--fix") == []
    assert [day.saved for day in read_life(engine, record).days] == [True, True, True]


def test_checkpoints_of_earlier_bests_belong_to_a_study_that_goes_on(engine: Engine, doctor: Doctor) -> None:
    record, study = register(engine, epochs=1, budget=6)
    worker(engine, record, study).run()
    execute(engine, "INSERT INTO caviar.checkpoint (study_id, slot, epoch, digest, state) "
                    "SELECT study_id, number, 1, '', '' FROM caviar.slot ON CONFLICT DO NOTHING")  # fmt: skip
    assert only(doctor())["what"] == "checkpoints"
    extend_study(engine, record, 7)
    assert doctor() == []


@pytest.fixture
def shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CAVIAR_CHECKPOINTS", f"file://{tmp_path}/shared")
    return tmp_path / "shared"


def stage(engine: Engine, record: StudyRecord, folder: Path, pid: int | None = None) -> tuple[Ledger, Lease, Staged]:
    """Write a checkpoint's file, as a worker does before the database names it."""
    who, held = lease(engine, record, pid)
    return who, held, CheckpointStore(engine, record, CheckpointFiles(f"file://{folder}")).stage(held, 1, b"state")


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.rglob("*") if path.is_file()}


def test_files_that_the_database_does_not_name(engine: Engine, doctor: Doctor, shared: Path) -> None:
    record, _ = register(engine)
    who, held, staged = stage(engine, record, shared)
    CheckpointStore(engine, record).save(held, staged, release=True)
    execute(engine, "UPDATE caviar.worker SET ended_at = now()")
    named = names(shared)
    assert doctor() == []
    who, held, staged = stage(engine, record, shared)
    who.release(held)
    execute(engine, "UPDATE caviar.worker SET ended_at = now()")
    (shared / record.label / f"2-1-{'a' * 12}.checkpoint.{'b' * 16}.tmp").write_bytes(b"half a st")
    (shared / "notes.txt").write_text("not Caviar's")
    is_mended(doctor, "files", "2 file(s), 14 bytes of 'small' that the database does not name", "are removed")
    assert names(shared) == {*named, "notes.txt"}


def test_a_file_that_the_database_names_by_another_path_is_not_removed(
    engine: Engine, doctor: Doctor, shared: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    record, _ = register(engine)
    _, held, staged = stage(engine, record, shared)
    CheckpointStore(engine, record).save(held, staged, release=True)
    execute(engine, "UPDATE caviar.worker SET ended_at = now()")
    (tmp_path / "mounted").symlink_to(shared)
    monkeypatch.setenv("CAVIAR_CHECKPOINTS", f"file://{tmp_path}/mounted/.")
    assert doctor() == []
    assert doctor("--fix") == []
    assert len(names(shared)) == 1


def test_files_are_not_looked_for_where_nobody_says_where_they_are(
    engine: Engine, doctor: Doctor, shared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record, _ = register(engine)
    _, held, staged = stage(engine, record, shared)
    CheckpointStore(engine, record).save(held, staged)
    monkeypatch.delenv("CAVIAR_CHECKPOINTS")
    found = next(f for f in doctor(everything=True) if f["what"] == "files")
    assert found["level"] == "ok"
    assert found["told"].endswith("without CAVIAR_CHECKPOINTS: 1 are named by the database")


@pytest.mark.parametrize("silent", ["0 s", "10 minutes"])
def test_files_of_a_study_that_somebody_may_work_on_are_left_alone(
    engine: Engine, doctor: Doctor, shared: Path, silent: str
) -> None:
    """Its worker may reach the files, and not the database: it is about to come back, and to name its file."""
    record, _ = register(engine)
    who, held, staged = stage(engine, record, shared)
    if silent != "0 s":  # its lease was taken back meanwhile
        execute(engine, "UPDATE caviar.slot SET state = 'open', token = NULL, expires_at = NULL")
        execute(engine, f"UPDATE caviar.worker SET machine = 'other', last_seen = now() - interval '{silent}'")
    assert doctor() == []
    assert doctor("--fix") == []
    assert who.retake(held)
    store = CheckpointStore(engine, record)
    store.save(held, staged)
    assert store.load(held.slot.number) == b"state"


def test_files_of_a_worker_that_was_written_off_and_came_back_are_left_alone(
    engine: Engine, doctor: Doctor, shared: Path
) -> None:
    record, _ = register(engine)
    stage(engine, record, shared)
    execute(engine, "UPDATE caviar.worker SET ended_at = now()")
    assert doctor("--fix") == []
    assert len(names(shared)) == 1


def test_files_of_a_killed_worker_of_this_machine_are_removed_at_once(
    engine: Engine, doctor: Doctor, shared: Path
) -> None:
    record, _ = register(engine)
    stage(engine, record, shared, pid=dead_process())
    assert [f["what"] for f in doctor()] == ["leases", "workers"]
    assert len(doctor("--fix")) == 3
    assert names(shared) == set()
    assert doctor() == []


def test_files_of_a_study_that_is_not_here_are_for_a_person(engine: Engine, doctor: Doctor, shared: Path) -> None:
    record, _ = register(engine)
    who, held, _ = stage(engine, record, shared)
    who.release(held)
    execute(engine, "UPDATE caviar.worker SET ended_at = now()")
    delete_study(engine, record)
    found = only(doctor())
    assert (found["level"], found["what"]) == ("warning", "files")
    assert f"1 file(s), 5 bytes of '{record.label}', which is not in this database" in found["told"]
    assert f"remove the folder: file://{shared / record.label}" in found["step"]
    assert doctor("--fix") == []
    assert len(names(shared)) == 1


def test_an_address_where_no_files_can_be(doctor: Doctor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAVIAR_CHECKPOINTS", "ftp://host/folder")
    found = only(doctor(code=1))
    assert (found["level"], found["what"]) == ("error", "files")
    assert "'ftp://' addresses" in found["told"]


def keep_unsent(record: StudyRecord, number: int) -> Path:
    home = Path(os.environ["CAVIAR_HOME"])
    UnsentStates(home, record).keep(number, Unsent(1, [], b"state"))
    return next((home / "unsent").glob(f"*-{number}.state"))


def test_a_state_that_the_database_lacks_is_told_of_and_kept(engine: Engine, doctor: Doctor) -> None:
    record, _ = register(engine)
    path = keep_unsent(record, 3)
    path.with_name(path.name.replace("-3.state", f"-4.{dead_process()}")).write_bytes(b"half a st")
    found = next(f for f in doctor(everything=True) if f["what"] == "unsent")
    assert found["level"] == "ok"
    assert "trial(s) 3 of 'small' got further here" in found["told"]
    assert found["step"] == "go on with: caviar join small"
    assert doctor("--fix") == []
    assert path.exists()


def test_a_state_of_a_trial_that_has_ended(engine: Engine, doctor: Doctor) -> None:
    record, _ = register(engine)
    kept, path = keep_unsent(record, 4), keep_unsent(record, 3)
    half, writing = path.with_suffix(f".{dead_process()}"), path.with_suffix(f".{os.getpid()}")
    half.write_bytes(b"half a st")
    writing.write_bytes(b"half a st")
    execute(engine, "UPDATE caviar.slot SET state = 'done' WHERE number = 3")
    is_mended(doctor, "unsent", "2 state(s) of trials of 'small' that have ended", "are removed")
    assert names(path.parent) == {kept.name, writing.name}


def test_a_state_of_a_study_that_is_not_here(engine: Engine, doctor: Doctor) -> None:
    record, _ = register(engine)
    path = keep_unsent(record, 3)
    delete_study(engine, record)
    found = only(doctor())
    assert (found["level"], found["what"]) == ("warning", "unsent")
    assert f"{path.parent}/{record.label}-*" in found["step"]
    assert doctor("--fix") == []
    assert path.exists()


def test_a_database_that_does_not_answer_is_an_error_line_without_its_password(
    doctor: Doctor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CAVIAR_DATABASE_URL", "postgresql://ann:secret@127.0.0.1:9/db")
    for arguments in ((), ("--fix",)):
        found = doctor(*arguments, code=1, everything=True)
        assert "secret" not in json.dumps(found)
        assert [f["what"] for f in found] == ["database", "not checked", "disk", "software", "gpus", "data"]
        assert found[0]["told"] == "PostgreSQL at 127.0.0.1:9 does not answer: Connection refused"
        assert "unset that for the built-in server" in found[0]["step"]
        assert found[1]["told"].split(", ") == ALL[1:12]


def test_an_address_that_libpq_refuses(engine: Engine, doctor: Doctor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAVIAR_DATABASE_URL", engine.url.render_as_string(hide_password=False) + "&foo=bar")
    assert "refuses: invalid dsn" in doctor(code=1)[0]["told"]


def test_an_address_that_is_none_of_postgresql_is_bad_input(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CAVIAR_DATABASE_URL", "sqlite:///x.db")
    assert run(["doctor"]) == 2
    assert "'sqlite' databases are not supported" in capsys.readouterr().err


@pytest.fixture
def weak(engine: Engine) -> Iterator[str]:
    """A role that may log in, and nothing else."""
    execute(engine, "CREATE ROLE weak LOGIN")
    yield "weak"
    execute(engine, "DROP OWNED BY weak")
    execute(engine, "DROP ROLE weak")


def as_role(engine: Engine, monkeypatch: pytest.MonkeyPatch, role: str) -> None:
    address = engine.url.set(username=role).render_as_string(hide_password=False)
    monkeypatch.setenv("CAVIAR_DATABASE_URL", address)


def test_a_server_without_a_free_connection_is_told_of_at_once(
    engine: Engine, doctor: Doctor, monkeypatch: pytest.MonkeyPatch, weak: str
) -> None:
    execute(engine, f"ALTER ROLE {weak} CONNECTION LIMIT 0")
    as_role(engine, monkeypatch, weak)
    started = time.monotonic()
    found = doctor(code=1)[0]
    assert time.monotonic() - started < 60
    assert 'too many connections for role "weak"' in found["told"]
    assert "start fewer workers, or raise max_connections" in found["step"]


def test_a_role_without_rights(engine: Engine, doctor: Doctor, monkeypatch: pytest.MonkeyPatch, weak: str) -> None:
    register(engine)
    as_role(engine, monkeypatch, weak)
    found = doctor(code=1)
    assert [(f["level"], f["what"]) for f in found] == [("error", "rights"), ("warning", "not checked")]
    assert "'weak' lacks " in found[0]["told"]
    assert found[0]["step"] == "let the database's owner run: caviar db grant weak"
    assert found[1]["told"].split(", ") == ALL[2:12]


def test_a_role_of_workers_may_look_and_mend(
    engine: Engine, doctor: Doctor, monkeypatch: pytest.MonkeyPatch, weak: str
) -> None:
    record, _ = register(engine)
    lease(engine, record, pid=dead_process())
    grant_worker(engine, weak)
    as_role(engine, monkeypatch, weak)
    assert len(doctor("--fix")) == 2
    assert doctor() == []


def test_a_database_that_nothing_can_be_written_to(engine: Engine, doctor: Doctor) -> None:
    execute(engine, f"ALTER DATABASE {engine.url.database} SET default_transaction_read_only = on")
    found = doctor(code=1)
    assert [(f["level"], f["what"]) for f in found] == [("error", "database"), ("warning", "not checked")]
    assert "nothing can be written there" in found[0]["told"]


@pytest.mark.parametrize(("version", "step"), [("0001", "then run: caviar db upgrade"), ("9999", "update this clone")])
def test_another_schema(engine: Engine, doctor: Doctor, version: str, step: str) -> None:
    execute(engine, "UPDATE caviar.schema_version SET version_num = :version", version=version)
    for arguments in ((), ("--fix",)):
        found = [f for f in doctor(*arguments, code=1, everything=True) if f["level"] != "ok" and f["what"] != "gpus"]
        assert [(f["level"], f["what"]) for f in found] == [("error", "schema"), ("warning", "not checked")]
        assert step in found[0]["step"]
        assert found[1]["told"].split(", ") == ALL[3:12]


def test_an_empty_database_is_no_error_and_stays_empty(
    new_database: Callable[..., URL], doctor: Doctor, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = new_database(empty=True)
    monkeypatch.setenv("CAVIAR_DATABASE_URL", url.render_as_string(hide_password=False))
    for _ in range(2):
        found = doctor("--fix", everything=True)
        assert "no tables yet" in next(f["told"] for f in found if f["what"] == "schema")
        assert [f for f in found if f["level"] != "ok" and f["what"] != "gpus"] == []


def test_a_role_that_cannot_make_the_tables(
    new_database: Callable[..., URL], engine: Engine, doctor: Doctor, monkeypatch: pytest.MonkeyPatch, weak: str
) -> None:
    url = new_database(empty=True).set(username=weak)
    monkeypatch.setenv("CAVIAR_DATABASE_URL", url.render_as_string(hide_password=False))
    found = doctor(code=1)[0]
    assert f"lacks CREATE on DATABASE {url.database}, CREATE on SCHEMA public" in found["told"]
    assert found["step"].endswith("caviar db upgrade")


@pytest.mark.parametrize(("workers", "level"), [(70, "ok"), (85, "warning"), (100, "error")])
def test_the_fleet_is_compared_with_max_connections(engine: Engine, doctor: Doctor, workers: int, level: str) -> None:
    """The tests' server has 200 connections, of which it keeps 3 for itself: 158 are 80 % of the rest."""
    record, _ = register(engine)
    for _ in range(workers):
        register_process(engine, record, machine="elsewhere")
    for _ in range(100):  # ended, or not heard of
        register_process(engine, record, machine="gone")
    execute(engine, "UPDATE caviar.worker SET last_seen = now() - interval '5 minutes' WHERE machine = 'gone'")
    found = next(f for f in doctor(code=int(level == "error"), everything=True) if f["what"] == "connections")
    assert found["level"] == level
    assert f"of 197: 2 for each of {workers} worker(s) and 2 command(s)" in found["told"]
    assert ("raise max_connections" in found["step"]) == (level != "ok")


def begun_with(engine: Engine, **packages: str) -> None:
    study = small_study()
    provenance = Provenance({**package_versions(), **packages})
    register_study(
        engine, study.name, metric=study.metric, maximize=True, body=to_body(study), provenance=provenance,
        slots=[Slot(0, 1, "coarse", ())],
    )  # fmt: skip


def test_a_study_of_another_major_version_of_optuna(engine: Engine, doctor: Doctor) -> None:
    begun_with(engine, optuna="4.9.0", torch="2.9.0")
    found = only(doctor(code=1))
    assert (found["level"], found["what"]) == ("error", "versions")
    assert "'small' was begun with optuna 4.9.0 (here 5." in found["told"]
    assert "torch" not in found["told"]
    assert "install optuna 4 here" in found["step"]
    execute(engine, "UPDATE caviar.slot SET state = 'done'")
    assert doctor() == []


def test_a_study_of_another_version_of_torch_is_worth_a_line(engine: Engine, doctor: Doctor) -> None:
    begun_with(engine, torch="2.9.0")
    found = next(f for f in doctor(everything=True) if f["what"] == "versions")
    assert found["level"] == "ok"
    assert "'small' was begun with torch 2.9.0 (here 2." in found["told"]


def test_the_time_zone_is_told_and_changes_nothing(engine: Engine, doctor: Doctor) -> None:
    record, _ = register(engine)
    lease(engine, record)
    execute(engine, f"ALTER DATABASE {engine.url.database} SET timezone = 'Asia/Kolkata'")
    engine.dispose()
    found = next(f for f in doctor(everything=True) if f["what"] == "clock")
    assert found["told"].endswith("the database's, whose time zone is Asia/Kolkata")
    assert found["told"].startswith("0.0 s")
    assert doctor() == []


@pytest.mark.parametrize(("skew", "level"), [(59.0, "ok"), (-61.0, "warning")])
def test_a_clock_that_goes_wrong(doctor: Doctor, monkeypatch: pytest.MonkeyPatch, skew: float, level: str) -> None:
    monkeypatch.setattr(server_checks, "clock_skew", lambda engine: skew)
    found = next(f for f in doctor(everything=True) if f["what"] == "clock")
    assert found["level"] == level
    assert f"{abs(skew)} s {'behind' if skew < 0 else 'ahead of'} the database's" in found["told"]


def test_data_that_a_study_needs(
    engine: Engine, doctor: Doctor, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("CAVIAR_DATA_DIR", str(tmp_path))
    register(engine)
    assert doctor() == []
    register(engine, name="large", data="mnist")
    found = only(doctor())
    assert (found["level"], found["what"]) == ("warning", "data")
    assert "'mnist' is not in" in found["told"]
    assert "and large needs it" in found["told"]
    assert "caviar data fetch mnist" in found["step"]
    execute(engine, "UPDATE caviar.slot SET state = 'done'")
    assert doctor() == []


def test_a_full_disk(doctor: Doctor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=5e8))
    assert (only(doctor())["level"], only(doctor())["what"]) == ("warning", "disk")
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=5e7))
    assert "50 MB free for CAVIAR_HOME" in only(doctor(code=1))["told"]


DRIVER = """NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.15  Tue Mar  5 22:23:56 UTC 2024
GCC version:  gcc version 12.2.0 (Debian 12.2.0-14)
"""


@pytest.fixture
def with_driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with two of NVIDIA's GPUs, as its file system tells."""
    for name in ("nvidia0", "nvidia1", "nvidiactl"):
        (tmp_path / name).touch()
    (tmp_path / "version").write_text(DRIVER)
    monkeypatch.setattr(machine_checks, "_DEVICES", tmp_path)
    monkeypatch.setattr(machine_checks, "_DRIVER", tmp_path / "version")


def test_gpus_that_torch_does_not_see(with_driver: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine_checks, "visible_gpus", lambda: 0)
    found = machine_checks.gpus()[0]
    assert found.level == "warning"
    assert found.message.startswith(f"this machine has 2, driver 550.54.15; torch {torch.__version__} can use none")
    assert "https://pytorch.org" in found.step


def test_gpus_that_torch_sees(with_driver: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine_checks, "visible_gpus", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda number: "H100")
    monkeypatch.setattr(torch.version, "cuda", "12.8")
    found = machine_checks.gpus()[0]
    assert (found.level, found.message) == ("ok", "2: H100; CUDA 12.8, driver 550.54.15")


def test_a_machine_without_gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine_checks, "visible_gpus", lambda: 0)
    monkeypatch.setattr(machine_checks, "_DEVICES", tmp_path)
    found = machine_checks.gpus()[0]
    assert (found.level, found.message) == ("ok", f"none: CPU only, {cores()} cores")


def test_the_room_for_checkpoints_counts_too(doctor: Doctor, shared: Path) -> None:
    told = [f["told"] for f in doctor(everything=True) if f["what"] == "disk"]
    assert told[0].endswith(f"free for CAVIAR_HOME, {os.environ['CAVIAR_HOME']}")
    assert told[1].endswith(f"free for CAVIAR_CHECKPOINTS, {shared}")
    settings = read_settings(environ={"CAVIAR_HOME": str(shared), "CAVIAR_CHECKPOINTS": "s3://bucket/prefix"})
    assert len(machine_checks.disk(settings)) == 1


def test_a_folder_that_cannot_be_written_to(doctor: Doctor, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Root may write anywhere, so the answer of the system is stood in for."""
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    found = only(doctor(code=1))
    assert (found["level"], found["what"]) == ("error", "disk")
    assert f"nobody may write in {tmp_path}" in found["told"]


def test_what_cannot_be_mended_is_an_error_and_hinders_nothing_else(
    engine: Engine, doctor: Doctor, shared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record, _ = register(engine)
    who, held, _ = stage(engine, record, shared)
    who.release(held)
    execute(engine, "UPDATE caviar.worker SET ended_at = now()")
    stubborn = shared / record.label / f"0-1-{'0' * 12}.checkpoint"  # the first of them
    stubborn.write_bytes(b"state")

    remove = CheckpointFiles.remove

    def refuse(files: CheckpointFiles, address: str) -> None:
        if address.endswith(stubborn.name):
            raise CheckpointNotRemoved(f"cannot remove the checkpoint {address}: somebody holds it")
        remove(files, address)

    monkeypatch.setattr(CheckpointFiles, "remove", refuse)
    found = [f for f in doctor("--fix", code=1, everything=True) if f["what"] == "files"]
    assert [f["level"] for f in found] == ["error", "warning"]
    assert found[0]["told"].startswith("cannot be mended: cannot remove the checkpoint")
    assert names(shared) == {stubborn.name}


def test_the_built_in_server_says_so(doctor: Doctor, monkeypatch: pytest.MonkeyPatch, caviar: list[str]) -> None:
    """Not under pytest's own temporary folder, for the reason that conftest.py gives."""
    monkeypatch.delenv("CAVIAR_DATABASE_URL")
    with tempfile.TemporaryDirectory(prefix="caviar-tests-") as home:
        monkeypatch.setenv("CAVIAR_HOME", home)
        said = subprocess.run([*caviar, "doctor"], capture_output=True, text=True, check=True).stdout
    first = said.splitlines()[1].split()
    assert first[:2] == ["ok", "database"]
    assert f"in {home} (no CAVIAR_DATABASE_URL)" in " ".join(first)


def test_the_table_is_a_line_for_each_check(engine: Engine, doctor: Doctor, capsys: pytest.CaptureFixture[str]) -> None:
    record, _ = register(engine)
    lease(engine, record, pid=dead_process())
    assert run(["doctor"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[1] for line in lines[1:]] == ALL
    assert lines[7].split()[:2] == ["warning", "leases"]
    assert lines[7].rstrip().endswith("caviar doctor --fix")
    assert run(["doctor", "--fix"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines[:2]] == ["done", "done"]
    assert [line.split()[0] for line in lines[3:] if "gpus" not in line] == ["ok"] * 15
    assert run(["doctor", "--fix"]) == 0
    assert capsys.readouterr().out.startswith("done: there was nothing to do\n")


def test_a_line_is_not_broken_in_a_pipe_or_as_wide_as_a_person_reads(capsys: pytest.CaptureFixture[str]) -> None:
    finding = Finding("ok", "what", "told " * 100, "step " * 100)
    printing.print_findings([finding])
    assert len(capsys.readouterr().out.splitlines()) == 2
    printing.print_findings([finding], printing.READABLE)
    lines = capsys.readouterr().out.splitlines()
    assert 100 < max(map(len, lines)) <= 110
    assert sum(line.count("told") for line in lines) == sum(line.count("step") for line in lines) == 100


def test_the_levels_have_colours_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    console = Console(file=StringIO(), force_terminal=True, width=80, color_system="standard")
    monkeypatch.setattr(printing, "out", lambda: console)
    levels = ("ok", "warning", "error")
    printing.print_findings([Finding(level, "what", "told [bold]", "step") for level in levels])
    said = console.file.getvalue()  # type: ignore[attr-defined]
    assert all(f"\x1b[{colour}m{level}" in said for colour, level in zip((32, 33, 31), levels, strict=True))
    assert said.count("told [bold]") == 3


@pytest.mark.slow
@pytest.mark.chaos
def test_mending_again_and_again_beside_a_fleet_changes_nothing(
    caviar: list[str],
    new_database: Callable[..., URL],
    engine: Engine,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its workers are stopped, killed and started again meanwhile, and leave checkpoints' files behind."""
    record, study = register(engine, name="mine", budget=40, **INDEPENDENT)
    worker(engine, record, study).run()
    undisturbed = count_everything(engine, epochs=INDEPENDENT["epochs"])
    monkeypatch.setenv("CAVIAR_CHECKPOINTS", f"file://{tmp_path}/shared")
    url = new_database()
    mended = make_engine(url)
    command = Caviar(caviar, url, tmp_path)
    file = command.study(**INDEPENDENT)
    over = threading.Event()
    settings = replace(read_settings(environ=command.environ), database_url=url)

    def mend() -> list[Report]:
        reports = []
        while not over.is_set():
            reports.append(examine(settings, tmp_path, print, fix=True))
            time.sleep(0.3)
        return reports

    with ThreadPoolExecutor() as pool:
        mending = pool.submit(mend)
        try:
            for how, epochs in ((signal.SIGTERM, 60), (signal.SIGKILL, 150), (signal.SIGKILL, 250)):
                process = command.start("run", file, "--workers", "2")
                until(lambda: rows(mended, "SELECT count(*) FROM caviar.epoch") > epochs)  # noqa: B023
                os.killpg(process.pid, how) if how is signal.SIGKILL else process.send_signal(how)
                process.communicate(timeout=60)
            command.run("run", file, "--workers", "2")
        finally:
            over.set()
        reports = mending.result()
    assert len(reports) > 10
    assert not any(report.failed for report in reports)
    assert any("taken back from workers that died" in line for report in reports for line in report.done)
    assert count_everything(mended, epochs=INDEPENDENT["epochs"]) == undisturbed
    assert read_events(mended, load_study(mended, "mine").study_id, "checkpoint refused", "lease taken again") == []
    mended.dispose()
    last = examine(settings, tmp_path, print)
    assert [f for f in last.findings if f.level != "ok" and f.what != "gpus"] == []
    assert len(names(tmp_path / "shared")) == 1
