"""The time of a command: no trial begins that would not end in it, and one that has not ended is given back."""

from __future__ import annotations

import math
from pathlib import Path
from time import monotonic
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import Engine, text

import caviar
from caviar.storage.curves import RecentSeconds
from caviar.storage.states import TrialState
from caviar.storage.status import read_trials
from caviar.studies.cli import run as run_command
from caviar.studies.cli.commands.run import _print_stop
from caviar.studies.workers.local.events import NoTimeLeft
from caviar.studies.workers.time_left import TimeLeft
from tests.helpers.faulty_net import StopAfter
from tests.helpers.studies import small_study, write_study
from tests.helpers.trainings import register_training
from tests.helpers.workers import register, worker

HOUR = 3600.0


def time_left(until: float | None, epoch: float = 0.0, epochs: int | None = 10) -> TimeLeft:
    return TimeLeft(until, epochs, lambda: RecentSeconds(epoch, 50.0), clock=lambda: 100.0)


def test_a_trial_begins_where_it_is_expected_to_end_in_time() -> None:
    assert time_left(200.0, 10.0).room() == (100.0, True, True)
    assert time_left(199.0, 10.0).room() == (100.0, True, False)
    assert time_left(109.0, 10.0).room() == (100.0, False, False)
    assert time_left(200.0, 10.0).room(together=2) == (200.0, True, False)
    assert time_left(101.0).room() == (0.0, True, True)  # nothing is known yet
    assert time_left(149.0, 10.0, epochs=None).room() == (50.0, True, False)
    assert time_left(None, 1e9).room() == (0.0, True, True)


def test_what_is_left() -> None:
    some, none, ever = time_left(130.0), time_left(90.0), time_left(None)
    assert [time.seconds for time in (some, none, ever)] == [30.0, 0.0, math.inf]
    assert [time.is_over for time in (some, none, ever)] == [False, True, False]
    assert [time.has_epoch(30.0) for time in (some, none, ever)] == [True, False, True]
    assert [time.ran_short for time in (some, none, ever)] == [False, True, False]


def make_epochs_long(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(text("UPDATE caviar.epoch SET seconds = :hour"), {"hour": HOUR})


def test_a_trial_that_has_begun_goes_on_and_no_other_begins(engine: Engine) -> None:
    record, study = register(engine, epochs=5, budget=4, pruner="none", strategy="random")
    worker(engine, record, study, stop=StopAfter(9)).run()
    begun = [t.slot.number for t in read_trials(engine, record.study_id) if t.state != TrialState.OPEN]
    assert 0 < len(begun) < 4
    assert TrialState.INTERRUPTED in {t.state for t in read_trials(engine, record.study_id)}
    make_epochs_long(engine)
    limited = worker(engine, record, study, until=monotonic() + 2 * HOUR)
    limited.run()
    states = [t.state for t in read_trials(engine, record.study_id)]
    assert states == [TrialState.COMPLETE] * len(begun) + [TrialState.OPEN] * (4 - len(begun))
    assert limited.context.pulse.too_long is not None
    assert limited.context.pulse.too_long > 2 * HOUR


def test_no_other_trial_joins_a_cohort(engine: Engine) -> None:
    record, study = register(engine, epochs=5, budget=12, pruner="none", strategy="random")
    worker(engine, record, study, cohort=2, stop=StopAfter(9)).run()
    begun = [t.slot.number for t in read_trials(engine, record.study_id) if t.state != TrialState.OPEN]
    make_epochs_long(engine)
    worker(engine, record, study, cohort=8, until=monotonic() + 9 * HOUR).run()
    assert [t.slot.number for t in read_trials(engine, record.study_id) if t.state != TrialState.OPEN] == begun


@pytest.mark.parametrize("where", ["between epochs", "in an epoch"])
def test_what_has_not_ended_in_time_is_given_back(engine: Engine, where: str) -> None:
    endless = 100 if where == "between epochs" else 2
    record, study = register_training(
        engine, "endless_from", fixed={"endless": endless}, epochs=10**6, budget=2, pruner="none"
    )
    limited = worker(engine, record, study, until=monotonic() + 1)
    limited.run()
    first, second = read_trials(engine, record.study_id)
    assert (first.state, second.state) == (TrialState.INTERRUPTED, TrialState.OPEN)
    with engine.connect() as connection:
        assert connection.scalars(text("SELECT DISTINCT state FROM caviar.slot")).all() == ["open"]
    assert limited.context.time.seconds <= 1


@pytest.mark.slow
def test_a_run_says_why_it_ends_and_succeeds(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    study = small_study(epochs=3, budget=4, strategy="random", pruner="none")
    record, _ = register(engine, epochs=3, budget=4, strategy="random", pruner="none")
    worker(engine, record, study, stop=StopAfter(4)).run()
    done = sum(t.state == TrialState.COMPLETE for t in read_trials(engine, record.study_id))
    make_epochs_long(engine)
    heard = list[object]()
    result = caviar.run(study, time="1h", on_event=heard.append, database=engine)
    assert (result.time_is_over, result.was_asked_to_stop, result.is_done) == (True, False, False)
    (short,) = [event for event in heard if isinstance(event, NoTimeLeft)]
    assert short.expected > HOUR > short.left > 0
    make_epochs_long(engine)
    monkeypatch.setenv("CAVIAR_DATABASE_URL", engine.url.render_as_string(hide_password=False))
    assert run_command(["run", write_study(tmp_path / "small.py", study), "--time", "1h"]) == 0
    said = capsys.readouterr()
    assert "no further trial begins: one takes about 3 h, and 60 min are left" in said.err
    assert "since its time is over or too short for another; nothing is lost; go on with: caviar run" in said.out
    assert said.out.rstrip().endswith("--time 1h")
    assert result.status.done in (done, done + 1)


@pytest.mark.parametrize(("done", "hint"), [(0, "  (with a longer --time: no trial has ended yet)"), (1, "")])
def test_a_time_in_which_no_trial_ends_is_not_advised_again(
    capsys: pytest.CaptureFixture[str], done: int, hint: str
) -> None:
    result: Any = SimpleNamespace(status=SimpleNamespace(done=done, budget=6), freed=None, time_is_over=True)
    assert _print_stop(result, "caviar run x --time 1s") == 0
    assert " ".join(capsys.readouterr().out.split()).endswith(f"go on with: caviar run x --time 1s{hint[1:]}")
