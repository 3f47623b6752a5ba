"""Any of Optuna's samplers as a strategy: which can be named, and what a slot gets from it."""

from __future__ import annotations

import pickle
import re
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial

from caviar.storage.history import study_of
from caviar.studies.definition import Study, change, from_body, to_body
from caviar.studies.errors import DefinitionError
from caviar.studies.search.optuna_classes import check_installed
from caviar.studies.search.plan import plan
from caviar.studies.search.strategies import Proposer
from caviar.studies.space.scales import Choice, Linear
from caviar.studies.workers.trial.checks import check
from tests.helpers.objectives import objective_study
from tests.helpers.studies import TIERS, skip_without_package, small_study

NAMED = [
    "optuna:CmaEsSampler",
    "optuna:CmaEsSampler(popsize=4, use_separable_cma=True)",
    "optuna:CmaEsSampler(popsize=4, with_margin=True)",
    pytest.param("optuna:GPSampler(n_startup_trials=16)", marks=pytest.mark.slow),
    "optuna:NSGAIISampler(population_size=5)",
    "optuna:QMCSampler(scramble=True)",
    "optuna:QMCSampler(qmc_type='halton', scramble=True)",
    "optuna:RandomSampler",
    "optuna:TPESampler(multivariate=True, n_startup_trials=5)",
]
SPHERE = tuple({f"x{tier}{i}": Linear(-5.0, 5.0, default=4.0) for i in range(2)} for tier in range(2))
_START = datetime(2026, 1, 1)


def distance(values: Mapping[str, Any]) -> float:
    return sum((value - 1) ** 2 for value in values.values() if isinstance(value, int | float))


def searched(
    study: Study, *, anew: bool = False, attributes: Mapping[str, Any] | None = None, beside: int = 1
) -> list[dict[str, Any]]:
    """Return the values of a study's trials, one after the other or so many at once, which minimize the distance.

    Args:
        anew: whether each slot's worker has just begun.
        attributes: what somebody wrote to each trial in the database.
    """
    proposer, trials, found = Proposer(study), dict[int, FrozenTrial](), []
    for slot in plan(study):
        begins = _START + timedelta(seconds=slot.number)
        for trial in trials.values():
            if trial.number <= slot.number - beside and trial.state == TrialState.RUNNING:
                trial.state, trial.value = TrialState.COMPLETE, distance(study.trained(trial.params))
                trial.datetime_complete = begins - timedelta(milliseconds=1)
        proposer = Proposer(study) if anew else proposer
        proposal = proposer.propose(study_of(trials, StudyDirection.MINIMIZE), slot)
        found.append(dict(proposal.values))
        trial = create_trial(
            state=TrialState.RUNNING, params=dict(proposal.stored), distributions=study.distributions(),
            system_attrs=dict(attributes or {}),
        )  # fmt: skip
        trial.number = trial._trial_id = slot.number
        trial.datetime_start = begins
        trials[slot.number] = trial
    return found


@pytest.mark.parametrize("strategy", NAMED)
def test_a_slot_gets_the_same_values_from_any_worker(strategy: str) -> None:
    """A sampler of Optuna's may keep notes in its storage, which workers do not write: they are worked out again."""
    skip_without_package(strategy)
    tiers = (*TIERS, {"activation": Choice("relu", "gelu", default="relu")})
    study = small_study(strategy=strategy, budget=20, tiers=tiers, direction="minimize", metric="loss")
    assert from_body(to_body(study)) == study
    assert [slot.phase for slot in plan(study)] == ["default"] + ["optuna"] * 19
    found = searched(study)
    assert found == searched(study, anew=True)
    # A child of two parents may be like one of them.
    assert len({tuple(values.items()) for values in found}) >= (15 if "NSGAII" in strategy else 20)
    assert all(scale.accepts(values[name]) for values in found for name, scale in study.scales().items())
    assert found != searched(change(study, seed=1))


@pytest.mark.parametrize("beside", [1, 4])
@pytest.mark.parametrize("strategy", ["optuna:CmaEsSampler(popsize=6)", "optuna:NSGAIISampler(population_size=8)"])
def test_samplers_of_generations_come_closer_with_each(strategy: str, beside: int) -> None:
    skip_without_package(strategy)
    study = small_study(strategy=strategy, budget=80, tiers=SPHERE, direction="minimize", metric="loss")
    reached = [distance(values) for values in searched(study, beside=beside)]
    assert sum(reached[60:]) < 0.7 * sum(reached[1:21])  # of random search it is the same; n = 6 seeds say 0.25 to 0.65


def test_the_points_of_a_sequence_are_those_of_the_slots() -> None:
    study = small_study(strategy="optuna:QMCSampler(scramble=True)", budget=17, tiers=SPHERE)
    values = searched(study)[1:]
    for name in study.scales():  # Sobol's points: one in each sixteenth of every range
        assert sorted(int((value[name] + 5) / 10 * 16) for value in values) == list(range(16))


class _Evil:
    def __init__(self, file: Path) -> None:
        self._file = file

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Path]]:
        return Path.touch, (self._file,)


@pytest.mark.parametrize("prefix", ["cma:", "sepcma:", "cmawm:"])
def test_nothing_that_the_database_holds_is_unpickled(prefix: str, tmp_path: Path) -> None:
    pytest.importorskip("cmaes")
    arguments = {"cma:": "", "sepcma:": ", use_separable_cma=True", "cmawm:": ", with_margin=True"}[prefix]
    study = small_study(strategy=f"optuna:CmaEsSampler(popsize=4{arguments})", budget=12, tiers=SPHERE)
    written = {f"{prefix}optimizer:0": pickle.dumps(_Evil(tmp_path / "run")).hex(), f"{prefix}generation": "nonsense"}
    assert searched(study, attributes=written) == searched(study)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("strategy", "message"),
    [
        ("tpr", "no strategy 'tpr'; did you mean tpe? there are: tiered, classic, random, grid, tpe, gp, and Optuna's"),
        ("optuna:CmaSampler", "optuna.samplers has no 'CmaSampler'; did you mean CmaEsSampler"),
        ("optuna:Cma", "there are: CmaEsSampler, GPSampler, NSGAIISampler, QMCSampler, RandomSampler, TPESampler"),
        ("optuna:HyperbandPruner", "optuna.samplers has no 'HyperbandPruner'"),
        ("optuna:BaseSampler", "optuna.samplers has no 'BaseSampler'"),
        ("optuna:warnings", "optuna.samplers has no 'warnings'"),
        ("optuna:GridSampler", "GridSampler is no sampler for a study: it needs the values of its grid; take the str"),
        ("optuna:BruteForceSampler", "it ends the study itself once it has tried everything; take the strategy grid"),
        ("optuna:NSGAIIISampler", "it is for several objectives, and a study has one; take optuna:NSGAIISampler"),
        ("optuna:PartialFixedSampler", "it wraps another sampler; name that one, and give the study fixed={...}"),
        ("optuna:TPESampler(seed=1)", "cannot be given seed: each slot has a seed of its own"),
        ("optuna:TPESampler(gamma=1)", "optuna:TPESampler cannot be given 'gamma'; it takes: "),
        ("optuna:CmaEsSampler(x0={})", "optuna:CmaEsSampler cannot be given 'x0'; it takes: sigma0, n_startup_trials"),
        ("optuna:CmaEsSampler(popsize='8')", "popsize is '8'; give a value of type int or None"),
        ("optuna:QMCSampler(qmc_type='sobel')", "Choose either `halton` or `sobol`"),
        ("optuna:NSGAIISampler(population_size=1)", "`population_size` must be greater than or equal to 2"),
        ("optuna:TPESampler(1)", "is no sampler; write a class of optuna.samplers, perhaps with arguments by their na"),
        ("optuna:TPESampler(multivariate=print(1))", "is no sampler; write a class of optuna.samplers"),
        ("optuna:TPESampler().x", "is no sampler; write a class of optuna.samplers"),
        ("optuna:\nTPESampler\n", "is no sampler; write a class of optuna.samplers"),
    ],
)
def test_what_no_study_can_have_is_refused_in_one_line(
    strategy: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(DefinitionError, match=re.escape(message)) as raised:
        small_study(strategy=strategy)
    assert "\n" not in str(raised.value)
    assert capsys.readouterr().out == ""


def test_a_sampler_whose_package_is_missing_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("cmaes")
    check_installed("optuna:CmaEsSampler(popsize=8)")
    monkeypatch.setattr("caviar.studies.search.optuna_classes.find_spec", lambda name: None)
    with pytest.raises(DefinitionError, match="optuna:CmaEsSampler needs the package cmaes; install it with: pip inst"):
        check_installed("optuna:CmaEsSampler(popsize=8)")
    check_installed("optuna:TPESampler")
    check_installed("tiered")
    assert small_study(strategy="optuna:CmaEsSampler").strategy == "optuna:CmaEsSampler"  # others can read it still


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("CmaEsSampler(popsize=0)", "popsize must be non-zero"),
        ("CmaEsSampler(popsize=1)", "invalid learning rate"),
        ("TPESampler(n_ei_candidates=0)", "IndexError"),
        ("TPESampler(prior_weight=-1.0)", "A non-negative value must be specified for prior_weight"),
    ],
)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_sampler_that_cannot_choose_is_found_before_the_first_trial(arguments: str, message: str) -> None:
    skip_without_package(arguments)
    with pytest.raises(DefinitionError, match=f"the strategy optuna:.* cannot choose any values: .*{message}"):
        check(small_study(strategy=f"optuna:{arguments}"))


@pytest.mark.parametrize("strategy", NAMED)
def test_every_other_sampler_passes_that_check(strategy: str) -> None:
    skip_without_package(strategy)
    check(small_study(strategy=strategy))
    check(objective_study("silent", strategy=strategy))


@pytest.mark.parametrize("name", [name for name in optuna.samplers.__all__ if name.endswith("Sampler")])
def test_every_sampler_can_be_named_or_has_a_reason(name: str) -> None:
    """A new version of Optuna's may have another one."""
    none = name in ("BaseSampler", "BaseGASampler")
    refused = name in ("BruteForceSampler", "GridSampler", "NSGAIIISampler", "PartialFixedSampler")
    message = "optuna.samplers has no" if none else "is no sampler for a study: it "
    with pytest.raises(DefinitionError, match=message) if none or refused else nullcontext():
        small_study(strategy=f"optuna:{name}")
