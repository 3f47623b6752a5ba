"""`caviar report`, as a person reads it: in the terminal, and as a page in a real browser with the network off."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from caviar.studies.cli import run
from caviar.studies.results.conclusion import conclude
from tests.helpers.browser import browser, needs_chromedriver
from tests.helpers.workers import register, worker

# What the page's figures hold: of each trace, how many points it has.
FOUND = """
  const points = trace => trace.dimensions ? trace.dimensions.map(d => d.values.length) : (trace.y || []).length;
  const of_figure = figure => (figure.data || []).filter(trace => !trace.fill).map(points);
  return Object.fromEntries([...document.querySelectorAll(".figure")].map(figure => [figure.id, of_figure(figure)]));
"""
# How high each figure's element, and what is drawn in it, are.
HEIGHTS = """
  const of_figure = e => [e.offsetHeight, e.querySelector(".main-svg").getBoundingClientRect().height];
  return Object.fromEntries([...document.querySelectorAll(".figure")].map(e => [e.id, of_figure(e)]));
"""
COUNT = "return document.querySelectorAll(arguments[0]).length"


@pytest.fixture
def said(engine: Engine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    monkeypatch.setenv("CAVIAR_DATABASE_URL", engine.url.render_as_string(hide_password=False))
    record, study = register(engine, epochs=6, budget=20)
    worker(engine, record, study).run()
    conclude(engine, record, Path("nowhere"))

    def say(*arguments: str) -> str:
        assert run(list(arguments)) == 0
        return capsys.readouterr().out

    return say


def test_the_terminal_has_the_winner_and_every_answer(said: Callable[..., str]) -> None:
    told = said("report", "small")
    assert told.startswith("winner: trial ")
    for question in (
        "edge of its range?",
        "enough points",
        "diverged",
        "for long enough",
        "overfit",
        "runner-up",
        "mattered",
    ):
        assert question in told
    assert "next: caviar report small --open  (in pictures" in told


def test_a_study_that_nobody_worked_on_has_a_report(engine: Engine, said: Callable[..., str], tmp_path: Path) -> None:
    register(engine, name="empty")
    assert "next: caviar join empty" in said("report", "empty")
    said("report", "empty", "-o", str(tmp_path / "empty.html"))
    assert "No trial is complete yet" in (tmp_path / "empty.html").read_text()


def test_a_page_that_cannot_be_written_is_one_line(
    said: Callable[..., str], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    for file in (tmp_path / "missing" / "x.html", tmp_path, Path("/"), Path(".")):
        assert run(["report", "small", "-o", str(file)]) == 2
        assert f"{file} cannot be written: " in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
    assert not list(tmp_path.parent.glob(".*.tmp"))


def test_a_page_that_is_not_finished_leaves_what_was_there(
    said: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: Path, text: str, **_: object) -> None:
        self.write_bytes(b"half")
        raise KeyboardInterrupt

    file = tmp_path / "x.html"
    file.write_text("before")
    monkeypatch.setattr(Path, "write_text", fail)
    assert run(["report", "small", "-o", str(file)]) == 130
    assert [path.name for path in tmp_path.iterdir()] == ["x.html"]
    assert file.read_text() == "before"


def test_the_facts_are_one_json_document(said: Callable[..., str]) -> None:
    facts = json.loads(said("report", "small", "--json"))
    assert {"study", "winner", "cost", "trials", "importance", "events", "answers", "provenance"} <= set(facts)
    assert facts["cost"]["epochs"] == sum(t["epochs"] for t in facts["trials"])
    assert len(facts["trials"]) == 20
    assert facts["study"]["sizes"] == {"training": 1078, "validation": 359, "test": 360}
    assert [device["kind"] for device in facts["cost"]["devices"]] == ["cpu"]
    assert 0 < facts["cost"]["devices"][0]["seconds"] <= facts["cost"]["wall_seconds"]
    assert facts["cost"]["began"] <= facts["cost"]["ended"]
    assert facts["winner"]["gain"]["default"] == 0


def test_a_report_says_with_what_and_when_it_was_searched(said: Callable[..., str]) -> None:
    told = said("report", "small")
    assert "Examples of digits: 1,078 training, 359 validation, 360 test." in told
    assert "It began 20" in told
    assert "of CPU core time" in told
    assert "over the default" in told
    assert "(trial 0)" in told


@needs_chromedriver
def test_a_browser_shows_every_point_without_a_network(
    engine: Engine, said: Callable[..., str], tmp_path: Path
) -> None:
    file = tmp_path / "report.html"
    assert "report.html" in said("report", "small", "-o", str(file))
    assert file.stat().st_size < 10 * 2**20
    assert list(tmp_path.iterdir()) == [file]

    def count(query: str) -> int:
        with engine.connect() as connection:
            return int(connection.scalar(text(f"SELECT count(*) FROM {query}")) or 0)

    finished = count("public.trial_values")
    best = """(SELECT trial_id FROM public.trials JOIN public.trial_values USING (trial_id)
               WHERE state = 'COMPLETE' ORDER BY value DESC, number LIMIT 5)"""
    shown = count(f"caviar.epoch e JOIN caviar.slot s ON s.number = e.slot WHERE s.trial_id IN {best}")
    with browser(tmp_path) as page:
        page.resize(1200, 900)
        page.go(file.as_uri())
        found = page.wait(FOUND)
        assert {"curves", "train against validation", "hyperparameters", "best so far", "importance",
                "parallel coordinates", "timeline", "other metrics"} == set(found)  # fmt: skip
        assert page.ask("return document.getElementById('curves').data.flatMap(t => t.y).filter(y => y !== null).length"
                        ) == count("caviar.epoch")  # fmt: skip
        assert sum(found["train against validation"]) == 2 * shown > 0
        panels = (
            "return document.getElementById('hyperparameters').data.filter(t => t.customdata).flatMap(t => t.y).length"
        )
        assert page.ask(panels) == 6 * finished
        assert found["best so far"][0] == count("public.trials WHERE datetime_complete IS NOT NULL")
        points = "return document.getElementById('best so far').data.filter(t => t.customdata).flatMap(t => t.y).length"
        assert page.ask(points) == finished
        assert found["importance"] == [6]
        (lines,) = found["parallel coordinates"]
        assert len(lines) == 7
        assert len(set(lines)) == 1
        assert 10 <= lines[0] <= finished
        bars = "return document.getElementById('timeline').data.filter(t => t.base).flatMap(t => t.base).length"
        assert page.ask(bars) == count("public.trials") == 20
        assert page.ask(COUNT, "#timeline .bars .point") >= 20
        legend = page.ask("return document.querySelector('#hyperparameters .legend').textContent")
        assert all(entry in legend for entry in ("complete", "tier 3", "winner: trial", "expected"))
        assert page.ask(COUNT, "#trials tbody tr") == 20
        page.ask("document.querySelector('.copy button').click()")
        assert page.wait("return document.querySelector('.copy [role=status]').textContent") in ("copied", "selected")
        copied = json.loads(page.ask("return document.getElementById('configuration').textContent"))
        assert copied == json.loads(said("best", "small", "--json"))["hyperparameters"]
        assert page.ask(COUNT, ".space tbody tr") == 6
        assert page.printed().startswith(b"%PDF")
        assert page.errors() == []


@needs_chromedriver
def test_the_figures_keep_their_heights_when_the_window_changes_and_stand_below_one_another_on_a_phone(
    said: Callable[..., str], tmp_path: Path
) -> None:
    said("report", "small", "-o", str(tmp_path / "report.html"))
    beside = "return document.getElementById('hyperparameters').layout.xaxis2.domain[0] > 0.5"
    with browser(tmp_path) as page:
        page.resize(1200, 900)
        page.go((tmp_path / "report.html").as_uri())
        before = page.wait(HEIGHTS)
        assert page.ask(beside)
        for width, height in ((1000, 700), (900, 800), (400, 800), (420, 700), (1200, 900)):
            page.resize(width, height)
            page.wait("return document.querySelector('#curves .main-svg').getBoundingClientRect().width < innerWidth")
            page.ask("return new Promise(done => setTimeout(done, 500))")  # plotly follows a window after a moment
            now = page.ask(HEIGHTS)
            assert all(abs(element - drawn) <= 1 for element, drawn in now.values()), (width, now)
            assert page.ask(beside) is (width > 600)
            assert now == before or width < 600, width
            assert page.ask("return document.documentElement.scrollWidth <= innerWidth")
        assert page.errors() == []
