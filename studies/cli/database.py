"""`caviar db`: the schema of the database."""

from __future__ import annotations

import typer

from studies.cli.output import DatabaseUrl, database, out

app = typer.Typer(help="Make, upgrade and check the tables in the database.", rich_markup_mode="markdown")


@app.command()
def upgrade(database_url: DatabaseUrl = None) -> None:
    """Bring the tables up to this program's version; make them where there are none.

    Workers of an older version must be stopped first. Example: caviar db upgrade
    """
    from storage.migrate import newest_revision
    from storage.migrate import upgrade as upgrade_schema

    with database(database_url, create=False) as engine:
        upgrade_schema(engine)
    out().print(f"the schema is {newest_revision()}")


@app.command()
def current(database_url: DatabaseUrl = None) -> None:
    """Show the version of the tables in the database, and that of this program.

    Example: caviar db current
    """
    from storage.migrate import newest_revision, revision

    with database(database_url, create=False) as engine, engine.connect() as connection:
        found = revision(connection)
    out().print(f"database: {found or 'no tables'}\nprogram: {newest_revision()}")


@app.command()
def check(database_url: DatabaseUrl = None) -> int:
    """Exit with 0 where the database's tables are this program's, with 1 where not.

    Example: caviar db check
    """
    from storage.migrate import SchemaState, newest_revision, schema_state

    with database(database_url, create=False) as engine, engine.connect() as connection:
        state = schema_state(connection)
    if state is SchemaState.CURRENT:
        out().print(f"the schema is current ({newest_revision()})")
        return 0
    step = "update this clone" if state is SchemaState.NEWER else "run: caviar db upgrade"
    out().print(f"the schema is {state.value}; {step}")
    return 1
