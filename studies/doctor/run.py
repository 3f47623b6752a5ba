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
from caviar.storage.outage import Outage, is_busy, reason
from caviar.storage.settings import Settings
from caviar.studies.doctor import database as checks
from caviar.studies.doctor import leftovers, machine
from caviar.studies.findings import Finding, Level

_OF_DATABASE: Mapping[str, Callable[[Engine, Settings], list[Finding]]] = {
    "database": checks.database,
    "rights": lambda engine, _: checks.rights(engine),
    "schema": lambda engine, _: checks.schema(engine),
}
# In this order: what holds a trial is let go before what it leaves behind is looked for.
_OF_TABLES: Mapping[str, Callable[[Engine, Settings], list[Finding]]] = {
    "clock": lambda engine, _: checks.clock(engine),
    "connections": lambda engine, _: checks.connections(engine),
    "versions": lambda engine, _: checks.versions(engine),
    "leases": lambda engine, _: leftovers.leases(engine),
    "workers": lambda engine, _: leftovers.workers(engine),
    "trials": lambda engine, _: leftovers.trials(engine),
    "checkpoints": lambda engine, _: leftovers.checkpoints(engine),
    "files": leftovers.files,
    "unsent": leftovers.unsent,
}

_FAILURES = (DBAPIError, OSError, CaviarError)


@dataclass
class Report:
    """The findings in the order of the checks; and with `fix` what was done about them, a line each."""

    fix: bool = False
    findings: list[Finding] = field(default_factory=list)
    done: list[str] = field(default_factory=list)

    @property
    def failed(self) -> bool:
        """Whether something cannot work."""
        return any(finding.level == Level.ERROR for finding in self.findings)

    def run(self, what: str, check: Callable[..., list[Finding]], *arguments: object) -> bool:
        """Run a check and, with `fix`, its mends, then the check again; return whether it found no error."""
        findings, failures, is_mended = _checked(what, check, *arguments), [], False
        for mend in [finding.mend for finding in findings if self.fix and finding.mend is not None]:
            is_mended = True
            try:
                self.done.append(mend())
            except _FAILURES as error:
                failures.append(Finding(Level.ERROR, what, f"cannot be mended: {reason(error)}"))
        findings = [*failures, *_checked(what, check, *arguments)] if is_mended else findings
        self.findings += findings
        return all(finding.level != Level.ERROR for finding in findings)


def _checked(what: str, check: Callable[..., list[Finding]], *arguments: object) -> list[Finding]:
    """Return the findings of a check; if it fails, that is the finding."""
    try:
        return check(*arguments)
    except _FAILURES as error:
        return [Finding(Level.ERROR, what, f"cannot be checked: {reason(error)}")]


def examine(settings: Settings, data_dir: Path, notify: Callable[[str], None], *, fix: bool = False) -> Report:
    """Run all checks; a database that does not answer is a finding like others.

    Args:
        notify: called with a line for a person, such as that the built-in server is being started.
    """
    report = Report(fix)
    needed: Mapping[str, list[str]] = {}
    try:
        # At once or not at all: that no connection is free is worth knowing, not waiting for.
        with open_database(settings, notify, create=False, outage=Outage(patience=0)) as engine:
            if _examine_database(report, engine, settings):
                needed = checks.needed_data(engine)
    except StorageError as error:
        report.findings.append(_unreachable(settings, error))
        report.findings.append(_not_checked([*list(_OF_DATABASE)[1:], *_OF_TABLES]))
    report.run("disk", machine.disk, settings)
    report.run("software", machine.software)
    report.run("gpus", machine.gpus)
    report.run("data", machine.data, data_dir, needed)
    return report


def _examine_database(report: Report, engine: Engine, settings: Settings) -> bool:
    """Check a database that answers; return whether it has the tables to go on with."""
    for number, (what, check) in enumerate(_OF_DATABASE.items(), start=1):
        if not report.run(what, check, engine, settings):
            report.findings.append(_not_checked([*list(_OF_DATABASE)[number:], *_OF_TABLES]))
            return False
    with engine.connect() as connection:
        if schema_state(connection) is SchemaState.EMPTY:
            return False
    for what, check in _OF_TABLES.items():
        report.run(what, check, engine, settings)
    return True


def _not_checked(names: Iterable[str]) -> Finding:
    return Finding(Level.WARNING, "not checked", ", ".join(names), "mend the error above first")


def _unreachable(settings: Settings, error: StorageError) -> Finding:
    """Return why there is no database, without its password."""
    cause = error.__cause__
    if not isinstance(error, DatabaseAway) or not isinstance(cause, DBAPIError):
        return Finding(Level.ERROR, "database", str(error))
    step = "start it, correct CAVIAR_DATABASE_URL, or unset that for the built-in server"
    if is_busy(cause):
        step = "try again; if it has no connection left, start fewer workers, or raise max_connections"
    message = f"{checks.place(settings)} does not answer: {reason(cause)}"
    return Finding(Level.ERROR, "database", message, step)
