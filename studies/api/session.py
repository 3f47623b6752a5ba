"""Open what a library call works with: the database, a study in it, the folder of the data sets."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import platformdirs
from sqlalchemy import Engine

from caviar.storage.definitions import load_study
from caviar.storage.engine import open_database
from caviar.storage.outage import Outage
from caviar.storage.records import StudyRecord
from caviar.storage.settings import Settings, checkpoints_address, read_folder, read_settings
from caviar.storage.timing import PATIENCE

# A person may want to hear of the built-in server's start or of a download; the command prints what is logged here.
LOGGER = logging.getLogger("caviar")


def settings_of(database: str | Engine | None = None) -> Settings:
    """Return this process's settings; an address or an engine takes precedence over the environment's database.

    Raises:
        BadDatabaseUrl: the address cannot be read, or is not one of PostgreSQL.
    """
    if isinstance(database, Engine):
        given, url = read_settings(), database.url
        return replace(given, database_url=url, checkpoints=checkpoints_address(url, given.home))
    return read_settings(database)


@contextmanager
def connect(
    database: str | Engine | None = None, *, create: bool = True, hurry: Callable[[], bool] | None = None
) -> Iterator[Engine]:
    """Open a database for several calls; each function of `caviar` opens it for itself otherwise.

    Args:
        database: the address of a PostgreSQL; None stands for CAVIAR_DATABASE_URL, or else for the built-in server,
            which runs as long as anybody uses it. An engine is handed through, and stays open.
        create: make the tables where there are none, and check the schema's version.
        hurry: asked while a busy server is waited for; True ends the wait.

    Yields:
        An engine of SQLAlchemy, which every function of `caviar` takes as its `database`.

    Raises:
        DatabaseUnreachable: the server does not answer.
        DatabaseAway: the connection was lost.
        DatabaseReadOnly: the server takes no writes, as a standby, and one was tried.
        DatabaseRefused: the server refuses the password or the database, the address has an unknown option, or the
            role lacks a right.
        SchemaMismatch: the tables are older or newer than this program.

    Examples:
        >>> with caviar.connect("postgresql://me@host/database") as database:
        ...     for study in caviar.list_studies(database=database):
        ...         print(study.name, caviar.best(study.name, database=database))
    """
    if isinstance(database, Engine):
        yield database
        return
    with open_database(read_settings(database), LOGGER.info, create=create, hurry=hurry) as engine:
        yield engine


def watching(hurry: Callable[[], bool] = lambda: False) -> Outage:
    """Return the clock of the outages that somebody who watches a study sees: each is logged once, and borne."""

    def say(first: bool) -> None:
        if first:
            LOGGER.info("the database is away; waiting for it, for up to %.0f min", PATIENCE / 60)

    return Outage(PATIENCE, hurry, say)


@contextmanager
def opened(study: str, database: str | Engine | None) -> Iterator[tuple[Engine, StudyRecord]]:
    """Open a database, and yield it with the study of that name.

    Raises:
        StudyNotFound: the database has no such study. Errors of `connect` besides.
    """
    with connect(database) as engine:
        yield engine, load_study(engine, study)


def data_folder(data_dir: str | Path | None = None) -> Path:
    """Return the folder in which data sets are kept.

    Args:
        data_dir: a folder; None for the one that CAVIAR_DATA_DIR names, or else one in this user's cache.

    Examples:
        >>> caviar.data_folder()
        PosixPath('/home/me/.cache/caviar/data')
    """
    named = data_dir or os.environ.get("CAVIAR_DATA_DIR")
    if named:
        return read_folder("the folder of the data sets", named)
    return Path(platformdirs.user_cache_dir("caviar", appauthor=False)) / "data"
