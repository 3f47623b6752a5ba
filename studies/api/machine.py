"""Check the database and this machine, or serve Optuna's dashboard from it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from sqlalchemy import Engine

from caviar.storage.definitions import load_study
from caviar.studies.api.session import LOGGER, connect, data_folder, settings_of
from caviar.studies.doctor.run import Report, examine
from caviar.studies.errors import ExtraMissing, PasswordMissing
from caviar.studies.workers.local.signals import Stop

_PASSWORD = "CAVIAR_DASHBOARD_PASSWORD"


def doctor(*, fix: bool = False, data_dir: str | Path | None = None, database: str | Engine | None = None) -> Report:
    """Check the database and this machine; a database that does not answer is a finding like others.

    Args:
        fix: take back what dead workers hold, and remove what nobody can need; nothing else is ever changed.

    Returns:
        The findings in the order of the checks, and what was done about them.

    Raises:
        BadDatabaseUrl: the address cannot be read.

    Examples:
        >>> [finding.message for finding in caviar.doctor().findings if finding.level == "error"]
    """
    return examine(settings_of(database), data_folder(data_dir), LOGGER.info, fix=fix)


def dashboard(
    study: str | None = None,
    *,
    host: str = "127.0.0.1",
    port: int | None = None,
    allow_changes: bool = False,
    started: Callable[[str], None] | None = None,
    database: str | Engine | None = None,
) -> None:
    """Serve the database in Optuna's dashboard until this process is asked to stop.

    Args:
        study: the study whose page `started` gets; None for the list of studies.
        host: the address to listen at; other machines reach any but this machine's own, and are asked for the
            password in CAVIAR_DASHBOARD_PASSWORD.
        port: the port to listen at; 0 for any that is free, None for 8080 or the next one that is free.
        allow_changes: let visitors write notes, and rename, delete and tell values to studies of other programs.
        started: called with the dashboard's address once it listens.

    Raises:
        ExtraMissing: the packages of the dashboard are not installed.
        PasswordMissing: other machines could reach it, and there is no password.
        AddressUnavailable: nothing can listen at that host and port.
        KeyboardInterrupt: Ctrl-C ended it.

    Examples:
        >>> caviar.dashboard("digits", started=webbrowser.open)
    """
    try:
        from caviar.studies.dashboard.server import DashboardServer, application
    except ModuleNotFoundError as error:
        raise ExtraMissing("the dashboard", error, "dashboard") from error
    from caviar.studies.dashboard.access import AccessControl

    password = os.environ.get(_PASSWORD) or None
    with Stop() as stop, DashboardServer(host, port) as server:
        if not server.is_local and password is None:
            raise PasswordMissing(
                f"{host} can be reached from other machines: set {_PASSWORD}, which the browser will ask for, "
                f"or listen at 127.0.0.1"
            )
        with connect(database) as engine:
            page = f"/dashboard/studies/{load_study(engine, study).optuna_study_id}" if study else ""
            access = AccessControl(application(engine), password, host=host, changes=allow_changes)
            if started is not None:
                started(server.url + page)
            server.serve(access, stop)
    if stop.interrupted:
        raise KeyboardInterrupt
