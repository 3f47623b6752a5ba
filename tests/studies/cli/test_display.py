"""The live display, as text of a given width, and its plain lines."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from io import BytesIO, StringIO, TextIOWrapper
from typing import Any

import pytest
from rich.console import Console

from caviar.storage.records import EventRecord, OtherTrials, PhaseCount, RunningTrial, Slot, TrialRecord
from caviar.storage.snapshot import Snapshot
from caviar.storage.status import Progress
from caviar.studies.cli import display, output, progress
from caviar.studies.cli.consoles import CleanConsole, PlainConsole
from caviar.studies.cli.display import Display
from caviar.studies.cli.lines import Pieces, hanging, settings
from caviar.studies.cli.output import fail, print_remark
from caviar.studies.cli.tables import table
from caviar.studies.cli.view import Screen, view
from caviar.studies.definition import Study
from caviar.studies.errors import OptionError
from caviar.studies.workers.local import events
from tests.helpers.objectives import objective_study
from tests.helpers.studies import small_study

PARAMETERS = {"learning_rate": 0.03, "one_minus_momentum": 0.01, "hidden_units": 70, "log2_batch_size": 8, "layers": 3,
              "decay_or_floor": 1e-4}  # fmt: skip
AT = datetime(2026, 1, 1, tzinfo=UTC)
BEST = TrialRecord(Slot(4, 2, "coarse", ()), "complete", 0.9731, PARAMETERS, 2, 1, None, {}, 0.1, "host")
NOW = Progress(
    control="run", version=1, budget=8, open=1, leased=2, complete=4, pruned=1, failed=0, abandoned=0,
    ended_elsewhere=0, diverged=0, others=OtherTrials(), epochs_trained=11, workers=2,
    phases=(PhaseCount(1, "default", 1, 1, 0.9), PhaseCount(2, "coarse", 7, 4, 0.97)),
    running=(RunningTrial(5, 2, "coarse", 1, 0.81, "host:11"), RunningTrial(6, 2, "coarse", 0, None, "host:12")),
    best=BEST,
)  # fmt: skip


SNAPSHOT = Snapshot(
    NOW, trail=(0.71, 0.9, 0.9731), curves={5: (0.4, 0.81)}, hosts={"host": 2, "other": 1}, lost=2, taken_over=1,
    messages=(
        EventRecord(AT, "worker died", 5, {"epoch": 1}),
        EventRecord(AT, "cohort size", None, {"size": 4, "times_as_fast": 3.5}),
        EventRecord(AT, "cohort size", None, {"size": 4, "times_as_fast": 3.6}),
    ),
)  # fmt: skip


def shown(
    width: int, look: Snapshot = SNAPSHOT, *, unicode: bool = True, study: Study | None = None, **options: Any
) -> str:
    console = Console(width=width, file=StringIO(), **options)
    screen = Screen(width, 40, unicode)
    console.print(view(study or small_study(), look, "12 trials/min, 40 s left", screen))
    return console.file.getvalue()  # type: ignore[attr-defined, no-any-return]


def test_the_view_has_all_that_one_looks_for() -> None:
    text = shown(100)
    for part in ("5/8 trials", "tier 2", "4 complete, 1 pruned, 0 failed", "best accuracy 0.9731 (trial 4)",
                 "momentum 0.99", "batch_size 256", "decay 0",
                 "trial 5", "epoch 1/2", "0.81", "12 trials/min, 40 s left", "running",
                 "11 of 16 epochs trained", "workers: host 2, other 1", "leases lost: 2, taken over: 1",
                 "trial 5 was lost after epoch 1: its worker died", "up from 0.71  ▁▆█", "▁▁"):  # fmt: skip
        assert part in text, part


def test_what_other_programs_made_and_ended_is_counted_where_there_is_any() -> None:
    assert "other Optuna programs" not in shown(100)
    assert "ended by" not in shown(100)
    text = shown(100, replace(SNAPSHOT, progress=replace(NOW, others=OtherTrials(3, 1), ended_elsewhere=2)))
    assert "and 2 trials of other Optuna programs; 1 enqueued trial, which the next slots take" in text
    assert "0 diverged, 2 ended by other programs;" in text


def test_each_tier_has_a_bar_with_its_best_value() -> None:
    first, second = (line for line in shown(80).splitlines() if line.startswith("tier "))
    assert ("━" * 20 in first, "1/1" in first, "best 0.9" in first) == (True, True, True)
    assert ("━" * 11 + "─" * 9 in second, "4/7" in second, "best 0.97" in second) == (True, True, True)
    losses = replace(NOW, phases=(PhaseCount(1, "coarse", 4, 4, 0.3), PhaseCount(1, "fine", 4, 1, 0.2)))
    text = shown(80, replace(SNAPSHOT, progress=losses), study=small_study(metric="loss", direction="minimize"))
    assert "best 0.2" in next(line for line in text.splitlines() if line.startswith("tier 1"))


def test_of_what_several_workers_measured_the_last_is_told() -> None:
    text = shown(120)
    assert "3.6 times as fast" in text
    assert "3.5 times as fast" not in text


@pytest.mark.parametrize("unicode", [True, False])
@pytest.mark.parametrize("width", [40, 60, 80, 120, 200])
def test_it_fits_its_terminal(width: int, unicode: bool) -> None:
    text = shown(width, unicode=unicode)
    assert max(map(len, text.splitlines())) <= width
    for part in ("5/8 trials", "tier 2", "0.9731", "trial 5", "its worker died"):
        assert part in " ".join(text.split()), part


@pytest.mark.parametrize("width", [40, 80, 120])
def test_without_unicode_there_is_nothing_but_ascii(width: int) -> None:
    odd = replace(NOW, running=(replace(NOW.running[0], worker="höst:11"),))
    message = EventRecord(AT, "trial failed", 5, {"error": "naïve"})
    look = replace(SNAPSHOT, progress=odd, hosts={"höst": 1}, messages=(message,))
    assert shown(width, look, unicode=False).isascii()
    assert not shown(width, look).isascii()


def test_many_running_trials_leave_room_for_the_rest() -> None:
    many = tuple(replace(NOW.running[0], trial=5 + i) for i in range(30))
    console = Console(width=80, file=StringIO())
    console.print(view(small_study(), replace(SNAPSHOT, progress=replace(NOW, running=many)), "", Screen(80, 24)))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert len(text.splitlines()) <= 24
    assert "more trials" in text


def test_without_colours_there_are_no_escapes() -> None:
    assert "\x1b" in shown(80, force_terminal=True, color_system="standard")
    assert "\x1b" not in shown(80)
    codes = re.findall(r"\x1b\[([0-9;]*)m", shown(80, force_terminal=True, no_color=True))
    assert {code for of in codes for code in of.split(";")} <= {"", "0", "1", "2"}  # bold and dim are no colours


def test_before_any_result_there_is_a_view_too() -> None:
    nothing = replace(NOW, complete=0, pruned=0, open=8, leased=0, best=None, running=(), epochs_trained=0,
                      phases=(PhaseCount(1, "default", 1, 0, None),))  # fmt: skip
    assert "0/8" in shown(80, Snapshot(nothing))


def test_a_locale_named_c_has_only_ascii(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output, "out", lambda: Console(file=TextIOWrapper(BytesIO(), encoding="utf-8")))
    for named, shows in (({}, True), ({"LANG": "C"}, False), ({"LC_ALL": "POSIX", "LANG": "en_US.UTF-8"}, False),
                         ({"LANG": "C", "LC_CTYPE": "C.UTF-8"}, False),  # Python sets that one itself
                         ({"LANG": "C", "LC_CTYPE": "de_DE.UTF-8"}, True), ({"LANG": "C.UTF-8"}, True)):  # fmt: skip
        for name in ("LC_ALL", "LC_CTYPE", "LANG"):
            monkeypatch.delenv(name, raising=False)
        for name, value in named.items():
            monkeypatch.setenv(name, value)
        assert output.unicode() is shows, named


def test_the_rate_is_that_of_this_run_not_of_the_whole_study(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([100.0, 130.0])
    monkeypatch.setattr(display.time, "monotonic", lambda: next(clock))
    rate = display.Rate()
    assert rate.in_words(small_study(), NOW) == ""  # 5 were done before
    assert rate.in_words(small_study(), replace(NOW, complete=6, leased=1)) == "4 trials/min, 15 s left"


def test_a_rate_below_one_a_minute_is_told_by_the_hour(monkeypatch: pytest.MonkeyPatch) -> None:
    for seconds, done, told in ((1800.0, 3, "6 trials/h"), (7200.0, 1, "0.5 trials/h"), (60.0, 1, "1 trials/min"),
                                (61.0, 1, "59 trials/h"), (3590.0, 59, "59 trials/h")):  # fmt: skip
        clock = iter([0.0, seconds])
        monkeypatch.setattr(display.time, "monotonic", lambda clock=clock: next(clock))
        rate, slow = display.Rate(), replace(NOW, budget=100)
        rate.in_words(small_study(), slow)
        assert rate.in_words(small_study(), replace(slow, complete=4 + done)).partition(",")[0] == told


def test_where_stdout_is_no_terminal_there_are_plain_lines(capsys: pytest.CaptureFixture[str]) -> None:
    with display.Display() as lines:
        lines.show(small_study(), SNAPSHOT)
        lines.show(small_study(), SNAPSHOT)  # nothing new: no line
        better = replace(NOW, best=replace(BEST, value=0.98, slot=Slot(6, 2, "coarse", ())))
        lines.show(small_study(), Snapshot(better))
    said = capsys.readouterr().out.splitlines()
    assert said == [
        "5/8 trials  tier 2 coarse  best 0.9731 (trial 4)",
        "5/8 trials  tier 2 coarse  best 0.98 (trial 6)",
    ]


def test_a_remark_stands_above_the_view_that_is_drawn_on_its_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Written by another console, it would stand behind the view's last line, and that would be drawn once more."""
    terminal, other = StringIO(), StringIO()
    draws = CleanConsole(file=terminal, force_terminal=True, width=80)
    remarks = CleanConsole(file=other, force_terminal=True, width=80)
    for module in (display, output):
        monkeypatch.setattr(module, "out", lambda: draws)
    monkeypatch.setattr(output, "err", lambda: remarks)
    with Display() as view_:
        view_.show(small_study(), SNAPSHOT)
        print_remark("stopping: each worker finishes its epoch")
    print_remark("behind it")
    drawn = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", terminal.getvalue())
    assert drawn.index("stopping") < drawn.rindex("5/8 trials")
    assert "stopping" not in other.getvalue()
    assert "behind it" in other.getvalue()


def test_an_error_breaks_between_words_on_a_terminal_and_is_one_line_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    said = "no study 'digits-wider': " + "give a name of the catalog, or a path to a file with a STUDY; " * 3
    for is_terminal in (True, False):
        file = StringIO()
        console = CleanConsole(file=file, force_terminal=is_terminal, width=60, no_color=True)
        monkeypatch.setattr(output, "err", lambda console=console: console)
        assert fail(OptionError(said)) == 2
        lines = re.sub(r"\x1b\[[0-9;]*m", "", file.getvalue()).splitlines()
        assert (len(lines) > 1) is is_terminal
        assert " ".join(line.strip() for line in lines) == f"caviar: {said.strip()}"


def test_the_time_left_is_that_of_the_epochs_that_are_left(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = 0.0
    monkeypatch.setattr(display.time, "monotonic", lambda: clock)
    rate, study = display.Rate(), small_study(epochs=30, budget=40)

    def said(at: float, **changes: Any) -> str:
        nonlocal clock
        clock = at
        return rate.in_words(study, replace(NOW, budget=40, phases=(), **changes))

    waiting: dict[str, Any] = {"leased": 0, "running": ()}
    assert said(0, complete=0, pruned=0, epochs_trained=0, open=40, **waiting) == ""
    # 36 of 38 trials were pruned after 4 epochs; the last two run, and have 20 and 30 epochs left, at 10 in a second
    for second in range(1, 20):
        said(second, complete=2, pruned=second, epochs_trained=10 * second, open=38 - second, **waiting)
    running = (replace(NOW.running[0], epoch=10), replace(NOW.running[1], epoch=0))
    text = said(20, complete=2, pruned=36, epochs_trained=200, open=0, leased=2, running=running)
    assert text == "114 trials/min, 5 s left"  # by trials it was 1.1 s
    # one trial more is to come, which gets as many epochs as the others had: 190 of 38
    text = said(20, complete=2, pruned=36, epochs_trained=200, open=1, leased=2, running=running)
    assert text.endswith("5.5 s left")
    assert said(20, complete=4, pruned=36, epochs_trained=250, open=0, **waiting) == "120 trials/min"


def test_the_time_left_goes_by_trials_where_nobody_knows_their_epochs(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = 0.0
    monkeypatch.setattr(display.time, "monotonic", lambda: clock)
    rate, study = display.Rate(), objective_study("silent")
    rate.in_words(study, replace(NOW, complete=0, pruned=0, open=6))
    clock = 60.0
    assert rate.in_words(study, NOW) == "5 trials/min, 36 s left"


@pytest.mark.parametrize("width", [24, 40, 60, 80, 100])
def test_no_line_is_broken_between_a_name_and_its_value(width: int) -> None:
    values = {"learning_rate": 0.03, "momentum": 0.99, "hidden_units": 70, "layers": 3, "decay": 0.0, "a" * 40: 1}
    text = printed(width, Pieces(settings(values)))
    assert [" ".join(line.split()) for line in re.split(r"  |\n", text) if line.strip()][:4] == settings(values)[:4]
    assert all(len(line) <= width for line in text.splitlines())


def test_a_long_line_goes_on_below_its_first_word() -> None:
    lines = printed(30, hanging("      after epoch 3: " + "word " * 12)).splitlines()
    assert len(lines) > 2
    assert all(re.match(r" {6}\S", line) for line in lines)


def test_characters_that_a_terminal_lacks_are_spelt_out_in_a_long_line_too(monkeypatch: pytest.MonkeyPatch) -> None:
    file = StringIO()
    monkeypatch.setattr(
        output, "out", lambda: PlainConsole(file=file, width=30, force_terminal=True, color_system=None)
    )
    output.print_line("  within the noise (± 0.01) of the best value …")
    lines = [line.rstrip() for line in file.getvalue().splitlines()]
    assert lines == ["  within the noise (+- 0.01)", "  of the best value ..."]


def test_a_file_gets_no_blanks_at_the_ends_of_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = table("name", "value")
    rows.add_row("a", "longer than its head")
    rows.add_row("b", "")
    file = StringIO()
    CleanConsole(file=file, width=60).print(rows)
    assert file.getvalue() == "name  value\na     longer than its head\nb\n"


def printed(width: int, what: Any) -> str:
    file = StringIO()
    CleanConsole(file=file, width=width).print(what)
    return file.getvalue()


def test_what_is_being_done_is_shown_until_the_display_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first start of a server and of PyTorch take seconds."""
    begun, ended = list[str](), list[str]()

    @contextmanager
    def spinner(activity: str) -> Iterator[None]:
        begun.append(activity)
        yield
        ended.append(activity)

    monkeypatch.setattr(progress, "spinner", spinner)
    with progress.EventPrinter("checking the study") as printer:
        printer(events.CheckBegan(small_study()))
        printer(events.CheckEnded())
        assert begun == ["opening the database", "loading PyTorch, and checking the study", "starting the workers"]
        assert ended == begun[:2]
        printer(events.WorkersStarted(small_study(), ("cpu",)))
        assert ended == begun
