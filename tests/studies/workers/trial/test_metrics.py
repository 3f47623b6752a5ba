"""Metrics of any name: missing in some epochs, above a bound, or without a value at all."""

from __future__ import annotations

import json
import math

import optuna
import pytest
from sqlalchemy import Engine, text

from caviar.storage.curves import read_curve
from caviar.storage.events import read_events
from caviar.storage.states import Control, EventKind, TrialState
from caviar.storage.status import read_trials
from caviar.studies.dashboard.server import application
from caviar.studies.lifecycle.manager import progress
from caviar.studies.results.report.page import page
from caviar.studies.results.report.reading import read_report
from caviar.studies.results.winner import read_winner
from caviar.studies.workers.trial.ending import violations
from tests.helpers.studies import skip_without_package
from tests.helpers.trainings import SOUND, register_training
from tests.helpers.workers import register, worker
from tests.helpers.wsgi import asked


def in_optuna(engine: Engine) -> optuna.Study:
    return optuna.load_study(study_name="own", storage=engine.url.render_as_string(hide_password=False))


def test_an_epoch_may_lack_the_metric(engine: Engine) -> None:
    """It has no value for Optuna then, and the trial's value is the last one."""
    record, study = register_training(engine, "now_and_then", epochs=5, budget=2)
    worker(engine, record, study).run()
    assert [(t.state, t.epoch, t.value) for t in read_trials(engine, record.study_id)] == [("complete", 5, 0.25)] * 2
    curve = read_curve(engine, record.study_id, 0)
    assert ["rmse" in e.metrics for e in curve] == [False, True, False, True, False]
    assert in_optuna(engine).trials[0].intermediate_values == {2: 0.5, 4: 0.25}
    winner = read_winner(engine, record)
    assert winner is not None
    assert (winner.metric, winner.value, winner.metrics) == ("rmse", 0.25, {"size": 1234.5, "rmse": 0.25})


def test_a_trial_is_not_judged_by_an_epoch_without_the_metric(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    record, study = register_training(engine, "now_and_then", epochs=6, budget=2)
    judged: list[int] = []
    run = "caviar.studies.workers.trial.run.TrialRun.reason_to_stop"
    monkeypatch.setattr(run, lambda self, running: judged.append(self.training.epoch))
    worker(engine, record, study).run()
    assert judged == [2, 4, 6] * 2


def test_a_trial_that_never_measures_the_metric_fails_and_says_what_it_measured(engine: Engine) -> None:
    """Where no trial has measured it, the study ends with the first one: the name is wrong."""
    record, study = register_training(engine, "of_another_name", metric="los", constraints={"ma": 1.0})
    worker(engine, record, study).run()
    trials = read_trials(engine, record.study_id)
    assert [t.state for t in trials] == [TrialState.FAIL] + [TrialState.OPEN] * 4
    why = "no result: it never measured los, ma; did you mean loss? did you mean mae? it measured loss, mae"
    assert trials[0].attributes["why it stopped"] == why
    assert progress(engine, record).control == Control.STOP
    (event,) = read_events(engine, record.study_id, EventKind.TRIAL_FAILED)
    assert event.detail["error"] == why
    (stopped,) = read_events(engine, record.study_id, EventKind.STOPPED)
    assert stopped.detail["why"].startswith(f"{why}; no trial has measured los or ma so far")


def test_where_another_trial_has_measured_the_metric_three_without_it_in_a_row_end_the_study(engine: Engine) -> None:
    record, study = register_training(engine, "measured_by_the_first")
    worker(engine, record, study).run()
    trials = read_trials(engine, record.study_id)
    assert [t.state for t in trials] == [TrialState.COMPLETE] + [TrialState.FAIL] * 3 + [TrialState.OPEN]
    (stopped,) = read_events(engine, record.study_id, EventKind.STOPPED)
    assert "3 trials in a row raised the same: no result: it never measured rmse" in stopped.detail["why"]


def test_what_is_above_its_bound_does_not_win(engine: Engine) -> None:
    record, study = register_training(engine, "with_latency", constraints={"latency_ms": 20}, budget=9, pruner="none")
    worker(engine, record, study).run()
    trials = read_trials(engine, record.study_id)
    units = {t.slot.number: t.parameters["hidden"] for t in trials}
    assert {t.slot.number for t in trials if t.violated} == {n for n, units_ in units.items() if units_ > 20}
    assert {t.violated for t in trials} == {None, "latency_ms"}
    for trial in in_optuna(engine).trials:  # as trial.set_constraint has it
        assert trial.constraints == {"latency_ms": units[trial.number] - 20}
    now = progress(engine, record)
    assert now.violations == {"latency_ms": sum(units_ > 20 for units_ in units.values())}
    winner = read_winner(engine, record)
    assert winner is not None
    assert now.best is not None
    largest = max(units_ for units_ in units.values() if units_ <= 20)
    assert winner.metrics["latency_ms"] == units[now.best.slot.number] == largest
    assert in_optuna(engine).best_trial.number == winner.optuna_number
    (said,) = [a.answer for a in read_report(engine, record).answers if "constraint" in a.question]
    assert said == f"{now.violations['latency_ms']} of 9 have a latency_ms above 20; the winner has {largest:g}."


def test_no_weights_are_kept_of_trials_that_cannot_win(engine: Engine) -> None:
    record, study = register(engine, budget=3, constraints={"training_loss": -1.0})
    worker(engine, record, study).run()
    assert [t.violated for t in read_trials(engine, record.study_id)] == ["training_loss"] * 3
    assert read_winner(engine, record) is None
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM caviar.checkpoint")) == 0


def test_a_bound_of_something_that_is_never_measured_is_a_failure(engine: Engine) -> None:
    record, study = register_training(engine, "without_state", constraints={"latency_ms": 20}, budget=2)
    worker(engine, record, study).run()
    trial, _ = read_trials(engine, record.study_id)
    assert trial.attributes["why it stopped"] == "no result: it never measured latency_ms; it measured rmse"


@pytest.mark.parametrize(
    "strategy", ["tiered", "tpe", "gp", "random", "optuna:CmaEsSampler", "optuna:NSGAIISampler(population_size=4)"]
)
def test_where_no_trial_has_a_value_yet_a_diverged_one_is_infinitely_bad(engine: Engine, strategy: str) -> None:
    """The search takes it for as bad as the worst that it knows by then."""
    skip_without_package(strategy)
    record, study = register_training(engine, "diverging", budget=13, strategy=strategy, pruner="none")
    SOUND.clear()
    SOUND.update(range(2, 13))
    worker(engine, record, study).run()
    first, second, *others = read_trials(engine, record.study_id)
    assert {(t.state, t.violated, t.value) for t in (first, second)} == {("complete", "diverged", None)}
    assert [t.value for t in in_optuna(engine).trials[:2]] == [math.inf] * 2
    assert [t.violated for t in others] == [None] * 11
    report = read_report(engine, record)
    assert report.winner is not None
    assert report.winner.value == min(t.value or 1 for t in others)
    assert report.importance is not None
    assert "diverged" in page(report)
    seen = json.loads(asked(application(engine), f"/api/studies/{record.optuna_study_id}"))["trials"]
    assert [trial["values"] for trial in seen[:2]] == [["inf"]] * 2  # the dashboard's word for it


def test_a_diverged_trial_has_the_worst_value_that_is_known(engine: Engine) -> None:
    record, study = register_training(engine, "diverging", budget=4, pruner="none")
    SOUND.clear()
    SOUND.update({0, 1, 2})
    worker(engine, record, study).run()
    trials = read_trials(engine, record.study_id)
    assert trials[3].violated == "diverged"
    assert trials[3].value == max(t.value or 0 for t in trials[:3])


@pytest.mark.parametrize(
    ("measured", "expected"), [(3.0, 2.0), (0.5, -0.5), (math.nan, 1e100), (math.inf, 1e100), (-math.inf, -1e100)]
)
def test_a_violation_is_a_finite_number(measured: float, expected: float) -> None:
    assert violations({"a": 1.0, "b": 1.0}, {"a": measured}) == {"a": expected}
