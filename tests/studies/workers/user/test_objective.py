"""Studies whose trials an objective of Optuna's trains: by workers in this process, on a real database."""

from __future__ import annotations

import pytest
from sqlalchemy import Engine

from caviar.storage.curves import read_curve
from caviar.storage.history import read_frozen_trials
from caviar.storage.states import TrialState
from caviar.storage.status import read_trials
from tests.helpers.objectives import SEEN, register_objective
from tests.helpers.workers import worker


def test_an_objective_trains_to_its_budget(engine: Engine) -> None:
    record, study = register_objective(engine, "conditional")
    worker(engine, record, study).run()

    trials = read_trials(engine, record.study_id)
    assert [t.state for t in trials] == [TrialState.COMPLETE] * 6
    assert [t.epoch for t in trials] == [3] * 6
    stored = read_frozen_trials(engine, record.optuna_study_id)
    assert [t.params for t in stored] == SEEN
    assert len({t.params["lr"] for t in stored}) == 6
    assert [e.metrics["value"] for e in read_curve(engine, record.study_id, 0)][-1] == pytest.approx(
        trials[0].value + 1 / 3
    )
