"""`caviar dashboard`."""

from __future__ import annotations

from typing import Annotated

import typer

from studies.cli.output import DatabaseUrl, database, say, tell


def dashboard(
    host: Annotated[str, typer.Option(metavar="HOST", help="Address to listen at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, metavar="PORT", help="Port; 0 for any free one.")] = 8080,
    database_url: DatabaseUrl = None,
) -> int:
    """Show the database in Optuna's dashboard, to browsers of this machine, until Ctrl-C.

    Example: caviar dashboard --port 8081
    """
    from studies.dashboard import DashboardServer, application
    from studies.signals import Stop

    with Stop() as stop, DashboardServer(host, port) as server, database(database_url) as engine:
        shown = application(engine)
        tell(f"the dashboard is at {server.url}; Ctrl-C stops it", markup=False)
        if not server.is_local:
            say("it has no login yet: anybody who reaches this address can change and delete studies there")
        server.serve(shown, stop)
    if stop.interrupted:
        raise typer.Abort
    return 0
