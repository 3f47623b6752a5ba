"""Trials that somebody enqueues with Optuna's client: a slot takes them, or they are refused with an event."""

from __future__ import annotations

from typing import Any

import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial
from sqlalchemy import Engine

from caviar.storage.events import read_events
from caviar.storage.records import OtherTrials
from caviar.storage.states import EventKind
from caviar.storage.status import read_trials
from caviar.studies.lifecycle.manager import progress
from caviar.studies.search.other_programs import CannotTake, fixed_values
from caviar.studies.space.scales import Choice, Log
from tests.helpers.pandas import born, days
from tests.helpers.studies import TIERS, skip_without_package, small_study
from tests.helpers.workers import register, worker


def loaded(engine: Engine, name: str = "small") -> optuna.Study:
    return optuna.load_study(study_name=name, storage=engine.url.render_as_string(hide_password=False))


def enqueued(**params: Any) -> FrozenTrial:
    return create_trial(state=TrialState.WAITING, system_attrs={"fixed_params": params})


def test_a_slot_takes_the_trial_that_waits_and_proposes_the_values_that_it_lacks(engine: Engine) -> None:
    record, study = register(engine, budget=6, epochs=1)
    program = loaded(engine)
    for rate in (0.0123, 0.0456):
        program.enqueue_trial({"learning_rate": rate, "layers": 4}, user_attrs={"from": "me", "tier": "mine"})
    worker(engine, record, study).run()
    trials = read_trials(engine, record.study_id)
    assert [t.state for t in trials] == ["complete"] * 6
    assert [study.values(t.parameters)["learning_rate"] for t in trials[:3]] == [0.1, 0.0123, 0.0456]
    assert [study.values(t.parameters)["layers"] for t in trials[1:3]] == [4, 4]
    assert all(t.parameters.keys() == study.distributions().keys() for t in trials)
    assert [t.optuna_number for t in trials] == [2, 0, 1, 3, 4, 5]
    theirs = loaded(engine).trials
    assert [t.number for t in theirs] == list(range(6))
    assert [t.state for t in theirs] == [TrialState.COMPLETE] * 6
    assert theirs[0].user_attrs["from"] == "me"
    assert theirs[0].user_attrs["tier"] == trials[1].slot.tier  # Caviar's own
    assert theirs[0].params["learning_rate"] == 0.0123
    assert progress(engine, record).others == OtherTrials(0, 0)


def test_names_are_the_hyperparameters_or_those_that_optuna_has() -> None:
    study = small_study()
    by_name = fixed_values(study, enqueued(momentum=0.95, batch_size=128))
    by_stored = fixed_values(study, enqueued(one_minus_momentum=0.05, log2_batch_size=7))
    assert by_name.values == pytest.approx(by_stored.values)
    assert by_stored.stored == {"one_minus_momentum": 0.05, "log2_batch_size": 7}
    assert fixed_values(study, enqueued()).values == {}


@pytest.mark.parametrize(
    ("trial", "why"),
    [
        (enqueued(learning_rate=5.0), "learning_rate = 5.0 is outside its range"),
        (enqueued(learning_rate="fast"), "learning_rate = 'fast' is outside its range"),
        (enqueued(learning_rate=None), "learning_rate = None is outside its range"),
        (
            enqueued(batch_size=100),
            "batch_size = 100 lies between two of its values, 64 and 128",
        ),
        (enqueued(activation="tanh"), "activation = 'tanh' is outside its range"),
        (enqueued(layers=10**400), "layers = 1000"),
        (enqueued(layers=10**5000), "layers = a value of type int that cannot be shown is outside its range"),
        (enqueued(learning_rate=float("inf")), "learning_rate = inf is outside its range"),
        (enqueued(log2_batch_size=10**400), "log2_batch_size = 1000"),
        (
            create_trial(state=TrialState.WAITING, system_attrs={"fixed_params": ["layers"]}),
            "its fixed_params are no values by name",
        ),
        (enqueued(rate=0.1), "rate is no hyperparameter of the study; it searches: learning_rate, momentum"),
        (enqueued(momentum=0.9, one_minus_momentum=0.1), "momentum is given twice"),
        (
            create_trial(state=TrialState.WAITING, params={"x": 1.0}, distributions={"x": FloatDistribution(0, 2)}),
            "it has parameters of its own already: make it with enqueue_trial",
        ),
    ],
)
def test_what_no_trial_can_have_is_refused(trial: FrozenTrial, why: str) -> None:
    tiers = (*TIERS, {"activation": Choice("relu", "gelu", default="relu")})
    with pytest.raises(CannotTake, match=why):
        fixed_values(small_study(tiers=tiers, model="mlp"), trial)


def test_a_trial_that_is_refused_fails_with_an_event_and_the_next_one_is_taken(engine: Engine) -> None:
    record, study = register(engine, budget=4, epochs=1)
    program = loaded(engine)
    program.enqueue_trial({"learning_rate": 7.0})
    program.enqueue_trial({"learning_rate": 0.02})
    worker(engine, record, study).run()
    (event,) = read_events(engine, record.study_id, EventKind.ENQUEUED_REFUSED)
    assert event.detail["number_in_optuna"] == 0
    assert event.detail["reason"].startswith("learning_rate = 7.0 is outside its range")
    theirs = loaded(engine).trials
    assert theirs[0].state == TrialState.FAIL
    assert theirs[0].user_attrs["why it stopped"] == event.detail["reason"]
    assert [t.state for t in read_trials(engine, record.study_id)] == ["complete"] * 4
    assert study.values(read_trials(engine, record.study_id)[1].parameters)["learning_rate"] == 0.02
    assert progress(engine, record).others == OtherTrials(1, 0)


@pytest.mark.parametrize("params", [{"a\x00b": 1}, {"\ud800": 1}, {"layers": 10**400}])
def test_a_trial_that_no_text_can_name_is_refused_as_well(engine: Engine, params: dict[str, Any]) -> None:
    record, study = register(engine, budget=4, epochs=1)
    loaded(engine).enqueue_trial(params)
    worker(engine, record, study).run()
    assert len(read_events(engine, record.study_id, EventKind.ENQUEUED_REFUSED)) == 1
    assert loaded(engine).trials[0].state == TrialState.FAIL
    assert progress(engine, record).done == 4


def test_another_program_may_be_quicker_to_take_what_waits(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    record, study = register(engine, budget=3, epochs=1)
    program = loaded(engine)
    program.enqueue_trial({"learning_rate": 0.02})
    who = worker(engine, record, study)
    real, taken = who.context.log.begin, []

    def begin(*arguments: Any) -> int | None:
        if arguments[3] is not None and not taken:
            taken.append(program.ask().number)
        return real(*arguments)

    monkeypatch.setattr(who.context.log, "begin", begin)
    who.run()
    assert taken == [0]
    assert loaded(engine).trials[0].state == TrialState.RUNNING
    assert [t.state for t in read_trials(engine, record.study_id)] == ["complete"] * 3
    assert study.values(read_trials(engine, record.study_id)[1].parameters)["learning_rate"] != 0.02


@pytest.mark.parametrize("strategy", ["random", "grid", "tpe", "classic", "optuna:CmaEsSampler"])
def test_every_strategy_takes_it(engine: Engine, strategy: str) -> None:
    skip_without_package(strategy)
    tiers = ({"learning_rate": Log(1e-4, 1, default=0.1)},)
    record, study = register(engine, budget=3, epochs=1, strategy=strategy, tiers=tiers)
    loaded(engine).enqueue_trial({"learning_rate": 0.0321})
    worker(engine, record, study).run()
    rates = [study.values(t.parameters)["learning_rate"] for t in read_trials(engine, record.study_id)]
    assert rates[1] == 0.0321


def test_the_day_of_a_panda_takes_none(engine: Engine) -> None:
    record = born(engine)
    loaded(engine, "baby").enqueue_trial({"learning_rate": 0.3})
    days(engine, record)
    assert loaded(engine, "baby").trials[1].state == TrialState.WAITING
    assert [t.state for t in read_trials(engine, record.study_id)] == ["complete"] * 2
