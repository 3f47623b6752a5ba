"""A panda that a function of the user's own trains: births, days, nudges, and kills between them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from sqlalchemy import Engine

from caviar.storage.curves import read_curve
from caviar.storage.definitions import find_study
from caviar.storage.errors import UnknownDay
from caviar.storage.nudges import add_nudge
from caviar.storage.pandas import read_life
from caviar.storage.records import Provenance, StudyRecord
from caviar.storage.settings import read_settings
from caviar.storage.states import TrialState
from caviar.studies.definition import Study, change
from caviar.studies.errors import OptionError, WorkersFailed
from caviar.studies.lifecycle.manager import definition_of, open_study
from caviar.studies.panda.advice import Outcome
from caviar.studies.panda.birth import begin, find_ancestor
from caviar.studies.panda.journal import read_journal
from caviar.studies.panda.length import DayLength
from caviar.studies.panda.planning import candidate_days, next_day
from caviar.studies.panda.settings import check_names
from caviar.studies.panda.train import train
from caviar.studies.space.scales import Linear, Log
from caviar.studies.workers.context import WorkerContext
from caviar.studies.workers.local.options import WorkerOptions
from caviar.studies.workers.local.signals import Stop
from caviar.studies.workers.trial.build import Bench
from caviar.studies.workers.user.trial import Trial
from tests.helpers.faulty_net import StopAfter
from tests.helpers.workers import register_process, worker

RATES: list[float] = []  # of each epoch, as the function saw them
STUDY = Study(
    name="own", train="tests.studies.panda.test_own_training:follow", metric="distance", direction="minimize",
    epochs=8, budget=4, tiers=({"lr": Log(1e-4, 1, default=0.1)}, {"hidden": Linear(2, 8, default=4)}),
)  # fmt: skip


def follow(trial: Trial) -> None:
    """Train, with the learning rate that the trial has in each epoch."""
    net = torch.nn.Linear(2, trial["hidden"])
    optimizer = torch.optim.SGD(net.parameters(), lr=trial["lr"], momentum=0.9)
    trial.keep(net=net, optimizer=optimizer)
    for _ in trial.epochs():
        for group in optimizer.param_groups:
            group["lr"] = trial["lr"]
        RATES.append(trial["lr"])
        loss = net(torch.rand(8, 2)).square().mean()
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        trial.report(distance=loss.item())


def keeping_nothing(trial: Trial) -> None:
    for _ in trial.epochs():
        trial.report(distance=1)


def born(engine: Engine, name: str = "baby", **fields: Any) -> StudyRecord:
    RATES.clear()
    record = begin(engine, change(STUDY, **fields), name, {}, Provenance(), DayLength(2, None))
    work(engine, record)
    return record


def work(engine: Engine, record: StudyRecord, plan: Callable[..., Any] | None = None, stop: Stop | None = None) -> Any:
    options = WorkerOptions(read_settings(), record.name, Path("nowhere"))
    study = definition_of(record)
    process = register_process(engine, record)
    context = WorkerContext(engine, record, study, process, Bench(torch.device("cpu")), stop or Stop(), options)
    return train(context, plan)


def test_a_trial_that_has_all_its_epochs_is_no_beginning_of_a_panda(engine: Engine) -> None:
    study = change(STUDY, budget=2, epochs=2)
    record = open_study(engine, study)
    worker(engine, record, study).run()
    with pytest.raises(OptionError, match="own:best: that trial has all 2 epochs, and a schedule"):
        find_ancestor(engine, "own:best")


def days(engine: Engine, record: StudyRecord, count: int, stop: Callable[[], Stop] = Stop) -> None:
    for _ in range(count):
        work(engine, record, partial(next_day, study=definition_of(record)), stop())


def curve(engine: Engine, record: StudyRecord) -> list[tuple[int, dict[str, float]]]:
    life = read_life(engine, record)
    return [(e.epoch, dict(e.metrics)) for d in life.days for e in read_curve(engine, record.study_id, d.number)]


def test_days_go_on_from_one_another_to_the_last_epoch_of_the_study(engine: Engine) -> None:
    record = born(engine)
    days(engine, record, 4)

    assert [epoch for epoch, _ in curve(engine, record)] == list(range(1, 9))
    journal = read_journal(engine, record)
    assert [day.verdict.word for day in journal.days[:2]] == [Outcome.BORN, Outcome.FIRST]
    assert journal.advice is not None
    with pytest.raises(UnknownDay, match="'baby' has trained its 8 epochs; go back with: caviar panda back baby"):
        days(engine, record, 1)


def test_a_nudge_is_what_the_trial_gives_from_the_next_epoch_on(engine: Engine) -> None:
    record = born(engine)
    days(engine, record, 1)
    add_nudge(engine, record.study_id, check_names(definition_of(record), {"lr": 0.01}), None, "me")
    days(engine, record, 1)

    assert RATES == [0.1, 0.1, 0.01, 0.01]


def test_a_day_that_is_interrupted_goes_on_to_the_last_bit(engine: Engine) -> None:
    whole, record = born(engine, "whole"), born(engine, "parts")
    for panda in (whole, record):
        days(engine, panda, 1)
        add_nudge(engine, panda.study_id, {"lr": 0.01}, None, "me")
    days(engine, whole, 2)
    for _ in range(12):
        if len(curve(engine, record)) == 6:
            break
        days(engine, record, 1, partial(StopAfter, 2))

    assert curve(engine, record) == curve(engine, whole)


def test_candidates_are_trained_one_after_another(engine: Engine) -> None:
    record = born(engine)
    days(engine, record, 1)
    plan = partial(candidate_days, study=definition_of(record), candidates=[{}, {"lr": 0.5}], epochs=1)
    looks = work(engine, record, plan)

    assert [look.is_look for look in looks] == [True, True]
    assert RATES[-2:] == [0.1, 0.5]


def test_what_is_no_hyperparameter_cannot_be_nudged(engine: Engine) -> None:
    record = born(engine)

    with pytest.raises(OptionError, match="'momentum' is no hyperparameter of 'baby'; it has: lr, hidden"):
        check_names(definition_of(record), {"momentum": 0.9})
    with pytest.raises(OptionError, match="lr must be a number; given 'fast'"):
        check_names(definition_of(record), {"lr": "fast"})


def test_a_panda_trains_in_one_process(engine: Engine) -> None:
    with pytest.raises(
        OptionError, match=r"^'own' has gpus=2; a panda trains in one process: begin it with a study wi"
    ):
        begin(engine, change(STUDY, gpus=2), "baby", {}, Provenance(), DayLength(2, None))
    assert find_study(engine, "baby") is None


def test_a_panda_needs_a_state(engine: Engine) -> None:
    with pytest.raises(WorkersFailed, match=r"a panda is saved after each day: call trial.keep\(net=..., optimizer="):
        born(engine, train="tests.studies.panda.test_own_training:keeping_nothing")


def test_the_birth_has_no_value_in_optunas_tables(engine: Engine) -> None:
    import optuna

    record = born(engine)
    days(engine, record, 1)
    theirs = optuna.load_study(study_name="baby", storage=engine.url.render_as_string(hide_password=False))

    assert theirs.trials[0].value is None
    assert theirs.best_value == theirs.trials[1].value
    assert TrialState(theirs.trials[0].state.name.lower()) == TrialState.PRUNED
