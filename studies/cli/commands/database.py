"""`caviar db`: the schema of the database, and the rights of its roles."""

from __future__ import annotations

from shlex import quote
from typing import Annotated

import typer

import caviar
from caviar.studies.cli.options import Database
from caviar.studies.cli.output import out, print_line, print_remark

app = typer.Typer(help="Make, upgrade and check the tables in the database.", rich_markup_mode="markdown")


@app.command()
def upgrade(database: Database = None) -> None:
    """Bring the tables to this program's version, or make them in an empty database.

    Workers of an older version must be stopped first. Example: caviar db upgrade

    In Python: caviar.upgrade_database()
    """
    out().print(f"the schema is {caviar.upgrade_database(database=database)}")


@app.command()
def current(database: Database = None) -> None:
    """Show the version of the tables in the database, and that of this program.

    Example: caviar db current

    In Python: caviar.schema_version()
    """
    version = caviar.schema_version(database=database)
    out().print(f"database: {version.database or 'no tables'}\nprogram: {version.program}")


@app.command()
def address(database: Database = None) -> None:
    """Show the database's address for Optuna's own tools, with the word PASSWORD in place of a password.

    The built-in server answers there while a process of Caviar uses it. Example: caviar db address

    In Python: caviar.database_address()
    """
    print_line(caviar.database_address(database=database))


@app.command()
def check(database: Database = None) -> int:
    """Exit with 0 if the database's tables are this program's, else with 1.

    Example: caviar db check

    In Python: caviar.schema_version()
    """
    version = caviar.schema_version(database=database)
    if version.state.value == "current":
        out().print(f"the schema is current ({version.program})")
        return 0
    step = "update this program" if version.state.value == "newer" else "run: caviar db upgrade"
    out().print(f"the schema is {version.state.value}; {step}")
    return 1


@app.command()
def grant(
    role: Annotated[str, typer.Argument(help="A role of the database, made for the workers; not your own.")],
    database: Database = None,
) -> None:
    """Give a role the rights that workers need, and no more: its address can lose neither studies nor tables.

    For the role that owns the tables, and again after each `caviar db upgrade`. Example: caviar db grant worker

    In Python: caviar.grant_worker("worker")
    """
    granted = caviar.grant_worker(role, database=database)
    print_line(
        f"'{role}' can look at studies, train their trials, and pause, resume, stop and kill; it cannot begin, extend, "
        f"change or delete a study, nor touch the tables",
    )
    if granted.surplus:
        print_remark(f"it has more rights, from elsewhere, than a worker needs: {', '.join(granted.surplus)}")
    print_line(
        f"\nnext, on each machine:\n  export CAVIAR_DATABASE_URL={quote(granted.address)}\n  caviar join STUDY",
        style="dim",
    )
