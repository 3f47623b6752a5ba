"""Check the database for `caviar doctor`. Each check returns its findings, none of which it can mend."""

from __future__ import annotations

from sqlalchemy import Engine

from caviar.storage.definitions import find_study
from caviar.storage.engine import clock_skew
from caviar.storage.grants import missing_rights
from caviar.storage.health import OpenWorker, Server, open_workers, read_server, read_studies
from caviar.storage.migrate import SchemaState, newest_revision, revision, schema_state
from caviar.storage.processes import is_alive, machine_id
from caviar.storage.records import Provenance, StudyRecord
from caviar.storage.settings import Settings
from caviar.storage.timing import MOST_PATIENCE, SILENT
from caviar.studies.findings import Finding, Level
from caviar.studies.lifecycle.provenance import compare, package_versions

_OLDEST_TESTED = 15  # PostgreSQL
_PER_PROCESS = 2  # connections of a worker, and of a command
_CROWDED = 0.8  # of the server's connections
_LOST_SECONDS = MOST_PATIENCE + 3600.0  # no worker comes back after that: its patience with the database is over


def is_gone(worker: OpenWorker) -> bool:
    """Return whether a worker must have ended without recording it."""
    died_here = worker.machine == machine_id() and not is_alive(worker.pid)
    return died_here or worker.silent > _LOST_SECONDS


def unfinished(engine: Engine) -> list[StudyRecord]:
    """Return the studies that have trials left to train."""
    records = [find_study(engine, study.name) for study in read_studies(engine) if not study.done]
    return [record for record in records if record is not None]  # one may be deleted meanwhile


def database(engine: Engine, settings: Settings) -> list[Finding]:
    """Describe the database, and check that it can be written to and is recent enough."""
    server = read_server(engine)
    version = server.version.split(" ")[0]
    message = f"{place(settings, version)}, database '{server.database}', as '{server.role}'"
    if server.read_only:
        message += ": nothing can be written there"
        return [Finding(Level.ERROR, "database", message, "give the primary's address")]
    if server.number // 10_000 < _OLDEST_TESTED:
        step = f"update PostgreSQL: Caviar is tested on {_OLDEST_TESTED} and newer"
        return [Finding(Level.WARNING, "database", message, step)]
    return [Finding(Level.OK, "database", message)]


def place(settings: Settings, version: str = "") -> str:
    """Return the server in words, without its password."""
    name = f"PostgreSQL {version}".strip()
    url = settings.database_url
    if url is None:
        return f"the built-in {name} in {settings.home} (no CAVIAR_DATABASE_URL)"
    return f"{name} at {url.host or url.query.get('host') or 'localhost'}:{url.port or 5432}"


def rights(engine: Engine) -> list[Finding]:
    """Compare the role's rights with those of a worker."""
    missing = missing_rights(engine)
    if not missing:
        return [Finding(Level.OK, "rights", "all that a worker needs")]
    role = read_server(engine).role
    more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
    making = any(right.startswith("CREATE") for right in missing)
    step = "let the database's owner run: " + ("caviar db upgrade" if making else f"caviar db grant {role}")
    return [Finding(Level.ERROR, "rights", f"'{role}' lacks {', '.join(missing[:3])}{more}", step)]


def schema(engine: Engine) -> list[Finding]:
    """Compare the tables with those that this program needs."""
    with engine.connect() as connection:
        state, there = schema_state(connection), revision(connection)
    if state is SchemaState.EMPTY:
        return [Finding(Level.OK, "schema", "no tables yet: the first caviar run makes them")]
    if state is SchemaState.CURRENT:
        return [Finding(Level.OK, "schema", f"{there}, which this program needs")]
    step = "stop all workers, then run: caviar db upgrade"
    if state is SchemaState.NEWER:
        step = "update this clone (git pull, then make run)"
    return [Finding(Level.ERROR, "schema", f"{there} is {state.value} than this program's {newest_revision()}", step)]


def clock(engine: Engine) -> list[Finding]:
    """Compare this machine's clock with the database's, by which leases run; time zones change nothing."""
    skew = clock_skew(engine)
    message = f"{abs(skew):.1f} s {'ahead of' if skew > 0 else 'behind'} the database's, whose time zone is "
    message += read_server(engine).time_zone
    if compare(Provenance(), Provenance(), skew):
        step = "set this machine's clock (NTP): caviar join refuses it like that"
        return [Finding(Level.WARNING, "clock", message, step)]
    return [Finding(Level.OK, "clock", message)]


def connections(engine: Engine) -> list[Finding]:
    """Compare the connections that all workers and commands may open with those that the server has."""
    server = read_server(engine)
    if server.is_pooled:
        return [_pooled(server)]
    active = [w for w in open_workers(engine) if w.silent < SILENT and not is_gone(w)]
    commands = len({(w.machine, w.job, w.study_id) for w in active}) + 1  # this one
    needed = _PER_PROCESS * (len(active) + commands) + server.others
    message = (
        f"{needed} of {server.room}: {_PER_PROCESS} for each of {len(active)} worker(s) and {commands} command(s), "
        f"{server.others} of others"
    )
    level = Level.ERROR if needed > server.room else Level.WARNING if needed > _CROWDED * server.room else Level.OK
    step = (
        "let the workers connect through PgBouncer in transaction mode (docs/guides/machines.md), start fewer workers, "
        "or raise max_connections (PostgreSQL must be restarted)"
    )
    return [Finding(level, "connections", message, "" if level == Level.OK else step)]


def _pooled(server: Server) -> Finding:
    """Return how many of the server's connections a pooler and others use; its clients wait for one another."""
    message = f"{server.used} of {server.room}, through a pooler, which any number of workers share"
    if server.used <= _CROWDED * server.room:
        return Finding(Level.OK, "connections", message)
    step = "let the pooler open fewer connections (default_pool_size), or raise max_connections of PostgreSQL"
    return Finding(Level.WARNING, "connections", message, step)


def versions(engine: Engine) -> list[Finding]:
    """Compare this machine's packages with those that each unfinished study was begun with."""
    here, findings = package_versions(), []
    for record in unfinished(engine):
        others = compare(record.provenance, Provenance(here))
        fatal = [d for d in others if d.weight == "fatal"]
        if not others:
            continue
        differences = ", ".join(f"{d.what} {d.there} (here {d.here})" for d in fatal or others)
        step = "install that here, if every digit of its results counts"
        if fatal:
            step = f"install {fatal[0].what} {fatal[0].there.split('.')[0]} here: their rows do not mean the same"
        message = f"'{record.name}' was begun with {differences}"
        findings.append(Finding(Level.ERROR if fatal else Level.OK, "versions", message, step))
    return findings or [Finding(Level.OK, "versions", "those that unfinished studies were begun with")]


def needed_data(engine: Engine) -> dict[str, list[str]]:
    """Return the data sets of unfinished studies, with the names of these studies."""
    needed: dict[str, list[str]] = {}
    for record in unfinished(engine):
        needed.setdefault(str(record.body["data"]), []).append(record.name)
    return needed
