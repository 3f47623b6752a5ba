"""Settings: the address of the database and the places of files, from an option, the environment or defaults."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import platformdirs
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from caviar.storage.embedded import is_server_of
from caviar.storage.errors import BadDatabaseUrl, BadSetting
from caviar.text import flaw, shown

_NEXT_STEP = "give postgresql://USER@HOST:PORT/DATABASE, or unset CAVIAR_DATABASE_URL for the built-in server"


@dataclass(frozen=True)
class Settings:
    """The address of the database, and the places of files."""

    database_url: URL | None  # None means the built-in server under `home`
    home: Path  # the folder of the built-in server's data and states, and of those that workers save during an outage
    checkpoints: str | None = None  # where states are written: file:///folder or s3://bucket/prefix; None: database


def read_settings(database_url: str | None = None, environ: Mapping[str, str] | None = None) -> Settings:
    """Read the settings from the environment variables CAVIAR_*; an address that is passed in wins.

    Raises:
        BadDatabaseUrl: the address cannot be read, or is not one of PostgreSQL.
        BadSetting: a folder or place cannot be one.
    """
    environ = os.environ if environ is None else environ
    address = database_url or environ.get("CAVIAR_DATABASE_URL") or _from_file(environ.get("CAVIAR_DATABASE_URL_FILE"))
    database, home = parse_url(address) if address else None, home_folder(environ)
    return Settings(database, home, checkpoints_address(database, home, environ))


def home_folder(environ: Mapping[str, str] | None = None) -> Path:
    """Return the folder in which this user's built-in server and states are.

    Raises:
        BadSetting: it cannot be one.
    """
    environ = os.environ if environ is None else environ
    given = environ.get("CAVIAR_HOME") or platformdirs.user_data_dir("caviar", appauthor=False)
    return read_folder("CAVIAR_HOME", given)


def read_folder(setting: str, given: str | Path) -> Path:
    """Return the absolute path of a folder or file that a setting names, which need not exist; ~ is a home folder.

    Raises:
        BadSetting: it is not UTF-8, has a control character, or is in a home folder that nobody has.
    """
    if why := flaw(str(given)):
        raise BadSetting(f"{setting} {why}: {shown(str(given))}; give a path without it")
    try:
        return Path(given).expanduser().absolute()
    except RuntimeError:
        raise BadSetting(
            f"{setting}: there is no home folder for {Path(given).parts[0]}; give {given} as a path from / on"
        ) from None


def checkpoints_address(url: URL | None, home: Path, environ: Mapping[str, str] | None = None) -> str | None:
    """Return the address at which this machine has the checkpoint files of a database; None if it has none.

    Those of the built-in server are in `home`, where states have no limit, unless CAVIAR_CHECKPOINTS says otherwise.

    Args:
        url: the database's; None for the built-in server.

    Raises:
        BadSetting: it is not UTF-8, or has a control character.
    """
    address = (os.environ if environ is None else environ).get("CAVIAR_CHECKPOINTS") or None
    if address and (why := flaw(address)):
        raise BadSetting(f"CAVIAR_CHECKPOINTS {why}: {shown(address)}; give a place that any machine can name")
    return address or (f"file://{home}/checkpoints" if url is None or is_server_of(url, home) else None)


def _from_file(path: str | None) -> str | None:
    if not path:
        return None
    try:
        address = read_folder("CAVIAR_DATABASE_URL_FILE", path).read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise BadDatabaseUrl(f"CAVIAR_DATABASE_URL_FILE: {path} cannot be read ({error}); {_NEXT_STEP}") from None
    if not address:
        raise BadDatabaseUrl(f"CAVIAR_DATABASE_URL_FILE: {path} is empty; {_NEXT_STEP}")
    return address


def parse_url(address: str) -> URL:
    """Parse an address as providers write it, for the driver psycopg2.

    `postgresql://` and `postgres://` become `postgresql+psycopg2://`: SQLAlchemy 2.1 takes the first for psycopg 3, and
    does not know the second.

    Raises:
        BadDatabaseUrl: the address cannot be read, or is not one of PostgreSQL. No password is shown.
    """
    try:
        url = make_url(address)
    except (ArgumentError, ValueError):
        raise BadDatabaseUrl(f"the database address cannot be read; {_NEXT_STEP}") from None
    parts = (address, url.username, url.password, url.host, url.database, *url.query, *url.query.values())
    if why := next((why for part in parts if part and (why := flaw(str(part)))), None):  # as %00, too
        raise BadDatabaseUrl(f"the database address {why}; {_NEXT_STEP}")
    if "@" in (url.host or ""):  # a part of the password, which no message may show
        raise BadDatabaseUrl("the database address has more than one @: write an @ in the password as %40")
    if url.drivername not in ("postgres", "postgresql", "postgresql+psycopg2"):
        raise BadDatabaseUrl(
            f"'{url.drivername}' databases are not supported: Caviar leases trials with PostgreSQL's "
            f"FOR UPDATE SKIP LOCKED and its clock; {_NEXT_STEP}"
        )
    return url.set(drivername="postgresql+psycopg2")


def without_password(url: URL) -> str:
    """Return an address that Optuna's own tools accept too, with the word PASSWORD in place of a password."""
    query = {name: value for name, value in url.query.items() if "password" not in name}
    shown = url.set(drivername="postgresql+psycopg2", query=query)
    return (shown.set(password="PASSWORD") if url.password else shown).render_as_string(hide_password=False)
