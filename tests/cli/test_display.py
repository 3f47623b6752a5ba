"""The live display, as text of a given width, and its plain lines."""

from __future__ import annotations

from dataclasses import replace
from io import StringIO

import pytest
from rich.console import Console

from storage.records import PhaseCount, Progress, RunningTrial, SlotRecord, TrialRecord
from studies.cli import display
from tests.studies_for_tests import small_study

PARAMETERS = {"learning_rate": 0.03, "one_minus_momentum": 0.01, "hidden_units": 70, "log2_batch_size": 8, "layers": 3,
              "decay_or_floor": 1e-4}  # fmt: skip
BEST = TrialRecord(SlotRecord(4, 2, "coarse", ()), "complete", 0.9731, PARAMETERS, 2, 1, None, {}, 0.1, "host")
NOW = Progress(
    control="run", version=1, budget=8, open=1, leased=2, complete=4, pruned=1, failed=0, abandoned=0, diverged=0,
    epochs_trained=11, workers=2,
    phases=(PhaseCount(1, "default", 1, 1, 0.9), PhaseCount(2, "coarse", 7, 4, 0.97)),
    running=(RunningTrial(5, 2, "coarse", 1, 0.81, "host", 11), RunningTrial(6, 2, "coarse", 0, None, "host", 12)),
    best=BEST,
)  # fmt: skip


def shown(width: int, now: Progress = NOW, **options: object) -> str:
    console = Console(width=width, file=StringIO(), **options)  # type: ignore[arg-type]
    console.print(display.panel(small_study(), now, "12 trials/min, 40 s left"))
    return console.file.getvalue()  # type: ignore[attr-defined, no-any-return]


def test_the_panel_has_all_that_one_looks_for() -> None:
    text = shown(100)
    for part in ("5/8", "tier 2 coarse", "4 complete, 1 pruned, 0 failed", "best 0.9731 (trial 4)", "momentum 0.99",
                 "batch_size 256", "decay 0", "trial 5", "epoch 1/2", "0.81", "12 trials/min, 40 s left", "running",
                 "11 of 14 epochs trained"):  # fmt: skip
        assert part in text, part


@pytest.mark.parametrize("width", [40, 60, 80, 200])
def test_it_fits_its_terminal(width: int) -> None:
    assert max(map(len, shown(width).splitlines())) <= width


def test_without_colours_there_are_no_escapes() -> None:
    assert "\x1b" in shown(80, force_terminal=True, color_system="standard")
    assert "\x1b" not in shown(80)


def test_before_any_result_there_is_a_panel_too() -> None:
    nothing = replace(NOW, complete=0, pruned=0, open=8, leased=0, best=None, running=(), epochs_trained=0)
    assert "0/8" in shown(80, nothing)


def test_the_rate_is_that_of_this_run_not_of_the_whole_study(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([100.0, 130.0])
    monkeypatch.setattr(display.time, "monotonic", lambda: next(clock))
    rate = display.Rate()
    assert rate.told(NOW) == ""  # 5 were done before
    assert rate.told(replace(NOW, complete=6, leased=1)) == "4 trials/min, 15 s left"


def test_where_stdout_is_no_terminal_there_are_plain_lines(capsys: pytest.CaptureFixture[str]) -> None:
    with display.Display(small_study()) as lines:
        lines.show(NOW)
        lines.show(NOW)  # nothing new: no line
        lines.show(replace(NOW, best=replace(BEST, value=0.98, slot=SlotRecord(6, 2, "coarse", ()))))
    said = capsys.readouterr().out.splitlines()
    assert said == [
        "5/8 trials  tier 2 coarse  best 0.9731 (trial 4)",
        "5/8 trials  tier 2 coarse  best 0.98 (trial 6)",
    ]
