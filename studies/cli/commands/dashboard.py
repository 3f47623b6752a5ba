"""`caviar dashboard`: serve the live pages, and Optuna's dashboard."""

from __future__ import annotations

import webbrowser
from typing import Annotated

import typer

import caviar
from caviar.studies.cli.options import Database
from caviar.studies.cli.output import print_line


def dashboard(
    study: Annotated[str | None, typer.Argument(help="A study in the database, to show its page.")] = None,
    host: Annotated[str, typer.Option(metavar="HOST", help="Address to listen at.")] = "127.0.0.1",
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, metavar="PORT", help="8080 or the next free one; 0 for any.")
    ] = None,
    allow_changes: Annotated[
        bool,
        typer.Option("--allow-changes", help="Let visitors steer studies, and write notes."),
    ] = False,
    open_: Annotated[bool, typer.Option("--open", help="Open it in a browser.")] = False,
    database: Database = None,
) -> None:
    """Serve all studies, live, until Ctrl-C: read-only, and to this machine's browsers alone.

    Optuna's dashboard of the same database is at /optuna. At another address it asks for the password in
    CAVIAR_DASHBOARD_PASSWORD, with any user name, which the history names where something is changed.

    Examples: caviar dashboard digits --open, CAVIAR_DASHBOARD_PASSWORD=... caviar dashboard --host 0.0.0.0

    In Python: caviar.dashboard("digits")
    """

    def started(url: str) -> None:
        print_line(f"the dashboard is at {url}; Ctrl-C stops it")
        if open_:
            webbrowser.open(url)

    try:
        caviar.dashboard(study, host=host, port=port, allow_changes=allow_changes, started=started, database=database)
    except KeyboardInterrupt:
        raise typer.Abort from None
