"""What is said to have mattered is what did, and where the trials cannot tell, nothing is said."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState, create_trial

from caviar.studies.definition import Study
from caviar.studies.results.importance import ENOUGH, Importances, importances
from caviar.studies.space.scales import Choice, Log
from tests.helpers.studies import small_study

STUDY = small_study(metric="loss", direction="minimize")
Loss = Callable[[dict[str, float], np.random.Generator], float]  # of places on [0, 1]


def trials(
    loss: Loss, count: int = 40, study: Study = STUDY, at: Callable[[dict[str, float]], dict[str, float]] = dict
) -> list[FrozenTrial]:
    """Return complete trials at random places, with a loss of those places."""
    rng = np.random.default_rng(0)
    found = []
    for _ in range(count):
        places = at({name: float(rng.random()) for name in study.scales()})
        stored = {s.stored_name(n): s.to_stored(s.value(places[n])) for n, s in study.scales().items()}
        found.append(
            create_trial(state=TrialState.COMPLETE, value=loss(places, rng), params=stored,
                         distributions=study.distributions())
        )  # fmt: skip
    for number, trial in enumerate(found):
        trial.number = number
    return found


def by_name(found: Importances | None) -> dict[str, float]:
    assert found is not None
    return {one.name: one.share for one in found.hyperparameters}


def test_what_decides_alone_has_nearly_all_of_it_and_the_order_held() -> None:
    found = importances(STUDY, trials(lambda u, _: (u["learning_rate"] - 0.6) ** 2 + 0.02 * u["momentum"]))
    shares = by_name(found)
    assert shares["learning_rate"] > 0.8
    assert max(share for name, share in shares.items() if name != "learning_rate") < 0.1
    assert found is not None
    assert found.hyperparameters[0].name == "learning_rate"  # the most important first
    assert (found.orders[0].tier, found.orders[0].after, found.orders[0].verdict) == (1, 2, "held")


def test_where_a_late_tier_decides_the_order_did_not_hold() -> None:
    found = importances(STUDY, trials(lambda u, _: u["layers"] + 0.02 * u["learning_rate"]))
    assert by_name(found)["layers"] > 0.7
    assert found is not None
    assert [(order.tier, order.verdict) for order in found.orders] == [(1, "open"), (2, "reversed")]


def test_where_nothing_matters_nothing_is_said() -> None:
    found = importances(STUDY, trials(lambda _, rng: float(rng.normal())))
    assert found is not None
    assert [order.verdict for order in found.orders] == ["open", "open"]
    assert max(one.low for one in found.hyperparameters) < 0.5


def test_two_that_decide_as_much_have_as_much() -> None:
    shares = by_name(importances(STUDY, trials(lambda u, _: u["learning_rate"] + u["momentum"], 60)))
    assert shares["learning_rate"] == pytest.approx(0.5, abs=0.12)
    assert shares["momentum"] == pytest.approx(0.5, abs=0.12)


def test_what_decides_only_together_is_nobodys() -> None:
    shares = by_name(importances(STUDY, trials(lambda u, _: (u["learning_rate"] - 0.5) * (u["momentum"] - 0.5), 80)))
    assert sum(shares.values()) < 0.5


def test_the_interval_holds_the_share_and_the_same_trials_say_the_same() -> None:
    seen = trials(lambda u, rng: u["learning_rate"] + 0.1 * float(rng.normal()))
    found = importances(STUDY, seen)
    assert found == importances(STUDY, seen)
    assert found is not None
    assert all(0 <= one.low <= one.high <= 1 for one in found.hyperparameters)


def test_of_what_was_not_varied_nothing_is_said() -> None:
    def at_default(places: dict[str, float]) -> dict[str, float]:
        return {**places, "layers": 0.1, "decay": 0.0}

    found = importances(STUDY, trials(lambda u, _: u["learning_rate"], at=at_default))
    assert found is not None
    assert {one.name for one in found.hyperparameters if not one.varied} == {"layers", "decay"}
    assert (found.orders[1].verdict, found.orders[1].sure) == ("open", 0.5)


def test_a_choice_of_many_names_can_decide() -> None:
    names = [f"n{number}" for number in range(9)]
    tiers = ({"learning_rate": Log(1e-4, 1, default=0.1)}, {"act": Choice(*names, default="n0")})
    study = small_study(metric="loss", direction="minimize", tiers=tiers)
    found = importances(study, trials(lambda u, _: float(int(u["act"] * 9) % 3), 60, study))
    assert by_name(found)["act"] > 0.7


def test_too_few_trials_and_those_that_all_came_to_the_same_say_nothing() -> None:
    assert importances(STUDY, trials(lambda u, _: u["learning_rate"], ENOUGH - 1)) is None
    assert importances(STUDY, trials(lambda *_: 1.0)) is None
    assert importances(STUDY, optuna.create_study().trials) is None
