"""Through PgBouncer in transaction mode, whose server connections change from one transaction to the next."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy.engine import URL

from caviar.storage.engine import make_engine
from caviar.storage.migrate import ensure_schema
from caviar.studies.lifecycle.manager import progress
from caviar.studies.results.conclusion import conclude
from tests.helpers.pooler import Pooler
from tests.helpers.workers import register, worker


@pytest.fixture
def pooled(new_database: Callable[..., URL]) -> Iterator[URL]:
    """The address of an empty database behind a pooler with four connections for everybody."""
    url = new_database(empty=True)
    owner = Path(str(url.query["host"])).stat().st_uid if os.geteuid() == 0 else None
    pooler = Pooler(url, owner=owner)
    yield pooler.url
    pooler.remove()


def test_a_study_runs_through_a_pooler_from_its_first_table_on(pooled: URL) -> None:
    engine = make_engine(pooled)
    ensure_schema(engine)
    record, study = register(engine, epochs=3)
    worker(engine, record, study).run()
    conclude(engine, record, Path("nowhere"))
    now = progress(engine, record)
    assert (now.done, now.open, now.leased) == (8, 0, 0)
    engine.dispose()
