"""Roles of PostgreSQL that live as long as one test."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from uuid import uuid4

from sqlalchemy import Engine

from caviar.storage.engine import make_engine


@contextmanager
def new_role(engine: Engine, options: str = "LOGIN", prefix: str = "caviar_worker") -> Iterator[str]:
    """A role that no other test has, for they are the whole server's."""
    name = f"{prefix}_{uuid4().hex[:12]}"
    quoted = '"' + name.replace('"', '""') + '"'
    execute(engine, f"CREATE ROLE {quoted} {options}")
    try:
        yield name
    finally:
        execute(engine, f"DROP OWNED BY {quoted} CASCADE", f"DROP ROLE {quoted}")


def execute(engine: Engine, *statements: str) -> None:
    with engine.begin() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement.replace("%", "%%"))


@contextmanager
def engine_as(engine: Engine, role: str) -> Iterator[Engine]:
    made = make_engine(engine.url.set(username=role))
    yield made
    made.dispose()
