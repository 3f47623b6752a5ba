"""`caviar delete`."""

from __future__ import annotations

from typing import Annotated

import typer

from caviar.studies.cli.output import DatabaseUrl, database, out


def delete(
    study: Annotated[str, typer.Argument(help="A study in the database.")],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    database_url: DatabaseUrl = None,
) -> None:
    """Delete a study with all its trials, in Optuna's tables too. Asks first.

    Example: caviar delete digits-random
    """
    from caviar.storage.definitions import delete_study, load_study
    from caviar.storage.errors import StudyInUse
    from caviar.storage.outage import Outage
    from caviar.studies.lifecycle.manager import free_dead_workers, free_lost, progress

    with database(database_url) as engine:
        record = load_study(engine, study)
        free_dead_workers(engine, record)
        free_lost(engine, record)
        now = progress(engine, record)
        if now.leased:
            raise StudyInUse(f"{now.leased} trial(s) of '{study}' are being trained; stop the workers (Ctrl-C) first")
        if not yes and not typer.confirm(f"Delete '{study}' with {now.done} finished trials?"):
            out().print("nothing was deleted")
            return
        Outage(10).insist(lambda: delete_study(engine, record))  # a worker may be in its way for a moment
    out().print(f"deleted '{study}'")
