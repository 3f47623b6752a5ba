"""Optuna's own tests of a storage, on a database that Caviar's tables share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from optuna.storages import BaseStorage, RDBStorage, _CachedStorage
from optuna.testing.pytest_storages import StorageTestCase
from sqlalchemy.engine import URL

pytestmark = pytest.mark.optuna


class TestStorageBesideCaviar(StorageTestCase):
    @pytest.fixture(params=["plain", "cached"])
    def storage(self, request: pytest.FixtureRequest, database_url: URL) -> Iterator[BaseStorage]:
        """A storage in a database with Caviar's tables, as `RDBStorage` and as every `load_study` wraps it."""
        own = RDBStorage(database_url.render_as_string(hide_password=False))
        yield _CachedStorage(own) if request.param == "cached" else own
        own.remove_session()
        own.engine.dispose()
