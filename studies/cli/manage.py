"""`caviar delete`."""

from __future__ import annotations

from typing import Annotated

import typer

from studies.cli.output import DatabaseUrl, database, out


def delete(
    study: Annotated[str, typer.Argument(help="A study in the database.")],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    database_url: DatabaseUrl = None,
) -> None:
    """Delete a study with all its trials, in Optuna's tables too. Asks first.

    Example: caviar delete digits-random
    """
    from storage.definitions import delete_study, load_study
    from studies.errors import StudyBusy
    from studies.manager import progress

    with database(database_url) as engine:
        record = load_study(engine, study)
        now = progress(engine, record)
        if now.leased:
            raise StudyBusy(f"{now.workers} worker(s) train for '{study}' at this moment; stop them first (Ctrl-C)")
        if not yes and not typer.confirm(f"Delete '{study}' with {now.done} finished trials?"):
            raise typer.Abort
        delete_study(engine, record)
    out().print(f"deleted '{study}'")
