"""What more trials would bring: an interval that holds, and the rule by which a search ends."""

from __future__ import annotations

import numpy as np
import optuna
import pytest
from optuna.trial import TrialState

from caviar.studies.errors import DefinitionError
from caviar.studies.search.expectation import winner_of
from caviar.studies.search.noise import Basis, Noise
from caviar.studies.search.prospect import Prospect, prospect_of
from caviar.studies.search.sampler import TieredSampler
from caviar.studies.search.until import check_until, is_reached
from caviar.studies.space.scales import Linear
from tests.helpers.studies import small_study
from tests.helpers.trials import made, noisy

optuna.logging.set_verbosity(optuna.logging.WARNING)
LOSS = {"metric": "loss", "direction": "minimize"}


def searched(seed: int, noise: float, trials: int) -> tuple[optuna.Study, list[float]]:
    """A search of a bowl of three hyperparameters, and the true loss of each trial."""
    axes = {name: Linear(0.0, 1.0, default=0.1) for name in ("a", "b", "c")}
    study = small_study(name="bowl", budget=trials, tiers=(axes,), seed=seed, **LOSS)
    program, rng, truth = optuna.create_study(sampler=TieredSampler(study)), np.random.default_rng(seed), []
    for _ in range(trials):
        trial = program.ask(study.distributions())
        truth.append(1 + sum((value - 0.6) ** 2 for value in study.trained(trial.params).values()))
        program.tell(trial, truth[-1] + noise * rng.normal())
    return program, truth


def test_what_40_more_trials_bring_is_in_the_interval() -> None:
    held, ends = [], []
    for seed in range(6):
        program, truth = searched(seed, 0.02, 80)
        study = small_study(name="bowl", budget=80, tiers=program.sampler._definition.tiers, seed=seed, **LOSS)
        for count in (20, 40):
            now, later = (winner_of(study, program.trials[:n]) for n in (count, count + 40))
            prospect = prospect_of(study, program.trials[:count])
            assert now is not None
            assert later is not None
            assert prospect is not None
            held.append(prospect.low <= truth[now.trial] - truth[later.trial] <= prospect.high)
            ends.append(prospect.high - prospect.low)
            assert prospect.gain >= 0
            assert 0.005 < prospect.noise.deviation < 0.05
    assert sum(held) >= 10  # of 12
    assert np.mean(ends) < 0.1  # of a loss that goes from 1 to 2


def test_less_is_expected_of_fewer_trials_and_of_a_search_that_is_near_its_end() -> None:
    program, _ = searched(0, 0.0, 60)
    study = small_study(name="bowl", budget=60, tiers=program.sampler._definition.tiers, **LOSS)
    early, late = (prospect_of(study, program.trials[:count]) for count in (20, 60))
    few = prospect_of(study, program.trials[:20], 3)
    assert early is not None
    assert late is not None
    assert few is not None
    assert late.gain < early.gain
    assert late.high < early.high
    assert few.gain <= early.gain
    assert (few.trials, early.trials) == (3, 40)
    assert prospect_of(study, program.trials[:20]) == early  # it depends on its trials alone


def test_nothing_is_said_with_few_trials_and_no_gain_passes_what_the_metric_can_be() -> None:
    study = small_study()
    few, _ = noisy(study, 0, count=19)
    assert prospect_of(study, few) is None
    assert prospect_of(study, [made(study, i, 0.9, i / 29) for i in range(30)]) is None
    good = [made(study, i, 0.99 + 0.009 * np.sin(i / 5), i / 39) for i in range(40)]
    winner, prospect = winner_of(study, good), prospect_of(study, good)
    assert winner is not None
    assert winner.value is not None
    assert prospect is not None
    assert winner.value + prospect.high <= 1


@pytest.mark.parametrize(
    ("rule", "high", "reached"),
    [
        ("budget", 0.0, False), ("gain < noise", 0.019, True), ("gain < noise", 0.021, False),
        ("gain<0.001", 0.0009, True), ("gain < 1e-3", 0.002, False), ("gain < .5", 0.4, True),
    ],
)  # fmt: skip
def test_the_rule_is_about_the_upper_end_of_the_gain(rule: str, high: float, reached: bool) -> None:
    check_until(rule)
    prospect = Prospect(trials=40, gain=0.0, low=-high, high=high, noise=Noise(0.02, Basis.MODEL))
    assert is_reached(rule, prospect) == reached


@pytest.mark.parametrize("rule", ["", "gain", "gain < 0", "gain < -1", "gain > noise", "noise < gain", "gain < nan"])
def test_a_rule_that_is_none_is_refused_with_those_that_are(rule: str) -> None:
    with pytest.raises(DefinitionError, match=r"'gain < noise'.*given "):
        small_study(until=rule)


def test_pruned_trials_are_no_noise_and_nothing_is_expected_that_cannot_be() -> None:
    """A quarter of the trials is complete; the others were pruned with the loss of an early epoch, many times as high,
    and some of them are next to the best."""
    study, rng = small_study(train="tune:train", model=None, data=None, **LOSS), np.random.default_rng(0)
    trials = []
    for number in range(40):
        unit = rng.random()
        loss = 0.15 + 0.3 * (unit - 0.5) ** 2 + 0.005 * rng.normal()
        early = {"state": TrialState.PRUNED, "intermediate_values": {1: 1.2 + 0.3 * rng.random()}}
        trials.append(made(study, number, None if number % 4 else loss, unit, **(early if number % 4 else {})))
    winner, prospect = winner_of(study, trials), prospect_of(study, trials)
    assert winner is not None
    assert prospect is not None
    assert winner.low is not None
    assert winner.high is not None
    assert 0.1 < winner.low < winner.high < 0.25
    assert prospect.noise.deviation < 0.05
    assert prospect.high < 0.1
