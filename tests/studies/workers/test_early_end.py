"""A study that ends before its budget is spent, since more trials would bring too little."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import Engine, text

from caviar.storage.definitions import load_study
from caviar.storage.errors import LeaseLost
from caviar.storage.events import read_events
from caviar.storage.states import EventKind
from caviar.studies.lifecycle.manager import definition_of, end_early, extend_study, open_study, progress
from caviar.studies.results.sentences import sentence
from caviar.studies.search.prospect import Prospect
from tests.helpers.leases import lease_of
from tests.helpers.workers import ledger, log, register, worker

NOISE = Prospect(trials=40, gain=0.0, low=-0.01, high=0.01, noise=0.02)


def slots(engine: Engine) -> list[int]:
    with engine.connect() as connection:
        return list(connection.scalars(text("SELECT number FROM caviar.slot ORDER BY number")))


def test_a_study_ends_with_the_trials_that_have_begun(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def after_six(study: Any, trials: list[Any], more: int) -> Prospect | None:
        asked.append((len(trials), more))
        return NOISE if len(trials) >= 6 else None

    monkeypatch.setattr("caviar.studies.workers.trial.early_end.prospect_of", after_six)
    record, study = register(engine, budget=60, until="gain < noise", pruner="none")
    worker(engine, record, study).run()
    assert asked == [(1, 40), (2, 40), (3, 40), (4, 40), (5, 40), (6, 40)]
    now, record = progress(engine, record), load_study(engine, "small")
    assert (now.done, now.budget, definition_of(record).budget) == (6, 6, 6)
    (event,) = read_events(engine, record.study_id, EventKind.ENDED_EARLY)
    assert sentence(event).startswith(
        "the study ends after 6 of 60 trials: 40 more trials are expected to bring +0 (-0.01"
    )
    # The same command finds the study done; to go on is a decision, and the rule is no longer in the way.
    assert open_study(engine, study).version == 2
    extended = extend_study(engine, record, 9)
    worker(engine, extended, definition_of(extended)).run()
    assert progress(engine, extended).done == 9
    assert len(asked) == 6


def test_a_study_without_a_rule_asks_nothing(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("caviar.studies.workers.trial.early_end.prospect_of", lambda *_: pytest.fail("asked"))
    record, study = register(engine, budget=3)
    worker(engine, record, study).run()
    assert progress(engine, record).done == 3


def test_a_trial_that_has_begun_goes_on_and_one_that_has_not_is_taken_back(engine: Engine) -> None:
    record, _ = register(engine, budget=12)
    one, other, trials = ledger(engine, record), ledger(engine, record), log(engine, record)
    begun = [lease_of(one.lease()) for _ in range(3)]
    waiting = lease_of(other.lease())
    assert all(trials.begin(lease, {}, {}) for lease in begun)
    assert end_early(engine, record, "enough")
    assert slots(engine) == [0, 1, 2]
    assert not end_early(engine, record, "enough")  # with a version that is no longer the latest
    assert not end_early(engine, load_study(engine, "small"), "enough")  # with nothing to take away
    assert len(read_events(engine, record.study_id, EventKind.ENDED_EARLY)) == 1
    with pytest.raises(LeaseLost):
        trials.begin(waiting, {}, {})
    assert one.renew(begun).keys() == {lease.key for lease in begun}  # still its own
