"""A role with the rights of a worker does all that a worker does, and it needs each of them. What it cannot do is tried
in test_enemy.py."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from typing import Any

import optuna
import pytest
from psycopg2.errors import InsufficientPrivilege
from sqlalchemy import Connection, Engine, event, inspect, text
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError

from caviar.storage.checkpoints import CheckpointStore
from caviar.storage.engine import make_engine
from caviar.storage.errors import CannotGrant, LeaseLost
from caviar.storage.events import read_events
from caviar.storage.grants import RIGHTS, grant_worker
from caviar.storage.losses import LIMIT, free_lost
from caviar.storage.migrate import ensure_schema
from caviar.storage.nudges import add_nudge
from caviar.storage.pandas import go_back
from caviar.storage.records import Report
from caviar.storage.settings import Settings, parse_url
from caviar.storage.status import read_trials
from caviar.storage.test_results import read_test
from caviar.studies.cli import run
from caviar.studies.dashboard.note import leave_note
from caviar.studies.dashboard.server import application
from caviar.studies.doctor.run import examine
from caviar.studies.lifecycle.manager import free_dead_workers, progress
from caviar.studies.panda.journal import read_journal
from caviar.studies.results.conclusion import conclude
from caviar.studies.workers.local.signals import Stop
from tests.helpers import workers
from tests.helpers.command import Caviar
from tests.helpers.epochs import measured
from tests.helpers.faulty_net import StopAfter, with_fault
from tests.helpers.pandas import born, context_of, days
from tests.helpers.roles import engine_as, execute, new_role
from tests.helpers.workers import ledger, register, worker
from tests.helpers.wsgi import asked

EPOCH = measured(1, 0.5, 0.6, 0.7, 0.1, 0.01)
_pandas = count()
DISTRIBUTION = '{"name": "FloatDistribution", "attributes": {"low": 0.0001, "high": 1.0, "log": true, "step": null}}'
PARAMETERS = {"learning_rate": (0.1, DISTRIBUTION)}


@pytest.fixture
def role(engine: Engine) -> Iterator[str]:
    """A role for workers, that has its rights."""
    with new_role(engine) as name:
        assert grant_worker(engine, name) == []
        yield name


@pytest.fixture
def weak(engine: Engine, role: str) -> Iterator[Engine]:
    with engine_as(engine, role) as made:
        yield made


# What workers and those who look do: each with the owner's engine, to prepare it, and the worker's.


def runs_a_study_to_its_winner(engine: Engine, weak: Engine) -> None:
    record, study = register(engine, name="whole", epochs=3)
    worker(weak, record, study, StopAfter(2)).run()
    with engine.connect() as connection:  # given back, with its state
        assert connection.scalar(text("SELECT count(*) FROM caviar.checkpoint")) == 1
    assert progress(weak, record).open == 8
    worker(weak, record, study).run()
    assert progress(weak, record).done == 8
    conclude(weak, record, Path("nowhere"))
    leave_note(weak, record)
    best = progress(weak, record).best
    assert best is not None
    assert read_test(weak, record.study_id, best.slot.number) is not None


def keeps_a_state_between_epochs(engine: Engine, weak: Engine) -> None:
    record, _ = register(engine, name="states")
    who, log, store = ledger(weak, record), workers.log(weak, record), CheckpointStore(weak, record)
    lease = who.lease()
    assert lease is not None
    log.begin(lease, PARAMETERS, {"tier": 1})
    for number in (1, 2):
        store.save(lease, store.stage(lease, number, b"state"))
    assert store.load(0) == b"state"
    assert who.renew([lease])[lease.key].control == "run"
    assert who.retake(lease)
    who.release(lease)
    assert who.standing().open == 8


NOBODY = 2**22 + 1  # above the highest process id of Linux


def loses_a_lease_again_and_again(engine: Engine, weak: Engine) -> None:
    record, _ = register(engine, name="lost")
    who, log = ledger(weak, record, pid=NOBODY), workers.log(weak, record)
    lost = who.lease()
    assert lost is not None
    trial_id = log.begin(lost, PARAMETERS, {})
    for _ in range(LIMIT):
        execute(engine, "UPDATE caviar.slot SET expires_at = now() - interval '1 s' WHERE state = 'leased'")
        lease = who.lease()
    assert lease is not None
    assert lease.slot.number == 1
    with pytest.raises(LeaseLost):
        log.finish(lost, trial_id, "COMPLETE", 0.7, {})
    assert read_trials(weak, record.study_id)[0].state == "abandoned"
    assert free_dead_workers(weak, record) == 1
    assert free_lost(weak, record) == 0


def ends_a_trial_that_diverged(engine: Engine, weak: Engine) -> None:
    record, _ = register(engine, name="diverged")
    lease = ledger(weak, record).lease()
    assert lease is not None
    log = workers.log(weak, record)
    trial_id = log.begin(lease, PARAMETERS, {})
    for _ in range(2):  # an epoch that is trained again replaces itself
        log.record([Report(lease, EPOCH, float("nan"))])
    log.finish(lease, trial_id, "COMPLETE", 0.1, {}, constraints={"diverged": 1.0})
    assert progress(weak, record).diverged == 1


def ends_a_trial_that_another_program_told(engine: Engine, weak: Engine) -> None:
    record, _ = register(engine, name="told")
    lease = ledger(weak, record).lease()
    assert lease is not None
    log = workers.log(weak, record)
    trial_id = log.begin(lease, PARAMETERS, {})
    optuna.load_study(study_name="told", storage=engine.url.render_as_string(hide_password=False)).tell(0, 2.0)
    with pytest.raises(LeaseLost):
        log.finish(lease, trial_id, "COMPLETE", 0.7, {})
    ledger(weak, record).lease()
    assert read_trials(weak, record.study_id)[0].state == "ended elsewhere"


def takes_a_trial_that_was_enqueued_or_refuses_it(engine: Engine, weak: Engine) -> None:
    record, study = register(engine, name="enqueued", budget=4, epochs=1)
    theirs = optuna.load_study(study_name="enqueued", storage=engine.url.render_as_string(hide_password=False))
    for rate in (7.0, 0.02):
        theirs.enqueue_trial({"learning_rate": rate})
    worker(weak, record, study).run()
    assert [trial.state.name for trial in theirs.trials] == ["FAIL"] + ["COMPLETE"] * 4


def stops_a_study_whose_code_fails(engine: Engine, weak: Engine) -> None:
    record, study = with_fault(engine, "raise", name="broken")
    worker(weak, record, study).run()
    now = progress(weak, record)
    assert (now.control, now.failed) == ("stop", 3)


def looks_and_controls(engine: Engine, weak: Engine) -> None:
    record, _ = register(engine, name="looked-at")
    who, log = ledger(weak, record, machine="elsewhere"), workers.log(weak, record)
    leases = [who.lease() for _ in range(2)]
    for lease in leases:
        assert lease is not None
        log.begin(lease, PARAMETERS, {})
        log.record([Report(lease, EPOCH, 0.7)])
    assert leases[0] is not None
    who.release(leases[0])
    for command in (
        ["status"], ["status", "looked-at"], ["best", "looked-at"], ["trials", "looked-at"], ["workers"],
        ["workers", "looked-at", "--all"], ["history", "looked-at"], ["db", "check"], ["db", "current"],
        ["kill", "looked-at", "0"], ["kill", "looked-at", "1"],
        ["pause", "looked-at"], ["resume", "looked-at"], ["stop", "looked-at", "--now"],
        ["workers", "looked-at", "--stop", "test"],
    ):  # fmt: skip
        assert run([*command, "--database-url", weak.url.render_as_string(hide_password=False)]) == 0, command
    found = examine(Settings(weak.url, Path("nowhere")), Path("nowhere"), print, fix=True)
    assert not any("permission denied" in finding.message for finding in found.findings)
    assert [e.kind for e in read_events(weak, record.study_id)][-6:] == [
        "kill asked", "kill asked", "paused", "resumed", "stopped", "machine freed",
    ]  # fmt: skip


def babysits_a_panda(engine: Engine, weak: Engine) -> None:
    record = born(engine, f"panda-{next(_pandas)}")
    stop = Stop()
    days(weak, record)
    add_nudge(weak, record.study_id, {"learning_rate": 0.1}, "to see", "me")
    go_back(weak, record, 0, "me")
    add_nudge(weak, record.study_id, {"learning_rate": 0.2}, None, "me")
    days(weak, record, context=context_of(weak, record, stop), on_epoch=lambda day, result: stop.ask())
    go_back(weak, record, 1, "me")  # and leaves a day unfinished
    assert read_journal(weak, record).head == 1


def opens_the_dashboard(engine: Engine, weak: Engine) -> None:
    record, study = register(engine, name="shown", epochs=2)
    worker(engine, record, study).run()
    shown = application(weak)
    for path, has in (
        ("/api/studies", '"shown"'),
        (f"/api/studies/{record.optuna_study_id}", '"Complete"'),
        (f"/api/studies/{record.optuna_study_id}/param_importances", "learning_rate"),
    ):
        assert has in asked(shown, path), path


ALL = [
    runs_a_study_to_its_winner,
    keeps_a_state_between_epochs,
    loses_a_lease_again_and_again,
    ends_a_trial_that_diverged,
    ends_a_trial_that_another_program_told,
    takes_a_trial_that_was_enqueued_or_refuses_it,
    stops_a_study_whose_code_fails,
    looks_and_controls,
    babysits_a_panda,
    opens_the_dashboard,
]


@pytest.mark.parametrize("do", ALL, ids=lambda f: f.__name__)
def test_a_worker_has_all_rights_that_it_needs(
    do: Callable[[Engine, Engine], None], engine: Engine, weak: Engine
) -> None:
    do(engine, weak)


def test_a_worker_needs_all_rights_that_it_has(engine: Engine, weak: Engine, role: str) -> None:
    """Each is taken away once; then one of the statements that a worker was seen to make is refused."""
    seen: dict[str, Any] = {}

    def see(connection: Connection, cursor: Any, statement: str, parameters: Any, context: Any, many: bool) -> None:
        if connection.engine.url.username == role and re.match(r"\s*(SELECT|INSERT|UPDATE|DELETE|WITH)\b", statement):
            seen.setdefault(f"EXPLAIN {statement}", parameters[0] if many else parameters)

    event.listen(Engine, "before_cursor_execute", see)
    try:
        for do in ALL:
            do(engine, weak)
    finally:
        event.remove(Engine, "before_cursor_execute", see)
    assert seen
    become = f"SET LOCAL ROLE {role}"
    assert refused_of(engine, seen, become) == []
    rights = list(each_right())
    assert len(rights) > 50
    revoked = [f"{right} ON {table}" for right, table in rights]
    revoked += [f"USAGE ON SCHEMA {schema}" for schema in ("caviar", "public")]
    assert [r for r in revoked if not refused_of(engine, seen, f"REVOKE {r} FROM PUBLIC, {role}", become)] == []


def test_a_worker_needs_the_sequences_of_the_tables_that_it_inserts_into(engine: Engine, role: str) -> None:
    """No EXPLAIN asks for them."""
    inserted = [table for right, table in each_right() if right == "INSERT" and table.startswith("public.")]
    assert len(inserted) == 7
    inserts = [f"INSERT INTO {table} DEFAULT VALUES" for table in inserted]
    revoke, become = f"REVOKE ALL ON ALL SEQUENCES IN SCHEMA public FROM {role}", f"SET LOCAL ROLE {role}"
    assert refused_of(engine, inserts, become) == []
    assert refused_of(engine, inserts, revoke, become) == inserts


def each_right() -> Iterator[tuple[str, str]]:
    """Each right on a table, and on a column."""
    for table, rights in RIGHTS.items():
        for right in rights:
            name, _, columns = right.partition(" (")
            yield from (
                ((f"{name} ({column})", table) for column in re.findall(r"\w+", columns))
                if columns
                else ((name, table),)
            )


def refused_of(engine: Engine, statements: Mapping[str, Any] | Sequence[str], *before: str) -> list[str]:
    """Return the statements for which a right is missing; of these, and of those made `before`, nothing stays.

    Args:
        statements: with their parameters, if they have some.
    """
    found = []
    with engine.connect() as connection:
        for statement in before:
            connection.exec_driver_sql(statement)
        for statement in statements:
            mark = connection.begin_nested()
            try:
                connection.exec_driver_sql(statement, statements[statement] if isinstance(statements, dict) else None)
            except DBAPIError as error:
                if isinstance(error.orig, InsufficientPrivilege):
                    found.append(statement)
            mark.rollback()
    return found


def test_commands_that_a_worker_may_not_give_are_one_line(
    engine: Engine, weak: Engine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    register(engine)
    monkeypatch.setenv("CAVIAR_DATABASE_URL", weak.url.render_as_string(hide_password=False))
    for command, table in (
        (["delete", "small", "--yes"], "study"),
        (["extend", "small", "--budget", "20"], "definition"),
        (["run", "small", "--budget", "20", "--accept"], "definition"),
        (["run", "digits"], "studies"),
    ):
        assert run(command) == 2
        said = capsys.readouterr()
        assert said.out == ""
        (line,) = said.err.splitlines()
        assert f"refuses: permission denied for table {table}" in line
    assert progress(engine, register(engine)[0]).budget == 8


@pytest.fixture
def processes(caviar: list[str], weak: Engine, tmp_path: Path) -> Caviar:
    """The command, with the address of the worker's role."""
    return Caviar(caviar, weak.url, tmp_path)


@pytest.mark.slow
def test_join_and_run_with_nothing_but_the_rights_of_a_worker(engine: Engine, processes: Caviar) -> None:
    register(engine, epochs=3)
    said = processes.run("join", "small", "--workers", "2")
    assert "small is complete" in said
    assert "measured once" in said
    record, _ = register(engine, name="other", epochs=3)
    assert "other is complete: 8 trials" in processes.run("run", "other", "--workers", "2")
    assert progress(engine, record).done == 8


def test_every_table_has_a_line(engine: Engine) -> None:
    """One that is added must be decided about."""
    there = {f"{schema}.{name}" for schema in ("caviar", "public") for name in inspect(engine).get_table_names(schema)}
    assert set(RIGHTS) == there


def test_a_right_that_an_earlier_version_gave_is_taken_back_and_what_is_not_ours_stays(
    engine: Engine, weak: Engine, role: str
) -> None:
    execute(
        engine,
        f"GRANT ALL ON caviar.study, public.studies, caviar.definition TO {role}",
        f"GRANT UPDATE (name), REFERENCES (name) ON caviar.study TO {role}",
        f"GRANT ALL ON SCHEMA caviar TO {role}",
        f"GRANT DELETE ON caviar.slot TO {role} WITH GRANT OPTION",
        f"GRANT ALL ON SEQUENCE public.trials_trial_id_seq TO {role}",
        "CREATE TABLE public.theirs (n integer)",
        f"GRANT INSERT ON public.theirs TO {role}",
        "CREATE TABLE public.own (n integer)",
        f"ALTER TABLE public.own OWNER TO {role}",
    )
    execute(weak, "GRANT DELETE ON caviar.slot TO PUBLIC")
    assert grant_worker(engine, role) == []
    ours = [
        "INSERT INTO caviar.study (name, optuna_study_id, control) VALUES ('mine', 99, 'run')",
        "UPDATE caviar.study SET name = 'mine'",
        "DELETE FROM public.studies",
        "DELETE FROM caviar.slot",
        "TRUNCATE caviar.definition",
        "CREATE TABLE caviar.mine (n integer)",
        "SELECT setval('public.trials_trial_id_seq', 1)",
    ]
    assert refused_of(weak, ours) == ours
    assert refused_of(weak, ["INSERT INTO public.theirs VALUES (1)", "ALTER TABLE public.own ADD COLUMN m text"]) == []
    execute(engine, "DROP TABLE public.theirs")


def test_what_a_role_can_do_beyond_that_is_told(engine: Engine, role: str) -> None:
    execute(engine, "GRANT CREATE ON SCHEMA public TO PUBLIC")  # as before PostgreSQL 15
    with new_role(engine, "NOLOGIN") as group:
        execute(engine, f"GRANT DELETE ON caviar.study TO {group}", f"GRANT {group} TO {role}")
        assert grant_worker(engine, role) == ["CREATE on SCHEMA public", "DELETE on caviar.study"]


@pytest.mark.parametrize("name", ['we"ird %s :name; --', "Worker", "select"])
def test_a_role_of_any_name(name: str, engine: Engine) -> None:
    with new_role(engine, prefix=name) as role:
        assert grant_worker(engine, role) == []
        with engine_as(engine, role) as weak:
            keeps_a_state_between_epochs(engine, weak)


def test_a_database_that_is_closed_to_everybody_else(engine: Engine) -> None:
    """Connections, and the schema `public`, are open to everybody by default."""
    name = engine.url.database
    execute(engine, f"REVOKE ALL ON DATABASE {name} FROM PUBLIC", "REVOKE ALL ON SCHEMA public FROM PUBLIC")
    with new_role(engine) as role:
        grant_worker(engine, role)
        with engine_as(engine, role) as weak:
            keeps_a_state_between_epochs(engine, weak)


@pytest.fixture
def owner(new_database: Callable[..., URL]) -> Iterator[tuple[Engine, Engine]]:
    """A database whose owner is no superuser: the superuser's engine, and the owner's."""
    engine = make_engine(new_database(empty=True))
    name = engine.url.database
    with new_role(engine, prefix="caviar_owner") as role:
        execute(engine, f"ALTER DATABASE {name} OWNER TO {role}")
        with engine_as(engine, role) as theirs:
            ensure_schema(theirs)
            yield engine, theirs
        execute(engine, f"ALTER DATABASE {name} OWNER TO postgres")
    engine.dispose()


def test_the_owner_needs_not_be_a_superuser(owner: tuple[Engine, Engine]) -> None:
    engine, theirs = owner
    with new_role(engine) as role:
        assert grant_worker(theirs, role) == []
        with engine_as(engine, role) as weak:
            runs_a_study_to_its_winner(theirs, weak)


def test_whoever_does_not_own_the_tables_cannot_grant(owner: tuple[Engine, Engine]) -> None:
    engine, theirs = owner
    with new_role(engine) as role, new_role(engine) as other:
        grant_worker(theirs, role)
        for who in (role, other):
            with engine_as(engine, who) as weak, pytest.raises(CannotGrant, match="only their owner may") as refused:
                grant_worker(weak, other)
            assert f"with the address of '{theirs.url.username}'" in str(refused.value)
        execute(
            engine,
            f"ALTER DATABASE {engine.url.database} OWNER TO postgres",
            f"GRANT CONNECT ON DATABASE {engine.url.database} TO {theirs.url.username}",
            f"REVOKE CONNECT ON DATABASE {engine.url.database} FROM PUBLIC",
        )
        with pytest.raises(CannotGrant, match=f"may not grant CONNECT on DATABASE {engine.url.database}; "):
            grant_worker(theirs, other)
        read = ["SELECT FROM caviar.study"]
        assert refused_of(engine, read, f"SET LOCAL ROLE {other}") == read  # nothing is given by halves


def test_roles_that_cannot_be_workers(owner: tuple[Engine, Engine]) -> None:
    engine, theirs = owner
    with pytest.raises(CannotGrant, match=r"no role 'nobody'; .* CREATE ROLE .nobody. LOGIN PASSWORD"):
        grant_worker(theirs, "nobody")
    with pytest.raises(CannotGrant, match="no role 'public'"):
        grant_worker(theirs, "public")
    with (
        new_role(engine, "SUPERUSER") as strong,
        new_role(engine, "NOINHERIT") as member,
        new_role(engine) as of_strong,
        new_role(engine) as of_database,
        new_role(engine) as of_schema,
    ):
        execute(
            engine,
            f"GRANT {theirs.url.username} TO {member}",
            f"GRANT {strong} TO {of_strong}",
            f"ALTER DATABASE {engine.url.database} OWNER TO {of_database}",
            f"ALTER SCHEMA public OWNER TO {of_schema}",
        )
        for role in (strong, member, of_strong, of_database, of_schema, theirs.url.username or ""):
            with pytest.raises(CannotGrant, match=f"'{role}' can do everything here"):
                grant_worker(theirs, role)
        execute(
            engine,
            f"ALTER DATABASE {engine.url.database} OWNER TO postgres",
            "ALTER SCHEMA public OWNER TO postgres",
        )


def test_two_at_once(engine: Engine) -> None:
    with new_role(engine) as one, new_role(engine) as other, ThreadPoolExecutor(8) as pool:
        engines = [make_engine(engine.url) for _ in range(8)]
        assert list(pool.map(grant_worker, engines, [one, other] * 4)) == [[]] * 8
        for made in engines:
            made.dispose()


def test_the_command_says_what_the_role_can_do_and_the_next_step(
    engine: Engine, role: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    url = engine.url.set(password="secret").update_query_dict({"sslmode": "prefer"})
    monkeypatch.setenv("CAVIAR_DATABASE_URL", url.render_as_string(hide_password=False))
    assert run(["db", "grant", role]) == 0
    said = capsys.readouterr()
    assert said.err == ""
    assert f"'{role}' can look at studies, train their trials" in said.out
    assert "secret" not in said.out
    (address,) = shlex.split(re.findall(r"export CAVIAR_DATABASE_URL=(.*)", said.out)[0])
    told = parse_url(address)
    assert (told.username, told.password, told.database) == (role, "PASSWORD", engine.url.database)
    assert told.query == {**engine.url.query, "sslmode": "prefer"}
    execute(engine, "GRANT CREATE ON SCHEMA public TO PUBLIC")
    assert run(["db", "grant", role]) == 0
    assert capsys.readouterr().err.endswith("than a worker needs: CREATE on SCHEMA public\n")
    assert run(["db", "grant", "nobody"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("caviar: this PostgreSQL has no role 'nobody'")
