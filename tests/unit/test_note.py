"""What the note on a study says, and that nobody's text in it is lost."""

from __future__ import annotations

import re
import shlex
from datetime import UTC, datetime
from typing import Any

import pytest
import typer.main
from hypothesis import given
from hypothesis import strategies as st
from optuna_dashboard._note import concat_body, split_body

from caviar.storage.notes import BEGIN, END, _pieces, with_part
from caviar.storage.records import PhaseCount, Progress, RunningTrial, Slot, TrialRecord
from caviar.studies.cli import app
from caviar.studies.dashboard.note import note_text
from caviar.studies.search.plan import plan
from caviar.studies.space.scales import Choice
from tests.studies_for_tests import small_study

AT = datetime(2025, 3, 1, 12, 30, 5, tzinfo=UTC)
STUDY = small_study(fixed={"dropout": 0.25})
# As Optuna keeps them.
PARAMETERS = {"learning_rate": 0.0123, "one_minus_momentum": 0.05, "hidden_units": 77, "log2_batch_size": 7,
              "layers": 3, "decay_or_floor": 1e-4}  # fmt: skip
BEST = TrialRecord(Slot(5, 2, "fine", ()), "complete", 0.91234, PARAMETERS, 2, 1, None, {}, 1.0, "host")
WINNER: dict[str, Any] = {
    "trial": 5, "value": 0.91234, "expected": {"value": 0.9, "low": 0.88, "high": 0.92},
    "test": {"accuracy": 0.89, "loss": 0.3}, "hyperparameters": STUDY.values(PARAMETERS),
}  # fmt: skip
TEXT = st.text(st.characters(exclude_categories=["Cs"])).filter(lambda s: BEGIN not in s and END not in s)


def progress(**fields: Any) -> Progress:
    values: dict[str, Any] = {
        "control": "run", "version": 1, "budget": 8, "open": 2, "leased": 2, "complete": 3, "pruned": 1, "failed": 0,
        "abandoned": 0, "diverged": 1, "epochs_trained": 7, "workers": 1, "best": BEST,
        "phases": (PhaseCount(1, "default", 1, 1, 0.5), PhaseCount(1, "coarse", 1, 1, 0.6),
                   PhaseCount(2, "fine", 6, 2, 0.91234)),
        "running": tuple(RunningTrial(n, 2, "fine", 1, 0.7, "host_a", 12) for n in (6, 7)),
    }  # fmt: skip
    return Progress(**{**values, **fields})


def test_it_has_every_hyperparameter_with_scale_range_default_and_what_the_best_has() -> None:
    told = note_text(STUDY, progress(), AT)
    values = STUDY.values(PARAMETERS)
    for name, tier, scale in STUDY.hyperparameters():
        value = values[name]
        shown = f"{value:.4g}" if isinstance(value, float) else value
        assert f"| {tier} | `{name}` | {scale} | {scale.default:g} | {shown} |" in told
    assert "| 2 | `momentum` | 0.9 … 0.999, log of 1-β | 0.9 | 0.95 |" in told
    assert "fixed: `dropout` 0.25" in told


def test_it_says_how_far_the_study_is_and_when_that_was() -> None:
    told = note_text(STUDY, progress(), AT)
    assert told.startswith("## `small`: running, 4 of 8 trials, 2 trials at 1 worker\n")
    assert "**Best so far: trial 5**, accuracy 0.9123 (tier 2 fine)." in told
    assert "3 complete, 1 pruned, 1 diverged; 7 of 16 epochs trained." in told
    free = ", ".join(f"`{name}`" for name in next(s.free for s in plan(STUDY) if (s.tier, s.phase) == (2, "fine")))
    assert f"| 2 | fine | {free} | 2 of 6 | 0.9123 |" in told
    assert "| 1 | default | none: every default | 1 of 1 | 0.5 |" in told
    assert "| 7 | 2 fine | 1 of 2 | 0.7 | `host_a:12` |" in told
    assert "2025-03-01 12:30:05 UTC" in told


def test_of_many_running_trials_it_lists_a_few() -> None:
    running = tuple(RunningTrial(n, 1, "fine", 1, None, "h", n) for n in range(100, 400))
    told = note_text(STUDY, progress(running=running, leased=300, workers=300), AT)
    assert "and 292 more" in told
    assert len(told) < 4000


def test_a_study_that_is_done_has_its_winner_as_expected_and_tested() -> None:
    told = note_text(STUDY, progress(open=0, leased=0, running=(), workers=0), AT, WINNER)
    assert told.startswith("## `small`: done, ")
    assert "trial 5**, accuracy 0.9123; trained again, 0.9 is expected, on average 0.88 to 0.92 (90 %)" in told
    assert "test accuracy 0.8900, measured once" in told
    few = {**WINNER, "expected": None, "test": None}
    assert "expected" not in note_text(STUDY, progress(open=0, leased=0), AT, few)


def test_where_nothing_is_complete_it_says_so() -> None:
    assert "No trial is complete yet." in note_text(STUDY, progress(best=None), AT)
    assert "No trial came to a result." in note_text(STUDY, progress(best=None, open=0, leased=0), AT)


@pytest.mark.parametrize(
    ("control", "state", "command"),
    [("pause", "paused", "caviar resume small"), ("stop", "stopped", "caviar resume small"),
     ("run", "waiting for a worker", "caviar join small")],
)  # fmt: skip
def test_the_commands_are_those_of_the_state_and_exist(control: str, state: str, command: str) -> None:
    told = note_text(STUDY, progress(control=control, leased=0, open=4, running=(), workers=0), AT)
    assert state in told.splitlines()[0]
    lines = [line.partition("#")[0] for line in re.findall(r"^\$ (.*)$", told, re.MULTILINE)]
    assert command in [line.strip() for line in lines]
    known = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    for line in lines:
        caviar, name, *words = shlex.split(line)
        assert caviar == "caviar"
        assert {w for w in words if w.startswith("-")} <= {o for p in known[name].params for o in p.opts}


def test_a_value_cannot_break_a_table() -> None:
    study = small_study(tiers=({"activation": Choice("a|b", "c", default="a|b")},), budget=2)
    assert "| one of a\\|b, c | a\\|b | - |" in note_text(study, progress(best=None), AT)


@given(before=TEXT, after=TEXT, parts=st.lists(TEXT, min_size=2, max_size=2))
def test_what_a_person_writes_around_the_part_stays(before: str, after: str, parts: list[str]) -> None:
    first, second = parts
    written = before + with_part("", first) + after
    again = with_part(written, second)
    assert again == before + with_part("", second) + after
    assert with_part(again, first) == written


@pytest.mark.parametrize(
    "note",
    ["mine", f"{BEGIN}\n\nmine", f"mine {END}", f"{END} mine {BEGIN}", f"{BEGIN} {END} mine {BEGIN} {END}"],
)
def test_a_note_without_both_marks_once_is_left_alone(note: str) -> None:
    assert with_part(note, "part") == note


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=20), st.integers(0, 400), st.integers(0, 6))
def test_the_dashboard_puts_the_pieces_together_again(word: str, times: int, before: int) -> None:
    note = word * times
    pieces = _pieces(note, before)
    assert concat_body(pieces, None) == note
    assert len(pieces) >= before
    assert {key: piece for key, piece in pieces.items() if piece} == split_body(note, None)
