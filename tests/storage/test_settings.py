"""Addresses as providers hand them out, and what is said of others; never a password."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy.engine import URL

from caviar.storage.errors import BadDatabaseUrl
from caviar.storage.settings import parse_url, read_settings, without_password
from caviar.studies.cli import run


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg2"])
def test_every_spelling_is_read_as_psycopg2(scheme: str) -> None:
    url = parse_url(f"{scheme}://ann:secret@db.example:5433/caviar?sslmode=require")
    assert url.drivername == "postgresql+psycopg2"
    assert (url.username, url.password, url.host, url.port, url.database) == (
        "ann",
        "secret",
        "db.example",
        5433,
        "caviar",
    )
    assert url.query["sslmode"] == "require"


@pytest.mark.parametrize(
    "address", ["sqlite:///x.db", "mysql://u:secret@h/d", "postgresql+asyncpg://u:secret@h/d", "secret"]
)
def test_anything_else_is_refused_with_the_reason_and_without_the_password(address: str) -> None:
    with pytest.raises(BadDatabaseUrl) as caught:
        parse_url(address)
    assert "secret" not in str(caught.value)
    assert "postgresql://USER@HOST:PORT/DATABASE" in str(caught.value)


def test_an_at_sign_in_a_password_is_asked_to_be_escaped() -> None:
    with pytest.raises(BadDatabaseUrl, match="write an @ in the password as %40") as caught:
        parse_url("postgresql://ann:top@secret@host/db")
    assert "secret" not in str(caught.value)
    assert parse_url("postgresql://ann:top%40secret@host/db").password == "top@secret"


def test_an_option_comes_before_the_environment() -> None:
    environ = {"CAVIAR_DATABASE_URL": "postgresql://h/one", "CAVIAR_HOME": "/somewhere"}
    assert read_settings("postgresql://h/two", environ).database_url == parse_url("postgresql://h/two")
    assert read_settings(None, environ).database_url == parse_url("postgresql://h/one")
    assert read_settings(None, environ).home == Path("/somewhere")
    assert read_settings(None, {}).database_url is None


def test_the_address_that_is_shown_has_no_password() -> None:
    url = parse_url("postgres://ann:secret@db.example:5433/caviar?sslmode=require&sslpassword=secret")
    assert without_password(url) == "postgresql+psycopg2://ann:PASSWORD@db.example:5433/caviar?sslmode=require"


def test_optunas_own_command_accepts_the_address_that_caviar_shows(
    database_url: URL, capsys: pytest.CaptureFixture[str]
) -> None:
    """SQLAlchemy 2.1, which Optuna uses here, takes `postgresql://` for psycopg 3, which is not installed."""
    plain = database_url.set(drivername="postgresql").render_as_string(hide_password=False)
    assert run(["status", "--database-url", plain]) == 0  # Caviar itself accepts it
    capsys.readouterr()
    assert run(["db", "address", "--database-url", plain]) == 0
    address = capsys.readouterr().out.strip()
    optuna = [str(Path(sys.executable).parent / "optuna")]
    done = subprocess.run([*optuna, "create-study", "--study-name", "theirs", "--storage", address], check=False)
    assert done.returncode == 0
    listed = subprocess.run([*optuna, "studies", "--storage", address], check=True, capture_output=True, text=True)
    assert "theirs" in listed.stdout
