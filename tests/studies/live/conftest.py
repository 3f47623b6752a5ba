"""Caviar's own pages as a server of this process serves them, and a real browser in front of them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from caviar.studies.api.dashboard import changes_of
from caviar.studies.dashboard.access import AccessControl
from caviar.studies.dashboard.server import DashboardServer
from caviar.studies.live.site import Site
from caviar.studies.workers.local.signals import Stop
from tests.helpers.browser import Browser, browser
from tests.studies.live.test_pages import optunas


@pytest.fixture
def address(engine: Engine) -> Iterator[str]:
    with Stop() as stop, DashboardServer("127.0.0.1", 0) as server:
        access = AccessControl(Site(engine, optunas, changes_of(engine)), None, changes=True)
        thread = threading.Thread(target=server.serve, args=(access, stop))
        thread.start()
        yield server.url
        stop.ask()
        thread.join(60)


@pytest.fixture
def page(tmp_path: Path) -> Iterator[Browser]:
    with browser(tmp_path) as page:
        yield page
