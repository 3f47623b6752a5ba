"""One PostgreSQL for the whole session, started from the package's own programs; one database for each test.

The schema is made once, in a template; a test's database is a copy of it, which takes some 30 ms.
"""

from __future__ import annotations

import itertools
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.engine import URL

from caviar.storage import migrate
from caviar.storage.embedded import serve
from caviar.storage.engine import make_engine

for name in [n for n in os.environ if n.startswith(("CAVIAR_", "PG"))]:
    del os.environ[name]  # a developer's own database is not for tests

# How long an example takes is the machine's business, which may be busy. A failure prints how to make it again.
settings.register_profile("caviar", deadline=None, print_blob=True)
settings.load_profile("caviar")

_numbers = itertools.count(1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what needs a database, for `make test-fast` to leave out."""
    for item in items:
        if "server" in getattr(item, "fixturenames", ()):
            item.add_marker("database")


@pytest.fixture(autouse=True)
def _own_imports(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Forget where a test's project is and what was imported from it: the next one has a `my_data` of its own."""
    path, known, folder = [*sys.path], set(sys.modules), str(tmp_path_factory.getbasetemp())
    yield
    sys.path[:] = path
    for name in set(sys.modules) - known:
        if str(getattr(sys.modules[name], "__file__", None)).startswith(folder):
            del sys.modules[name]


@pytest.fixture(scope="session")
def server() -> Iterator[URL]:
    """The address of a PostgreSQL that is as fast as one that may lose data.

    Not under pytest's own temporary folder, which the next session closes to the account that root's server runs as.
    """
    with tempfile.TemporaryDirectory(prefix="caviar-tests-") as home, serve(Path(home), print) as url:
        _execute(url, "ALTER SYSTEM SET fsync = off", "ALTER SYSTEM SET full_page_writes = off",
                 "SELECT pg_reload_conf()", "CREATE DATABASE template_caviar")  # fmt: skip
        engine = make_engine(url.set(database="template_caviar"))
        migrate.ensure_schema(engine)
        engine.dispose()
        yield url


def _execute(url: URL, *statements: str) -> None:
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        for statement in statements:
            connection.execute(text(statement))
    engine.dispose()


@pytest.fixture
def new_database(server: URL) -> Iterator[Callable[..., URL]]:
    """Makes databases: with the schema, or empty."""
    made = []

    def make(*, empty: bool = False) -> URL:
        name = f"test_{next(_numbers)}"
        _execute(server, f"CREATE DATABASE {name}" + ("" if empty else " TEMPLATE template_caviar"))
        made.append(name)
        return server.set(database=name)

    yield make
    for name in made:
        _execute(server, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def database_url(new_database: Callable[..., URL]) -> URL:
    return new_database()


@pytest.fixture
def engine(database_url: URL) -> Iterator[Engine]:
    made = make_engine(database_url)
    yield made
    made.dispose()


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test touches the user's own folders."""
    monkeypatch.setenv("CAVIAR_HOME", str(tmp_path / "caviar-home"))
    monkeypatch.setenv("HOME", str(tmp_path))


@pytest.fixture(scope="session")
def root() -> Path:
    return Path(__file__).parent.parent


@pytest.fixture(scope="session")
def caviar() -> list[str]:
    """The command, as a user of this environment runs it."""
    return [str(Path(sys.executable).parent / "caviar")]
