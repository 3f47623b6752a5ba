"""Examine the database and this machine, say what to do about each finding, and mend what is safe to mend."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from caviar.errors import CaviarError
from caviar.storage.engine import open_database
from caviar.storage.errors import DatabaseAway, StorageError
from caviar.storage.migrate import SchemaState, schema_state
from caviar.storage.outage import Outage, is_busy
from caviar.storage.settings import Settings
from caviar.studies.doctor import database as server_checks
from caviar.studies.doctor import leftovers as left_overs
from caviar.studies.doctor import machine as machine_checks
from caviar.studies.doctor.findings import Finding, Level

_OF_DATABASE: Mapping[str, Callable[[Engine, Settings], list[Finding]]] = {
    "database": server_checks.database,
    "rights": lambda engine, _: server_checks.rights(engine),
    "schema": lambda engine, _: server_checks.schema(engine),
}
# In this order: what holds a trial is let go before what it leaves behind is looked for.
_OF_TABLES: Mapping[str, Callable[[Engine, Settings], list[Finding]]] = {
    "clock": lambda engine, _: server_checks.clock(engine),
    "connections": lambda engine, _: server_checks.connections(engine),
    "versions": lambda engine, _: server_checks.versions(engine),
    "leases": lambda engine, _: left_overs.leases(engine),
    "workers": lambda engine, _: left_overs.workers(engine),
    "trials": lambda engine, _: left_overs.trials(engine),
    "checkpoints": lambda engine, _: left_overs.checkpoints(engine),
    "files": left_overs.files,
    "unsent": left_overs.unsent,
}

_FAILURES = (DBAPIError, OSError, CaviarError)


@dataclass
class Report:
    """What was found, in the order of the checks; and with `fix` what was done about it, a line each."""

    fix: bool = False
    findings: list[Finding] = field(default_factory=list)
    done: list[str] = field(default_factory=list)

    @property
    def failed(self) -> bool:
        """Whether something cannot work."""
        return any(finding.level == Level.ERROR for finding in self.findings)

    def look(self, what: str, check: Callable[..., list[Finding]], *arguments: object) -> bool:
        """Add what a check finds, once what can be mended of it was; return False where that is an error."""
        found = _look(what, check, *arguments)
        mends = [finding.mend for finding in found if finding.mend is not None] if self.fix else []
        failures = [failure for mend in mends if (failure := self._mend(what, mend)) is not None]
        found = [*failures, *_look(what, check, *arguments)] if mends else found
        self.findings += found
        return all(finding.level != Level.ERROR for finding in found)

    def _mend(self, what: str, mend: Callable[[], str]) -> Finding | None:
        try:
            self.done.append(mend())
        except _FAILURES as error:
            return Finding(Level.ERROR, what, f"cannot be mended: {_in_one_line(error)}")
        return None


def _look(what: str, check: Callable[..., list[Finding]], *arguments: object) -> list[Finding]:
    """Make a check; that it cannot be made is a finding, too."""
    try:
        return check(*arguments)
    except _FAILURES as error:
        return [Finding(Level.ERROR, what, f"cannot be checked: {_in_one_line(error)}")]


def examine(settings: Settings, data_dir: Path, notify: Callable[[str], None], *, fix: bool = False) -> Report:
    """Look at everything; a database that does not answer is a finding like others.

    Args:
        data_dir: where the data sets are.
        notify: told, a line each, what a person would want to know about the server.
        fix: mend what is safe to mend.
    """
    report = Report(fix)
    needed: Mapping[str, list[str]] = {}
    try:
        # At once or not at all: that no connection is free is worth knowing, not waiting for.
        with open_database(settings, notify, create=False, outage=Outage(patience=0)) as engine:
            if _look_at_database(report, engine, settings):
                needed = server_checks.needed_data(engine)
    except StorageError as error:
        report.findings.append(_unreachable(settings, error))
        report.findings.append(_not_checked([*list(_OF_DATABASE)[1:], *_OF_TABLES]))
    report.look("disk", machine_checks.disk, settings)
    report.look("software", machine_checks.software)
    report.look("gpus", machine_checks.gpus)
    report.look("data", machine_checks.data, data_dir, needed)
    return report


def _look_at_database(report: Report, engine: Engine, settings: Settings) -> bool:
    """Make the checks of a database that answers; return whether it has the tables to go on with."""
    for number, (what, check) in enumerate(_OF_DATABASE.items(), start=1):
        if not report.look(what, check, engine, settings):
            report.findings.append(_not_checked([*list(_OF_DATABASE)[number:], *_OF_TABLES]))
            return False
    with engine.connect() as connection:
        if schema_state(connection) is SchemaState.EMPTY:
            return False
    for what, check in _OF_TABLES.items():
        report.look(what, check, engine, settings)
    return True


def _not_checked(names: Iterable[str]) -> Finding:
    return Finding(Level.WARNING, "not checked", ", ".join(names), "mend the error above first")


def _unreachable(settings: Settings, error: StorageError) -> Finding:
    """Tell why there is no database, without its password."""
    cause = error.__cause__
    if not isinstance(error, DatabaseAway) or not isinstance(cause, DBAPIError):
        return Finding(Level.ERROR, "database", str(error))
    step = "start it, correct CAVIAR_DATABASE_URL, or unset that for the built-in server"
    if is_busy(cause):
        step = "try again; if it has no connection left, start fewer workers, or raise max_connections"
    told = f"{server_checks.place(settings)} does not answer: {_in_one_line(cause)}"
    return Finding(Level.ERROR, "database", told, step)


def _in_one_line(error: BaseException) -> str:
    lines = str(error.orig if isinstance(error, DBAPIError) else error).strip().splitlines()
    return lines[0].split("failed: ")[-1] if lines else type(error).__name__
