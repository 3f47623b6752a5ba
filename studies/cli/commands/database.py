"""`caviar db`: the schema of the database."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from caviar.studies.cli.output import DatabaseUrl, database, out, say, tell

if TYPE_CHECKING:
    from sqlalchemy.engine import URL

app = typer.Typer(help="Make, upgrade and check the tables in the database.", rich_markup_mode="markdown")


@app.command()
def upgrade(database_url: DatabaseUrl = None) -> None:
    """Bring the tables up to this program's version; make them where there are none.

    Workers of an older version must be stopped first. Example: caviar db upgrade
    """
    from caviar.storage.migrate import newest_revision
    from caviar.storage.migrate import upgrade as upgrade_schema

    with database(database_url, create=False) as engine:
        upgrade_schema(engine)
    out().print(f"the schema is {newest_revision()}")


@app.command()
def current(database_url: DatabaseUrl = None) -> None:
    """Show the version of the tables in the database, and that of this program.

    Example: caviar db current
    """
    from caviar.storage.migrate import newest_revision, revision

    with database(database_url, create=False) as engine, engine.connect() as connection:
        found = revision(connection)
    out().print(f"database: {found or 'no tables'}\nprogram: {newest_revision()}")


@app.command()
def check(database_url: DatabaseUrl = None) -> int:
    """Exit with 0 where the database's tables are this program's, with 1 where not.

    Example: caviar db check
    """
    from caviar.storage.migrate import SchemaState, newest_revision, schema_state

    with database(database_url, create=False) as engine, engine.connect() as connection:
        state = schema_state(connection)
    if state is SchemaState.CURRENT:
        out().print(f"the schema is current ({newest_revision()})")
        return 0
    step = "update this clone" if state is SchemaState.NEWER else "run: caviar db upgrade"
    out().print(f"the schema is {state.value}; {step}")
    return 1


@app.command()
def grant(
    role: Annotated[str, typer.Argument(help="A role of the database, made for the workers; not your own.")],
    database_url: DatabaseUrl = None,
) -> None:
    """Give a role what workers need, and no more: neither studies nor tables can be lost by its address.

    Done by the role that owns the tables, and again after each `caviar db upgrade`. Example: caviar db grant worker
    """
    from caviar.storage.grants import grant_worker

    with database(database_url) as engine:
        beyond = grant_worker(engine, role)
        address = _address(engine.url, role)
    tell(
        f"'{role}' can look at studies, train their trials, and pause, resume, stop and kill; it cannot begin, extend, "
        f"change or delete a study, nor touch the tables",
        markup=False,
    )
    if beyond:
        say(f"it can do more than that, which it has from elsewhere, and no worker needs: {', '.join(beyond)}")
    tell(
        f"\nnext, on each machine:\n  export CAVIAR_DATABASE_URL={address}\n  caviar join STUDY",
        style="dim",
        markup=False,
    )


def _address(url: URL, role: str) -> str:
    """Return the address for a shell on another machine, with another role and no password."""
    from shlex import quote

    query = {name: value for name, value in url.query.items() if "password" not in name}
    told = url.set(drivername="postgresql", username=role, password="PASSWORD", query=query)
    return quote(told.render_as_string(hide_password=False))
