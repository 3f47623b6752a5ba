"""A study that ends before its budget is spent, since more trials would bring too little."""

from __future__ import annotations

from typing import Any

import optuna
import pytest
from sqlalchemy import Engine, text

import caviar
from caviar.storage.definitions import load_study
from caviar.storage.errors import LeaseLost
from caviar.storage.events import read_events
from caviar.storage.grants import grant_worker
from caviar.storage.states import EventKind
from caviar.studies.lifecycle.manager import definition_of, end_study_early, extend_study, open_study, progress
from caviar.studies.results.sentences import sentence
from caviar.studies.search.noise import Basis, Noise
from caviar.studies.search.prospect import Prospect
from tests.helpers.leases import lease_of
from tests.helpers.roles import engine_as, new_role
from tests.helpers.trials import made
from tests.helpers.workers import ledger, log, register, worker

NOISE = Prospect(trials=40, gain=0.0, low=-0.01, high=0.01, noise=Noise(0.02, Basis.MODEL))


def slots(engine: Engine) -> list[int]:
    with engine.connect() as connection:
        return list(connection.scalars(text("SELECT number FROM caviar.slot ORDER BY number")))


def test_a_study_ends_with_the_trials_that_have_begun(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def after_30(study: Any, trials: list[Any], **_: Any) -> Prospect | None:
        asked.append(len(trials))
        return NOISE if len(trials) >= 30 else None

    monkeypatch.setattr("caviar.studies.workers.trial.early_end.prospect_of", after_30)
    record, study = register(engine, budget=60, until="gain < noise", epochs=1, pruner="none")
    worker(engine, record, study).run()
    assert asked == [20, 30]
    now, record = progress(engine, record), load_study(engine, "small")
    assert (now.done, now.budget, definition_of(record).budget) == (30, 30, 30)
    (event,) = read_events(engine, record.study_id, EventKind.ENDED_EARLY)
    assert sentence(event).startswith("the study ends after 30 of 60 trials: 40 more trials are expected to improve")
    # The same command finds the study done; to go on is a decision, and the rule is no longer in the way.
    assert open_study(engine, study).version == 2
    again = caviar.retune("small", "again", database=engine)
    assert (again.budget, again.until) == (60, "gain < noise")
    extended = extend_study(engine, record, 42)
    worker(engine, extended, definition_of(extended)).run()
    assert progress(engine, extended).done == 42
    assert asked == [20, 30]
    assert caviar.retune("small", "longer", database=engine).budget == 42


def test_a_worker_whose_role_may_not_change_a_study_leaves_its_end_to_others(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("caviar.studies.workers.trial.early_end.prospect_of", lambda *_, **__: NOISE)
    record, study = register(engine, budget=22, until="gain < noise", epochs=1)
    with new_role(engine) as name:
        grant_worker(engine, name)
        with engine_as(engine, name) as limited:
            worker(limited, record, study).run()
    assert progress(engine, record).done == 22
    assert not read_events(engine, record.study_id, EventKind.ENDED_EARLY)


def test_trials_of_other_programs_do_not_count_and_one_that_is_enqueued_is_trained(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def noise(study: Any, trials: list[Any], **_: Any) -> Prospect:
        asked.append(len(trials))
        return NOISE

    monkeypatch.setattr("caviar.studies.workers.trial.early_end.prospect_of", noise)
    record, study = register(engine, budget=40, until="gain < noise", epochs=1, pruner="none")
    theirs = optuna.load_study(study_name="small", storage=engine.url.render_as_string(hide_password=False))
    for _ in range(25):
        theirs.add_trial(made(study, 0, 0.99, 0.5))
    worker(engine, record, study).run()
    assert asked == [20]
    assert progress(engine, record).done == 20


def test_a_study_without_a_rule_asks_nothing(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("caviar.studies.workers.trial.early_end.prospect_of", lambda *_, **__: pytest.fail("asked"))
    record, study = register(engine, budget=3)
    worker(engine, record, study).run()
    assert progress(engine, record).done == 3


def test_a_trial_that_has_begun_goes_on_and_one_that_has_not_is_taken_back(engine: Engine) -> None:
    record, _ = register(engine, budget=12)
    one, other, trials = ledger(engine, record), ledger(engine, record), log(engine, record)
    begun = [lease_of(one.lease()) for _ in range(3)]
    waiting = lease_of(other.lease())
    assert all(trials.begin(lease, {}, {}) for lease in begun)
    assert end_study_early(engine, record, "enough")
    assert slots(engine) == [0, 1, 2]
    assert not end_study_early(engine, record, "enough")  # with a version that is no longer the latest
    assert not end_study_early(engine, load_study(engine, "small"), "enough")  # with nothing to take away
    assert len(read_events(engine, record.study_id, EventKind.ENDED_EARLY)) == 1
    with pytest.raises(LeaseLost):
        trials.begin(waiting, {}, {})
    assert one.renew(begun).keys() == {lease.key for lease in begun}  # still its own
