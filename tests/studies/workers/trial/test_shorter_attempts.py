"""A trial that begins again and ends earlier: nothing of the earlier attempt is mixed with the one that ended it."""

from __future__ import annotations

import math
from pathlib import Path

import optuna
import pytest
from sqlalchemy import Engine

from caviar.storage.curves import read_curve, read_curves
from caviar.storage.history import History
from caviar.storage.records import StudyRecord
from caviar.storage.status import read_trials
from caviar.studies.definition import Study
from caviar.studies.results.conclusion import conclude
from caviar.studies.results.winner import read_winner
from caviar.studies.workers.local.events import RunEvent
from caviar.studies.workers.local.signals import Stop
from tests.helpers.roles import execute
from tests.helpers.trainings import ACTIONS, ERRORS, TESTED, register_training
from tests.helpers.workers import worker


@pytest.fixture
def interrupted(engine: Engine) -> tuple[StudyRecord, Study]:
    """A study whose first trial was given back after its third epoch, and whose state is lost."""
    record, study = register_training(
        engine, "ending_earlier", budget=2, test="tests.helpers.trainings:test_of_ending_earlier"
    )
    stop = Stop()
    ACTIONS.append(stop.ask)
    worker(engine, record, study, stop).run()
    execute(engine, "DELETE FROM caviar.checkpoint")
    trial, _ = read_trials(engine, record.study_id)
    assert (trial.state, trial.epoch) == ("interrupted", 3)
    assert values(engine, record) == [1, 2, 3]
    return record, study


def values(engine: Engine, record: StudyRecord) -> list[float]:
    return [epoch.metrics["rmse"] for epoch in read_curve(engine, record.study_id, 0)]


def test_the_curve_the_value_and_the_winner_are_those_of_the_attempt_that_ended_the_trial(
    engine: Engine, interrupted: tuple[StudyRecord, Study]
) -> None:
    record, study = interrupted
    worker(engine, record, study).run()
    trial, _ = read_trials(engine, record.study_id)
    assert (trial.state, trial.epoch, trial.value, trial.attributes["epochs"]) == ("complete", 2, 12, 2)
    assert values(engine, record) == [11, 12]
    assert [epoch.epoch for epoch in read_curves(engine, record.study_id)[0]] == [1, 2]
    assert trial.seconds == pytest.approx(sum(e.seconds for e in read_curve(engine, record.study_id, 0)))

    seen = list[RunEvent]()
    assert conclude(engine, record, Path("nowhere"), on_event=seen.append)
    assert (seen, TESTED) == ([], [0])  # its state is there: it is not trained once more
    winner = read_winner(engine, record)
    assert winner is not None
    assert (winner.value, winner.metrics, winner.epochs, len(winner.curve)) == (12, {"rmse": 12.0}, 2, 2)


def test_optunas_tools_and_the_search_see_no_value_of_the_earlier_attempt(
    engine: Engine, interrupted: tuple[StudyRecord, Study]
) -> None:
    record, study = interrupted
    worker(engine, record, study).run()
    theirs = optuna.load_study(study_name="own", storage=engine.url.render_as_string(hide_password=False)).trials[0]
    assert [theirs.intermediate_values[step] for step in (1, 2)] == [11, 12]
    assert math.isnan(theirs.intermediate_values[3])
    history = History(engine, record.optuna_study_id, maximize=False)
    history.refresh()
    assert history.complete(1).trials[0].intermediate_values == {1: 11, 2: 12}


def test_a_trial_that_fails_has_the_epochs_of_the_attempt_that_failed(
    engine: Engine, interrupted: tuple[StudyRecord, Study]
) -> None:
    record, study = interrupted
    ERRORS.append(ValueError("no"))
    worker(engine, record, study).run()
    trial, _ = read_trials(engine, record.study_id)
    assert (trial.state, trial.epoch, trial.attributes["why it stopped"]) == ("fail", 2, "ValueError: no")
    assert values(engine, record) == [11, 12]
