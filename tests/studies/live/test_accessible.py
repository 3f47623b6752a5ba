"""No page has what axe-core calls serious or critical, such as faint text: of no kind, in no scheme, at no width."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import pytest
from sqlalchemy import Engine

import caviar
from caviar.storage.events import record_event
from caviar.storage.states import EventKind
from caviar.studies.lifecycle.manager import extend_study
from tests.helpers.axe import axe_core, grave_findings
from tests.helpers.browser import Browser, needs_chromedriver
from tests.helpers.live import let_run
from tests.helpers.pandas import born, days
from tests.helpers.workers import register, worker

pytestmark = needs_chromedriver


@pytest.fixture(scope="module")
def axe() -> str:
    return axe_core()


@pytest.fixture
def pages(engine: Engine, address: str, tmp_path: Path) -> list[str]:
    """Pages of a study that is done, of one that runs and of a panda; the list of all, and a comparison of two."""
    record, study = register(engine, name="done", budget=14, epochs=3)
    worker(engine, record, study).run()
    half, study = register(engine, name="half", budget=12, epochs=5)
    worker(engine, half, study).run()
    half = extend_study(engine, half, 40)
    for slot in (12, 13):
        let_run(engine, half, slot, 0.5, 0.6, host=f"node-{slot}")
    record_event(engine, half.study_id, EventKind.LEASE_EXPIRED, slot=12, epoch=1)
    baby = born(engine)
    days(engine, baby, 3)
    both = tmp_path / "both.html"
    caviar.compare(["done", "half"], file=both, database=engine)
    of_each = [f"{address}/study/{name}{page}" for name in ("done", "half", "baby") for page in ("", "/report")]
    return [f"{address}/", *of_each, both.as_uri()]


def test_no_page_has_a_grave_finding(axe: str, pages: list[str], page: Browser) -> None:
    found = []
    for url in pages:
        page.prefer("light")
        page.emulate(1440)
        page.go(url)
        for scheme, width in product(("light", "dark"), (1440, 768, 390)):
            page.prefer(scheme)
            page.emulate(width)
            page.wait("return innerWidth === arguments[0]", width)
            found += [f"{url}, {scheme}, {width}: {one}" for one in grave_findings(page, axe)]
    assert found == [], "\n".join(found)
