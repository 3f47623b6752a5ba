"""A program that leases trials itself: one worker of a study, in the program's own process."""

from __future__ import annotations

import pytest
from sqlalchemy import Engine

import caviar
from caviar.storage.curves import read_curves
from caviar.storage.definitions import load_study
from caviar.storage.events import read_events
from caviar.storage.states import EventKind
from caviar.storage.status import read_trials
from caviar.studies.definition import Study
from caviar.studies.lifecycle.manager import progress
from caviar.studies.workers.trial.training import Ended
from tests.helpers.faulty_net import StopAfter
from tests.helpers.studies import small_study
from tests.helpers.trainings import ENDED, TIERS, register_training, regression
from tests.helpers.workers import worker

STUDY = Study(
    name="own", train="tests.helpers.trainings:regression", metric="rmse", direction="minimize", epochs=4, budget=5,
    tiers=TIERS, pruner="none",
)  # fmt: skip


def curves(engine: Engine, study_id: int) -> dict[int, list[dict[str, float]]]:
    return {number: [dict(e.metrics) for e in curve] for number, curve in read_curves(engine, study_id).items()}


class _Another:
    """A part that an earlier version of the program did not keep."""

    def state_dict(self) -> dict[str, object]:
        return {}

    def load_state_dict(self, state: dict[str, object]) -> None: ...


def test_a_program_that_leases_trials_trains_what_a_worker_does(engine: Engine) -> None:
    other, study = register_training(engine, "regression", name="by-a-worker", pruner="none")
    worker(engine, other, study).run()
    ENDED.clear()

    numbers = []
    for trial in caviar.lease_trials(STUDY, device="cpu", database=engine):
        numbers.append(trial.number)
        regression(trial)

    record = load_study(engine, "own")
    assert numbers == list(range(5))
    assert ENDED == [Ended.COMPLETE] * 5
    assert curves(engine, record.study_id) == curves(engine, other.study_id)


def test_a_program_that_leaves_its_loop_gives_its_trial_back(engine: Engine) -> None:
    record, study = register_training(engine, "regression", pruner="none")
    for trial in caviar.lease_trials(study, device="cpu", database=engine):
        if trial.number == 1:
            break
        regression(trial)
    with pytest.raises(ValueError, match="of the program"):
        _fail(engine, study)

    left = progress(engine, record)
    assert (left.done, left.leased, left.open) == (1, 0, 4)

    for trial in caviar.lease_trials(study, device="cpu", database=engine):
        regression(trial)
    assert [trial.epoch for trial in read_trials(engine, record.study_id)] == [4] * 5


def _fail(engine: Engine, study: Study) -> None:
    for trial in caviar.lease_trials(study, device="cpu", database=engine):
        for _ in trial.epochs():
            raise ValueError("of the program")


def test_a_loop_that_a_program_leaves_early_is_a_complete_trial(engine: Engine) -> None:
    record, study = register_training(engine, "regression", budget=2, pruner="none")
    for trial in caviar.lease_trials(study, device="cpu", database=engine):
        for epoch in trial.epochs():
            trial.report(rmse=1 / epoch)
            if epoch == 2:
                break

    assert [(t.epoch, t.value) for t in read_trials(engine, record.study_id)] == [(2, 0.5)] * 2


def test_a_checkpoint_that_does_not_fit_is_refused_and_the_trial_begins_anew(engine: Engine) -> None:
    undisturbed, study = register_training(engine, "regression", name="undisturbed", budget=2, pruner="none")
    worker(engine, undisturbed, study).run()
    record, study = register_training(engine, "regression", budget=2, pruner="none")
    worker(engine, record, study, stop=StopAfter(2)).run()
    assert read_trials(engine, record.study_id)[0].epoch == 2

    for trial in caviar.lease_trials(study, device="cpu", database=engine):
        keep = trial.keep
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(trial, "keep", lambda keep=keep, **parts: keep(**parts, other=_Another()))
            regression(trial)

    (event,) = read_events(engine, record.study_id, EventKind.CHECKPOINT_REFUSED)
    assert event.detail["reason"].startswith("the checkpoint has no 'other', but ")
    assert curves(engine, record.study_id) == curves(engine, undisturbed.study_id)  # by parts as they were built


def test_only_the_trials_of_a_function_can_be_leased(engine: Engine) -> None:
    with pytest.raises(caviar.OptionError, match="'small' trains by model=; a program leases trials of a train="):
        next(iter(caviar.lease_trials(small_study(), database=engine)))
