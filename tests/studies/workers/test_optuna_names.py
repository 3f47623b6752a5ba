"""Searches by any of Optuna's samplers and pruners, on a real database, with an interruption now and then."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import Engine

from caviar.storage.curves import read_curve
from caviar.storage.definitions import load_study
from caviar.storage.status import read_trials
from caviar.studies.lifecycle.manager import definition_of, progress
from tests.helpers.epochs import figures
from tests.helpers.faulty_net import StopAfter
from tests.helpers.studies import skip_without_package
from tests.helpers.workers import register, worker

FIELDS: dict[str, Any] = {"budget": 14, "epochs": 9}


def results(engine: Engine, study_id: int) -> list[Any]:
    trials = read_trials(engine, study_id)
    curves = [figures(read_curve(engine, study_id, t.slot.number)) for t in trials]
    whys = [t.attributes["why it stopped"] for t in trials]
    return [(t.parameters, t.value, t.state, why, c) for t, why, c in zip(trials, whys, curves, strict=True)]


@pytest.mark.parametrize(
    ("strategy", "pruner"),
    [
        ("optuna:CmaEsSampler(popsize=4)", "optuna:HyperbandPruner"),
        ("optuna:NSGAIISampler(population_size=4)", "none"),
        ("optuna:QMCSampler(scramble=True)", "optuna:SuccessiveHalvingPruner(reduction_factor=3)"),
        ("optuna:TPESampler(n_startup_trials=4)", "optuna:PercentilePruner(percentile=50.0)"),
    ],
)
def test_a_search_that_is_interrupted_goes_on_as_if_nothing_had_happened(
    engine: Engine, strategy: str, pruner: str
) -> None:
    skip_without_package(strategy)
    fields = {**FIELDS, "strategy": strategy, "pruner": pruner}
    undisturbed, study = register(engine, name="undisturbed", **fields)
    worker(engine, undisturbed, study).run()
    expected = results(engine, undisturbed.study_id)

    record, study = register(engine, name="interrupted", **fields)
    rounds = 0
    while progress(engine, record).open:
        worker(engine, record, study, stop=StopAfter(12)).run()
        rounds += 1
    assert rounds > 3
    assert results(engine, record.study_id) == expected
    assert definition_of(load_study(engine, "interrupted")) == study
    stopped = [why for *_, state, why, _ in expected if state == "pruned"]
    assert all(why.startswith(f"{pruner.removeprefix('optuna:').partition('(')[0]} at epoch") for why in stopped)
    assert bool(stopped) == (pruner != "none")
