"""Serve Caviar's live pages and Optuna's dashboard."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from sqlalchemy import Engine

from caviar.storage.definitions import load_study
from caviar.studies.api import panda
from caviar.studies.api.changing import extend, kill, pause, resume, stop
from caviar.studies.api.enqueueing import enqueue
from caviar.studies.api.session import connect
from caviar.studies.errors import ExtraMissing, PasswordMissing
from caviar.studies.workers.local.signals import Stop

if TYPE_CHECKING:
    from caviar.studies.live.actions import Functions

_PASSWORD = "CAVIAR_DASHBOARD_PASSWORD"


def dashboard(
    study: str | None = None,
    *,
    host: str = "127.0.0.1",
    port: int | None = None,
    allow_changes: bool = False,
    started: Callable[[str], None] | None = None,
    database: str | Engine | None = None,
) -> None:
    """Serve pages of all studies, live, and Optuna's dashboard, until this process is asked to stop.

    Args:
        study: the study whose page `started` gets; None for the list of studies.
        host: the address to listen at; other machines reach any but this machine's own, and are asked for the
            password in CAVIAR_DASHBOARD_PASSWORD.
        port: the port to listen at; 0 for any that is free, None for 8080 or the next one that is free.
        allow_changes: let visitors steer studies and pandas; and in Optuna's dashboard write notes, and rename, delete
            and tell values to studies of other programs.
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
        from caviar.studies.live.site import Site
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
            page = f"/study/{load_study(engine, study).name}" if study else ""
            functions = changes_of(engine) if allow_changes else None
            pages = Site(engine, application(engine), functions)
            access = AccessControl(pages, password, host=host, changes=allow_changes)
            if started is not None:
                started(server.url + page)
            server.serve(access, stop)
    if stop.interrupted:
        raise KeyboardInterrupt


def changes_of(engine: Engine) -> Functions:
    """Return the functions that change a study of a database, by the names that the pages' actions have."""
    functions = (pause, resume, stop, kill, extend, enqueue, panda.nudge, panda.note, panda.back)
    return {function.__name__: partial(function, database=engine) for function in functions}
