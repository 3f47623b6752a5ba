"""A trial that takes longer than its limit is pruned with its last value; one without a value fails."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import Engine, text

from caviar.models.training import Interrupted
from caviar.storage.events import read_events
from caviar.storage.records import Asked
from caviar.storage.states import EventKind, TrialState
from caviar.storage.status import read_trials
from caviar.studies.workers.trial.decision import Next, after_epoch
from caviar.studies.workers.trial.time_limit import TimeLimit
from caviar.studies.workers.trial.training import Ended
from tests.helpers.faulty_net import StopAfter
from tests.helpers.trainings import ENDED, register_training
from tests.helpers.workers import register, worker

TOO_LONG = "took longer than its trial_timeout of 1 s"


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_all_epochs_count_and_the_one_in_progress() -> None:
    clock = Clock()
    limit = TimeLimit(60.0, spent=30.0, clock=clock)
    assert (limit.is_over, limit.deadline) == (False, None)
    with limit.epoch():
        clock.now += 20
        assert (limit.is_over, limit.deadline) == (False, 130.0)
        clock.now += 11
        assert limit.is_over
    assert not limit.is_over  # until its seconds are added
    limit.add(31)
    assert limit.is_over
    assert limit.why == "took longer than its trial_timeout of 1 min"


def test_time_in_which_the_process_is_stopped_does_not_count() -> None:
    clock, stopped = Clock(), Clock()
    limit = TimeLimit(60.0, clock=clock, stopped=stopped)
    with limit.epoch():
        clock.now, stopped.now = clock.now + 3630, stopped.now + 3600
        assert not limit.is_over
    assert limit.add(3630) == 30  # as the training measured it, and as it counts
    assert not limit.is_over
    with limit.epoch():
        clock.now += 31
        assert limit.is_over
    limit.add(31)
    assert limit.is_over


def test_seconds_that_leave_stops_out_already_count_as_they_are() -> None:
    clock, stopped = Clock(), Clock()
    limit = TimeLimit(60.0, clock=clock, stopped=stopped, leaves_out=True)
    with limit.epoch():
        clock.now, stopped.now = clock.now + 3630, stopped.now + 3600
        assert not limit.is_over
    assert limit.add(30) == 30
    with limit.epoch():
        clock.now += 31
        assert limit.is_over


def leave_after(limit: TimeLimit, clock: Clock, seconds: float) -> None:
    with limit.epoch():
        clock.now += seconds
        raise Interrupted


def test_an_epoch_that_is_left_counts_as_far_as_it_went() -> None:
    clock = Clock()
    limit = TimeLimit(60.0, clock=clock)
    with pytest.raises(Interrupted):
        leave_after(limit, clock, 61)
    assert limit.is_over


def test_without_a_limit_nothing_is_ever_over() -> None:
    limit = TimeLimit(None, spent=1e9)
    with limit.epoch():
        assert (limit.is_over, limit.deadline) == (False, None)


def test_who_takes_too_long_is_pruned_after_its_epoch_but_for_the_last() -> None:
    given: dict[str, Any] = {"last": 3, "losses": {}, "bad_curve": None, "asked": Asked(), "overtime": "took longer"}
    verdict = after_epoch(epoch=2, stop_asked=True, **given)
    assert (verdict.next, verdict.why) == (Next.PRUNE, "took longer")
    assert after_epoch(epoch=3, stop_asked=False, **given).next is Next.COMPLETE


def test_a_trial_that_takes_too_long_is_pruned_with_its_last_value(engine: Engine) -> None:
    record, study = register_training(engine, "slow", budget=2, epochs=1000, pruner="none", trial_timeout=1)
    worker(engine, record, study).run()
    for trial in read_trials(engine, record.study_id):
        assert (trial.state, trial.attributes["why it stopped"]) == (TrialState.PRUNED, TOO_LONG)
        assert trial.value == 1 / trial.epoch
    assert set(ENDED) == {Ended.PRUNED}


def test_an_epoch_without_an_end_is_left_between_two_batches(engine: Engine) -> None:
    record, study = register_training(engine, "endless_from", budget=2, fixed={"endless": 2}, trial_timeout=1)
    worker(engine, record, study).run()
    for trial in read_trials(engine, record.study_id):
        assert (trial.state, trial.attributes["why it stopped"]) == (TrialState.PRUNED, TOO_LONG)
        assert (trial.value, trial.epoch) == (1.0, 1)


def test_a_trial_without_a_value_fails(engine: Engine) -> None:
    record, study = register_training(engine, "endless_from", fixed={"endless": 1}, trial_timeout=1)
    worker(engine, record, study).run()
    trials = read_trials(engine, record.study_id)
    assert [trial.state for trial in trials] == [TrialState.FAIL] * 3 + [TrialState.OPEN] * 2
    assert trials[0].attributes["why it stopped"] == TOO_LONG
    (stopped,) = read_events(engine, record.study_id, EventKind.STOPPED)
    assert TOO_LONG in stopped.detail["why"]


def test_the_epochs_of_earlier_workers_count(engine: Engine) -> None:
    record, study = register_training(engine, "regression", epochs=100, budget=2, pruner="none", trial_timeout="1h")
    worker(engine, record, study, stop=StopAfter(6)).run()
    with engine.begin() as connection:
        connection.execute(text("UPDATE caviar.epoch SET seconds = 3601 WHERE slot = 0 AND epoch = 1"))
    worker(engine, record, study).run()
    first, second = read_trials(engine, record.study_id)
    assert (first.state, first.attributes["why it stopped"]) == (
        TrialState.PRUNED, "took longer than its trial_timeout of 1 h",
    )  # fmt: skip
    assert first.epoch < 100
    assert second.state == TrialState.COMPLETE


def test_in_a_cohort_only_the_trial_that_takes_too_long_ends(engine: Engine) -> None:
    record, study = register(engine, epochs=4, budget=8, pruner="none", trial_timeout="1h")
    worker(engine, record, study, cohort=4, stop=StopAfter(5)).run()
    with engine.begin() as connection:
        late = connection.scalars(
            text("UPDATE caviar.epoch SET seconds = 3601 WHERE epoch = 1 AND slot IN "
                 "(SELECT min(number) FROM caviar.slot WHERE state = 'open' AND epoch BETWEEN 1 AND 3) RETURNING slot")
        ).all()  # fmt: skip
    assert len(late) == 1
    worker(engine, record, study, cohort=4).run()
    ends = {trial.slot.number: trial.state for trial in read_trials(engine, record.study_id)}
    assert ends == {number: TrialState.PRUNED if number in late else TrialState.COMPLETE for number in range(8)}


def test_the_seconds_of_an_epoch_are_written_without_stops(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TimeLimit, "add", lambda limit, seconds: 7.0)
    record, study = register(engine, budget=4, trial_timeout="1h")
    worker(engine, record, study).run()
    with engine.connect() as connection:
        assert connection.scalars(text("SELECT DISTINCT seconds FROM caviar.epoch")).all() == [7.0]
