"""`caviar dashboard`."""

from __future__ import annotations

import os
import webbrowser
from typing import TYPE_CHECKING, Annotated

import typer

from caviar.studies.cli.output import DatabaseUrl, database, tell

if TYPE_CHECKING:
    from sqlalchemy import Engine

_PASSWORD = "CAVIAR_DASHBOARD_PASSWORD"


def dashboard(
    study: Annotated[str | None, typer.Argument(help="A study in the database, whose page is meant.")] = None,
    host: Annotated[str, typer.Option(metavar="HOST", help="Address to listen at.")] = "127.0.0.1",
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, metavar="PORT", help="8080 or the next free one; 0 for any.")
    ] = None,
    allow_changes: Annotated[
        bool, typer.Option("--allow-changes", help="Let visitors rename, delete and tell, as Optuna's own does.")
    ] = False,
    open_: Annotated[bool, typer.Option("--open", help="Open it in a browser.")] = False,
    database_url: DatabaseUrl = None,
) -> int:
    """Show the database in Optuna's dashboard, until Ctrl-C: to browsers of this machine, to look at.

    At another address it asks for the password in CAVIAR_DASHBOARD_PASSWORD, under any name.

    Examples: caviar dashboard digits --open, CAVIAR_DASHBOARD_PASSWORD=... caviar dashboard --host 0.0.0.0
    """
    from caviar.storage.definitions import load_study
    from caviar.studies.errors import ExtraMissing, PasswordMissing

    try:
        from caviar.studies.dashboard.server import DashboardServer, application
    except ModuleNotFoundError as error:
        raise ExtraMissing(f"the dashboard needs {error.name}: pip install -e '.[dashboard]'") from error
    from caviar.studies.dashboard.access import Door
    from caviar.studies.workers.local.signals import Stop

    password = os.environ.get(_PASSWORD) or None
    with Stop() as stop, DashboardServer(host, port) as server:
        if not server.is_local and password is None:
            raise PasswordMissing(
                f"{host} can be reached from other machines: set {_PASSWORD}, which the browser will ask for, "
                f"or listen at 127.0.0.1"
            )
        with database(database_url) as engine:
            page = f"/dashboard/studies/{load_study(engine, study).optuna_study_id}" if study else ""
            door = Door(
                application(engine), password, host=host, changes=allow_changes, is_ours=lambda i: _is_ours(engine, i)
            )
            tell(f"the dashboard is at {server.url}{page}; Ctrl-C stops it", markup=False)
            if open_:
                webbrowser.open(server.url + page)
            server.serve(door, stop)
    if stop.interrupted:
        raise typer.Abort
    return 0


def _is_ours(engine: Engine, optuna_study_id: int) -> bool:
    """Say whether a study is Caviar's."""
    from caviar.storage.definitions import load_studies

    return any(record.optuna_study_id == optuna_study_id for record in load_studies(engine))
