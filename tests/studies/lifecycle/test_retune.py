"""A study that is tuned again: its defaults, its prior, and its ranges."""

from __future__ import annotations

import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState, create_trial

from caviar.studies.definition import PriorTrial, Study, change, from_body, to_body
from caviar.studies.errors import DefinitionError
from caviar.studies.lifecycle.retune import retuned
from caviar.studies.search.plan import plan
from caviar.studies.search.sampler import TieredSampler
from caviar.studies.space.scales import Choice, Grid, Linear, Log, LogOneMinus, PowersOfTwo
from tests.helpers.studies import small_study
from tests.helpers.trials import made, noisy

optuna.logging.set_verbosity(optuna.logging.WARNING)


def searched(study: Study, budget: int) -> list[FrozenTrial]:
    """A whole search; best is a learning rate of 0.01."""
    program = optuna.create_study(sampler=TieredSampler(study), direction="maximize")
    for _ in range(budget):
        trial = program.ask(study.distributions())
        rate = study.scales()["learning_rate"].unit(trial.params["learning_rate"])
        program.tell(trial, 1 - (rate - 0.5) ** 2)
    return program.trials


def test_the_winner_comes_second_and_the_trials_are_the_prior() -> None:
    study = small_study(budget=30)
    trials = searched(study, 30)
    again = retuned(study, trials, name="again", seed=7, data=None)
    best = max(trials, key=lambda t: t.value or 0.0)
    assert abs(float(again.prior[0].values["learning_rate"]) / best.params["learning_rate"] - 1) < 0.5
    assert again.scales() == study.scales()
    assert (again.name, again.seed, again.data, again.budget) == ("again", 7, study.data, 30)
    assert len(again.prior) == 30
    assert min(known.loss for known in again.prior) == -(best.value or 0.0)
    assert from_body(to_body(again)) == again
    phases = [slot.phase for slot in plan(study)]
    assert [slot.phase for slot in plan(again)] == ["default", "prior", *phases[1:-1]]


@pytest.mark.parametrize("strategy", ["tiered", "classic", "random", "grid", "tpe", "optuna:CmaEsSampler"])
@pytest.mark.parametrize("budget", [4, 8, 15, 16, 40])
def test_every_plan_has_room_for_what_won_before(strategy: str, budget: int) -> None:
    study = small_study(strategy=strategy, budget=budget)
    known = PriorTrial(values={n: s.default for n, s in study.scales().items()}, loss=0.0).model_dump()
    slots = plan(change(study, prior=[known]))
    assert [slot.number for slot in slots] == list(range(budget))
    assert [slot.phase for slot in slots[:2]] == ["default", "prior"]
    assert {slot.tier for slot in slots[2:]} >= ({2, 3} if strategy == "classic" else set())
    with pytest.raises(DefinitionError, match="and the best of the prior another; give --budget 4 or more"):
        change(study, prior=[known], budget=3)


def test_of_many_trials_the_best_and_some_others_are_known() -> None:
    study = small_study()
    trials, _ = noisy(study, 0, count=300)
    prior = retuned(study, trials, name="again").prior
    losses = sorted(-(t.value or 0.0) for t in trials)
    assert 40 <= len(prior) <= 50
    assert sorted(known.loss for known in prior)[:25] == losses[:25]
    assert max(known.loss for known in prior) > losses[200]


def test_a_search_with_a_prior_is_where_the_old_one_was_after_a_few_trials() -> None:
    study = small_study(budget=30)
    again = retuned(study, searched(study, 30), name="again", seed=1)
    trials = searched(again, 12)
    rates = [again.scales()["learning_rate"].unit(t.params["learning_rate"]) for t in trials]
    assert trials[1].params == study_params(again, again.prior[0])
    assert sorted(int(4 * rate) for rate in [rates[0], *rates[2:5]]) == [0, 1, 2, 3]  # the whole range all the same
    assert all(abs(rate - 0.5) < 0.25 for rate in rates[8:])


def study_params(study: Study, known: PriorTrial) -> dict[str, object]:
    return {s.stored_name(n): s.to_stored(known.values[n]) for n, s in study.scales().items()}


def test_ranges_become_wider_as_their_scales_are() -> None:
    tiers = (
        {"learning_rate": Log(1e-3, 1, default=0.1)},
        {
            "momentum": LogOneMinus(0.9, 0.999, default=0.9), "hidden_units": Linear(50, 100, default=64),
            "batch_size": PowersOfTwo(32, 256, default=64), "dropout": Linear(0.0, 0.5, default=0.1),
        },
        {"layers": Grid(2, 3, 4, default=2), "activation": Choice("relu", "gelu", default="relu")},
    )  # fmt: skip
    study = small_study(tiers=tiers)
    trials = [made(study, i, 0.9, 0.5) for i in range(2)]
    wide = retuned(study, trials, name="wide", widen=["learning_rate", "momentum", "hidden_units", "batch_size",
                                                      "dropout", "layers"]).scales()  # fmt: skip
    told = {name: (scale.low, scale.high) for name, scale in wide.items() if not isinstance(scale, Grid | Choice)}
    assert told["learning_rate"] == pytest.approx((1e-4, 10))
    assert told["momentum"] == pytest.approx((0, 0.9999))
    assert told["hidden_units"] == (25, 125)
    assert told["batch_size"] == (8, 1024)
    assert told["dropout"] == (0, 0.75)
    assert wide["layers"].values == (1, 2, 3, 4, 5)  # type: ignore[union-attr]
    narrow = small_study(tiers=({"a": Linear(1, 2, default=1), "b": Linear(-1.0, 1.0, default=0.0)},))
    pair = [create_trial(value=0.5, params={"a": 1, "b": 0.0}, distributions=narrow.distributions())]
    wider = retuned(narrow, pair, name="wide", widen=["a", "b"]).scales()
    assert [(s.low, s.high) for s in wider.values() if isinstance(s, Linear)] == [(1, 3), (-2, 2)]
    assert wide["activation"] == study.scales()["activation"]
    with pytest.raises(DefinitionError, match="has no range to widen"):
        retuned(study, trials, name="wide", widen=["activation"])


def test_what_cannot_be_begun_with_is_said() -> None:
    study = small_study()
    with pytest.raises(DefinitionError, match="no trial of 'small' is complete"):
        retuned(study, [made(study, 0, None, 0.5, state=TrialState.FAIL)], name="again")
    with pytest.raises(DefinitionError, match="'rate' is not searched by 'small', which searches learning_rate"):
        retuned(study, [made(study, 0, 0.9, 0.5)], name="again", widen=["rate"])
    defaults = {n: s.default for n, s in study.scales().items()}
    for name, value in {"batch_size": 1024, "hidden_units": 500, "layers": 7, "learning_rate": 5.0}.items():
        known = PriorTrial(values={**defaults, name: value}, loss=0.0).model_dump()
        with pytest.raises(DefinitionError, match=f"{name} {value} of a prior trial is not of "):
            change(study, prior=[known])
    with pytest.raises(DefinitionError, match="a prior trial has learning_rate"):
        change(study, prior=[PriorTrial(values={"learning_rate": 0.1}, loss=0.0).model_dump()])
