"""`caviar report`, as a person reads it: in the terminal, and as a page in a real browser with the network off."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from studies.cli import run
from studies.conclusion import conclude
from tests.browser import CHROMIUM, needs_chromium, options
from tests.postgres.fleet_for_tests import register, worker

# Writes what the page's figures hold into its title, which the browser then prints with the document.
LOOK = """<script>
window.addEventListener("load", () => setTimeout(() => {
  const found = {}, boxes = document.getElementById("hyperparameters").data.filter(trace => trace.fill);
  for (const figure of document.querySelectorAll(".figure")) {
    const points = (figure.data || []).filter(trace => !trace.fill);
    found[figure.id] = points.map(trace => (trace.y || []).filter(y => y !== null).length);
  }
  const rows = document.querySelectorAll("#trials tbody tr").length;
  const drawn = document.querySelectorAll("#hyperparameters .fills path").length;
  const legend = document.querySelector("#hyperparameters .legend").textContent;
  document.title = JSON.stringify({found, rows, boxes: boxes.length, drawn, legend, errors: window.wrong});
}, 500));
window.wrong = [];
window.addEventListener("error", event => window.wrong.push(event.message));
</script>"""


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
        "still improve",
        "overfit",
        "runner-up",
        "mattered",
    ):
        assert question in told
    assert told.rstrip().endswith("caviar report small -o small.html --open")


def test_a_study_that_nobody_worked_on_has_a_report(engine: Engine, said: Callable[..., str], tmp_path: Path) -> None:
    register(engine, name="empty")
    assert "with pictures" in said("report", "empty")
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


@needs_chromium
def test_a_browser_shows_every_point_without_a_network(
    engine: Engine, said: Callable[..., str], tmp_path: Path
) -> None:
    assert CHROMIUM is not None
    file = tmp_path / "report.html"
    assert "report.html" in said("report", "small", "-o", str(file))
    assert file.stat().st_size < 10 * 2**20
    assert list(tmp_path.iterdir()) == [file]
    file.write_text(file.read_text().replace("</head>", LOOK + "</head>"))
    command = [CHROMIUM, *options(tmp_path), "--virtual-time-budget=20000"]
    shown = subprocess.run(
        [*command, "--dump-dom", file.as_uri()], capture_output=True, text=True, timeout=120, check=True
    )
    title = re.search(r"<title>(\{.*?\})</title>", shown.stdout)
    assert title, shown.stdout[:2000]
    seen = json.loads(title[1].replace("&quot;", '"'))
    assert seen["errors"] == []
    assert seen["rows"] == 20
    with engine.connect() as connection:
        epochs = connection.scalar(text("SELECT count(*) FROM caviar.epoch"))
        finished = connection.scalar(text("SELECT count(*) FROM public.trial_values"))
    assert sum(seen["found"]["curves"]) == epochs
    assert len(seen["found"]["hyperparameters"]) == 6
    assert set(seen["found"]["hyperparameters"]) == {finished}
    assert seen["boxes"] == 1 + 4 + 6  # the coarse tier's only one, those of the first two tiers, and all
    assert seen["drawn"] == seen["boxes"]
    assert "tier 1 coarse: the whole range" in seen["legend"]
    assert "tier 3 all: the middle four fifths of what a model proposed" in seen["legend"]
    assert {"train against validation", "best so far", "timeline", "parallel coordinates"} <= set(seen["found"])
    printed = tmp_path / "report.pdf"
    subprocess.run([*command, f"--print-to-pdf={printed}", file.as_uri()], capture_output=True, timeout=120, check=True)
    assert printed.read_bytes().startswith(b"%PDF")
