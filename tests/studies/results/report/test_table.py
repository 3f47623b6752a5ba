"""The table of every trial: its order, and in a real browser, sorting, searching and reaching all of it."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

from caviar.studies.results.report.document import document
from caviar.studies.results.report.figures import figures
from caviar.studies.results.report.page import page
from caviar.studies.results.report.records import Report
from caviar.studies.results.summaries import StudyState
from tests.helpers.browser import browser, needs_chromedriver
from tests.helpers.reports import report, trial

FIRST = "return [...document.querySelectorAll('#trials tbody tr')].slice(0, 3).map(row => row.cells[0].textContent)"
ROWS = "return document.querySelectorAll('#trials tbody tr').length"


def rows(of: Report) -> list[list[str]]:
    found = re.search(r'<script type="application/json" id="rows">(.*?)</script>', page(of), re.DOTALL)
    assert found is not None
    return list(json.loads(found[1]))


def test_the_winner_comes_first_then_the_complete_ones_by_value_then_the_others() -> None:
    trials = [
        trial(0, 0.7), trial(1, 0.9), trial(2, 0.95), trial(3, 0.94, state="pruned"),
        replace(trial(4, 0.1, state="failed"), value=None),
    ]  # fmt: skip
    of = report(trials, winner=1)
    assert [row[0] for row in rows(of)] == ["1 winner", "2", "0", "3", "4"]
    assert 'data-marked="1 winner"' in page(of)
    lower = replace(of, study=replace(of.study, direction="minimize", state=StudyState.RUNNING))
    assert [row[0] for row in rows(lower)] == ["1 best so far", "0", "2", "3", "4"]
    for name in ("curves", "hyperparameters", "best so far"):
        assert "best so far: trial 1" in [trace.get("name") for trace in figures(lower)[name]["data"]]
    assert [row[0] for row in rows(replace(of, winner=None))] == ["2", "1", "0", "3", "4"]


@needs_chromedriver
def test_whoever_prints_or_searches_with_the_browser_has_all_rows(tmp_path: Path) -> None:
    (tmp_path / "report.html").write_text(page(report([trial(i, 0.9 - i / 1e4) for i in range(700)])))
    with browser(tmp_path) as shown:
        for way in (
            "document.getElementById('all').click()", "dispatchEvent(new Event('beforeprint'))",
            "dispatchEvent(new KeyboardEvent('keydown', {key: 'f', ctrlKey: true}))",
        ):  # fmt: skip
            shown.go((tmp_path / "report.html").as_uri())
            assert shown.wait(ROWS) == 200
            assert shown.ask("return document.getElementById('all').hidden") is False
            shown.ask(way)
            assert shown.ask(ROWS) == 700
            assert shown.ask("return document.getElementById('all').hidden") is True


def test_a_long_page_has_a_list_of_its_headings() -> None:
    made = page(report([trial(i, 0.9 - i / 100) for i in range(12)]))
    listed = dict(re.findall(r'<li><a href="#(part\d+)">(.*?)</a></li>', made))
    assert len(listed) > 6
    assert listed == dict(re.findall(r'<h2 id="(part\d+)">(.*?)</h2>', made))
    assert "Every trial" in listed.values()
    assert 'aria-label="Contents"' not in document("few", "<h1>few</h1><p>x</p><h2>one</h2>", {}, ["a"], [])


@needs_chromedriver
def test_a_reader_sorts_and_searches_thousands_of_trials_and_reaches_every_column(tmp_path: Path) -> None:
    trials = [trial(i, 0.9 - (i * 7919 % 2000) / 1e4, 0.001 + (i * 31 % 997) / 1000) for i in range(2000)]
    trials[17] = replace(trials[17], value=None, why_it_stopped="out of memory " * 8)
    (tmp_path / "report.html").write_text(page(report(trials)))

    def head(of: Any, name: str) -> None:
        of.ask(
            """const heads = [...document.querySelectorAll("#trials th button")];
            heads.find(head => head.textContent === arguments[0]).focus();""", name
        )  # fmt: skip

    with browser(tmp_path) as shown:
        shown.emulate(390)
        shown.go((tmp_path / "report.html").as_uri())
        shown.wait(ROWS)
        assert shown.ask(FIRST)[0] == "0 winner"
        assert shown.ask("return document.querySelector('#trials tr.marked').cells[0].textContent") == "0 winner"
        assert shown.ask(ROWS) == 200
        for count in (400, 600):  # scrolling brings more
            shown.ask("const box = document.querySelector('.table'); box.scrollTop = box.scrollHeight")
            shown.wait(f"return document.querySelectorAll('#trials tbody tr').length === {count}")

        head(shown, "value")
        shown.press("\ue007")  # Enter: the worst one first
        assert shown.ask("return document.querySelector('#trials th:nth-child(2)').ariaSort") == "ascending"
        assert shown.ask(FIRST)[0] == str(max(trials, key=lambda t: -(t.value or 1.0)).trial)
        shown.press("\ue007")
        assert shown.ask("return document.querySelector('#trials th:nth-child(2)').ariaSort") == "descending"
        assert shown.ask(FIRST)[0] == "0 winner"
        shown.press("\ue007")
        assert shown.ask("return document.querySelector('#trials th:nth-child(2)').ariaSort") == "none"
        head(shown, "trial")
        shown.press("\ue007")
        assert shown.ask(FIRST) == ["0 winner", "1", "2"]  # as numbers

        shown.ask("document.getElementById('search').focus()")
        shown.press("memory OUT")
        assert shown.ask(FIRST) == ["17"]
        assert shown.ask("return document.getElementById('count').textContent") == "1 of 2000"

        assert shown.ask("return document.documentElement.scrollWidth <= innerWidth")
        # The search space has no column that is cut off.
        assert shown.ask(
            "const box = document.querySelector('.space').parentElement; return box.scrollWidth <= box.clientWidth"
        )
        last = """const box = document.querySelector(".table");
            const cell = document.querySelector("#trials tbody td:last-child");
            box.scrollLeft = box.scrollWidth;
            const [outer, inner] = [box, cell].map(element => element.getBoundingClientRect());
            const first = document.querySelector("#trials tbody th").getBoundingClientRect();
            return [inner.right <= outer.right + 1, Math.abs(first.left - outer.left) <= 2]"""
        assert shown.ask(last) == [True, True]  # the last column is in sight, and so is the first
        assert shown.errors() == []
