"""Studies whose trials a function of the user's own trains: by workers in this process, on a real database."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from optuna.trial import FrozenTrial
from sqlalchemy import Engine

from caviar.epoch import Epoch
from caviar.models.training import never
from caviar.storage.curves import read_curve, read_curves
from caviar.storage.events import read_events
from caviar.storage.states import EventKind, TrialState
from caviar.storage.status import read_trials
from caviar.studies.lifecycle.manager import progress
from caviar.studies.search.pace import PacePruner
from caviar.studies.space.scales import PowersOfTwo
from caviar.studies.workers.trial.training import Ended
from caviar.studies.workers.user.loop_training import LoopTraining
from caviar.studies.workers.user.trial import Trial
from caviar.studies.workers.user.turns import FunctionTurns
from tests.helpers.faulty_net import StopAfter
from tests.helpers.roles import execute
from tests.helpers.trainings import ENDED, ERRORS, register_training, stopping_early
from tests.helpers.workers import worker

Curves = dict[int, list[tuple[int, dict[str, float]]]]


def curves(engine: Engine, study_id: int) -> Curves:
    return {n: [(e.epoch, dict(e.metrics)) for e in curve] for n, curve in read_curves(engine, study_id).items()}


def test_a_study_trains_by_a_function_to_its_budget(engine: Engine) -> None:
    record, study = register_training(engine, "regression", pruner="none")
    worker(engine, record, study).run()

    trials = read_trials(engine, record.study_id)
    assert [trial.state for trial in trials] == [TrialState.COMPLETE] * 5
    assert set(ENDED) == {Ended.COMPLETE}
    for trial in trials:
        curve = read_curve(engine, record.study_id, trial.slot.number)
        assert [set(epoch.metrics) for epoch in curve] == [{"loss", "rmse"}] * 4
        assert trial.value == curve[-1].metrics["rmse"]


def test_the_pruner_knows_the_schedule_that_each_trial_has(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    lengths: list[tuple[int, float | None]] = []
    length_of = PacePruner._length

    def noted(self: PacePruner, trial: FrozenTrial) -> float | None:
        lengths.append((trial.params["log2_epochs"], length_of(self, trial)))
        return lengths[-1][1]

    monkeypatch.setattr(PacePruner, "_length", noted)
    tiers = ({"epochs": PowersOfTwo(2, 8, default=2)},)
    record, study = register_training(engine, "as_long_as_it_asks", epochs=8, tiers=tiers)
    worker(engine, record, study).run()
    assert len({exponent for exponent, _ in lengths}) > 1
    assert all(length == 2**exponent for exponent, length in lengths)


def test_interrupted_trials_have_the_curves_of_undisturbed_ones_to_the_last_bit(engine: Engine) -> None:
    undisturbed, study = register_training(engine, "regression", name="undisturbed", pruner="none")
    worker(engine, undisturbed, study).run()

    record, study = register_training(engine, "regression", pruner="none")
    rounds = 0
    while progress(engine, record).open:
        worker(engine, record, study, stop=StopAfter(3)).run()
        rounds += 1

    assert rounds > 3
    assert Ended.GIVEN_BACK in ENDED
    assert curves(engine, record.study_id) == curves(engine, undisturbed.study_id)


def test_a_training_that_stops_early_is_complete_whenever_its_worker_is_to_stop(engine: Engine) -> None:
    record, study = register_training(engine, "stopping_early", epochs=6, budget=2, pruner="none")
    worker(engine, record, study, stop=StopAfter(3)).run()  # in the epoch that the function leaves

    trial = read_trials(engine, record.study_id)[0]
    assert (trial.state, trial.epoch, trial.value) == (TrialState.COMPLETE, 3, 0.125)
    assert trial.attributes["why it stopped"] == "its training came to its end by itself"


def test_a_training_that_stopped_early_where_its_end_was_not_written_stops_at_once() -> None:
    def begun(state: dict[str, Any] | None) -> LoopTraining:
        return LoopTraining(
            FunctionTurns(stopping_early), lambda loop: Trial(0, {}, torch.device("cpu"), loop), (1,), 6, state
        )

    seen, state, training = list[Epoch](), None, begun(None)
    for epoch in training.epochs(6, never):
        seen.append(epoch)
        state = training.state()
    assert [epoch.is_last for epoch in seen] == [False, False, True]

    again = begun(state)
    assert again.epoch == 3
    assert list(again.epochs(6, never)) == []


def test_a_trial_of_which_nothing_is_saved_begins_again(engine: Engine) -> None:
    record, study = register_training(engine, "without_state", budget=2)
    worker(engine, record, study, stop=StopAfter(2)).run()
    interrupted = progress(engine, record)
    worker(engine, record, study).run()

    assert (interrupted.open, interrupted.done) == (2, 0)
    assert [trial.state for trial in read_trials(engine, record.study_id)] == [TrialState.COMPLETE] * 2
    assert curves(engine, record.study_id)[0] == [(n, {"rmse": 1 / n}) for n in range(1, 5)]


def test_a_trial_whose_stored_value_no_search_could_have_given_fails_before_any_code_has_it(engine: Engine) -> None:
    record, study = register_training(engine, "regression", budget=2, pruner="none")
    worker(engine, record, study, stop=StopAfter(1)).run()
    execute(engine, "UPDATE public.trial_params SET param_value = 99 WHERE param_name = 'lr'")
    execute(engine, """UPDATE public.trial_params SET distribution_json =
        '{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.1, "high": 100.0, "log": true}}'
        WHERE param_name = 'lr'""")  # fmt: skip
    worker(engine, record, study).run()

    trial, _ = read_trials(engine, record.study_id)
    assert (trial.state, trial.epoch) == (TrialState.FAIL, 1)
    assert "its stored value lr = 99 is outside its range" in trial.attributes["why it stopped"]


def test_an_error_behind_the_loop_costs_no_result(engine: Engine) -> None:
    record, study = register_training(engine, "regression", budget=2)
    ERRORS.append(ValueError("no file"))
    worker(engine, record, study).run()

    assert [trial.state for trial in read_trials(engine, record.study_id)] == [TrialState.COMPLETE] * 2
    (event,) = read_events(engine, record.study_id, EventKind.RAISED_AFTER_END)
    assert (event.slot, event.detail) == (0, {"ended": "complete", "error": "ValueError: no file"})


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ValueError("wrong shape"), "ValueError: wrong shape"),
        (SystemExit(3), "it calls sys.exit(3), which would end Caviar"),
        (GeneratorExit(), "it raises GeneratorExit, which is no Exception"),
    ],
)
def test_what_a_function_raises_ends_its_trial_alone(engine: Engine, error: Exception, reason: str) -> None:
    record, study = register_training(engine, "raising", budget=2)
    ERRORS.append(error)
    worker(engine, record, study).run()

    failed, sound = read_trials(engine, record.study_id)
    assert (failed.state, failed.attributes["why it stopped"]) == (TrialState.FAIL, reason)
    assert sound.state == TrialState.COMPLETE


def test_a_loop_that_the_function_leaves_is_a_complete_trial(engine: Engine) -> None:
    record, study = register_training(engine, "stopping_itself", budget=2)
    worker(engine, record, study).run()

    for trial in read_trials(engine, record.study_id):
        assert (trial.state, trial.epoch, trial.value) == (TrialState.COMPLETE, 2, 0.5)


def test_a_trial_that_is_pruned_lets_its_function_come_to_its_end(engine: Engine) -> None:
    record, study = register_training(engine, "regression", budget=12, epochs=8)
    worker(engine, record, study).run()

    states = [trial.state for trial in read_trials(engine, record.study_id)]
    assert TrialState.PRUNED in states
    assert [Ended.PRUNED if state == TrialState.PRUNED else Ended.COMPLETE for state in states] == ENDED


def test_a_state_that_cannot_be_saved_ends_its_trial_alone(engine: Engine) -> None:
    record, study = register_training(engine, "unreadable", budget=2)
    worker(engine, record, study).run()

    for trial in read_trials(engine, record.study_id):
        assert trial.state == TrialState.FAIL
        assert "the state odd['rule'] is a type" in trial.attributes["why it stopped"]


def test_a_trial_whose_state_cannot_be_had_leaves_no_mode_to_the_next(engine: Engine) -> None:
    record, study = register_training(engine, "under_autocast", budget=2, epochs=2)
    ERRORS.append(ValueError("no state"))
    worker(engine, record, study).run()

    failed, sound = read_trials(engine, record.study_id)
    assert failed.state == TrialState.FAIL
    assert (sound.state, sound.value) == (TrialState.COMPLETE, 0.0)
