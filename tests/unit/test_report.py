"""What a report answers and draws, from facts that are made up."""

from __future__ import annotations

import json
from typing import Any

import pytest

from studies.report.answers import answers
from studies.report.figures import figures, thinned
from studies.report.page import page

EPOCHS = 20
HYPERPARAMETERS = [
    {"name": "learning_rate", "tier": 1, "scale": "1e-4 … 1, log", "discrete": False, "room": [True, True],
     "first": 1e-4, "last": 1.0, "kind": "log", "low": 1e-4,
     "high": 1.0, "or_zero": False},
    {"name": "momentum", "tier": 2, "scale": "0.9 … 0.999", "discrete": False, "room": [True, True],
     "first": 0.9, "last": 0.999, "kind": "log_one_minus", "low": 0.9,
     "high": 0.999},
    {"name": "activation", "tier": 3, "scale": "one of a, b", "discrete": True, "room": [False, False],
     "first": "a", "last": "b", "kind": "choice", "values": ["a", "b"]},
]  # fmt: skip


def trial(number: int, value: float, unit: float = 0.5, state: str = "complete", **fields: Any) -> dict[str, Any]:
    rise = [[e, round(value * (1 - 0.3 * 0.5**e), 6)] for e in range(1, (EPOCHS if state == "complete" else 4) + 1)]
    made = {
        "trial": number, "tier": 1 + number % 3, "phase": "all", "state": state, "value": value, "violated": None,
        "epochs": len(rise), "seconds": 1.0, "attempts": 1, "worker": f"host:{number % 2}",
        "why_it_stopped": "finished",
        "hyperparameters": {"learning_rate": 10 ** (4 * unit - 4), "momentum": 0.9, "activation": "a"},
        "units": {"learning_rate": unit, "momentum": 0.5, "activation": 0.25}, "began": float(number),
        "ended": float(number) + 2, "curve": rise, "losses": [[0.5 / e, 0.6 / e] for e, _ in rise], "zoom": None,
    }  # fmt: skip
    return {**made, **fields}


def facts(trials: list[dict[str, Any]], winner: int = 0, **fields: Any) -> dict[str, Any]:
    made = {
        "study": {"name": "small", "model": "mlp", "data": "digits", "metric": "accuracy", "direction": "maximize",
                  "epochs": EPOCHS, "budget": len(trials), "seed": 0, "strategy": "tiered", "pruner": "pace",
                  "state": "done", "prior": 0},
        "hyperparameters": HYPERPARAMETERS,
        "winner": {"trial": winner, "tier": 1, "phase": "all", "value": trials[winner]["value"], "study": "small",
                   "expected": None, "confirmation": None,
                   "validation": {"accuracy": trials[winner]["value"], "loss": 0.1}, "test": None,
                   "hyperparameters": trials[winner]["hyperparameters"]},
        "runner_up": 1 - winner if len(trials) > 1 and winner < 2 else None,
        "cost": {"done": len(trials), "complete": len(trials), "pruned": 0, "failed": 0, "diverged": 0, "abandoned": 0,
                 "epochs": 10, "epochs_planned": 20, "training_seconds": 1.0, "wall_seconds": 9.0,
                 "workers": 2, "hosts": 1},
        "trials": trials, "importance": None, "events": [], "provenance": [], "machines": ["host (cpu)"], "now": 99.0,
    }  # fmt: skip
    made.update(fields)
    return made


def said(of: dict[str, Any], question: str) -> dict[str, Any]:
    (found,) = [a for a in answers(of) if question in a["question"]]
    return found


def test_without_a_winner_only_the_divergence_is_told() -> None:
    (only,) = answers(facts([trial(0, 0.1, violated="diverged")], winner=0) | {"winner": None})
    assert "1 of 1 (100%)" in only["answer"]
    made = facts([trial(0, 0.9)]) | {"winner": None}
    made["cost"]["done"] = 0
    assert answers(made) == []


@pytest.mark.parametrize(("unit", "side"), [(0.01, "lower"), (0.99, "upper"), (0.5, None)])
def test_a_winner_at_the_edge_is_told_with_the_range_to_widen(unit: float, side: str | None) -> None:
    found = said(facts([trial(i, 0.9 - i / 100, unit) for i in range(6)]), "edge")
    assert (found["command"] == "caviar retune small --name small-wider --widen learning_rate") is bool(side)
    assert (f"the {side} end" in found["answer"]) is bool(side)


def test_a_decay_of_zero_is_no_edge() -> None:
    zero = [{**HYPERPARAMETERS[0], "or_zero": True}]
    none = trial(0, 0.9, 0.0)
    none["hyperparameters"]["learning_rate"] = 0.0
    assert said(facts([none], hyperparameters=zero), "edge")["command"] is None


def test_the_last_of_a_few_values_is_an_edge_where_there_may_be_more() -> None:
    few = {**HYPERPARAMETERS[0], "name": "batch_size", "discrete": True, "first": 16, "last": 256}
    made = trial(0, 0.9)
    made["hyperparameters"]["batch_size"], made["units"]["batch_size"] = 256, 0.9
    found = said(facts([made], hyperparameters=[few]), "edge")
    assert found["command"] == "caviar retune small --name small-wider --widen batch_size"
    no_room = {**few, "room": [True, False]}
    assert said(facts([made], hyperparameters=[no_room]), "edge")["command"] is None


def test_where_few_are_as_good_as_the_best_more_trials_are_offered() -> None:
    lonely = said(facts([trial(i, 0.99 if i == 0 else 0.7) for i in range(12)]), "enough points")
    assert lonely["command"] == "caviar extend small --budget 24"
    assert said(facts([trial(i, 0.99) for i in range(12)]), "enough points")["command"] is None
    begun = facts([trial(0, 0.99)])
    begun["study"]["state"] = "running"
    assert said(begun, "enough points")["command"] == "caviar run small"


def test_diverged_trials_are_counted_and_found() -> None:
    trials = [trial(i, 0.9, 0.4) for i in range(8)] + [trial(8 + i, 0.1, 0.95, violated="diverged") for i in range(3)]
    found = said(facts(trials), "diverged")["answer"]
    assert "3 of 11 (27%)" in found
    assert "learning_rate is large" in found
    assert "None of 8" in said(facts(trials[:8]), "diverged")["answer"]


def test_curves_that_still_improve_and_curves_that_are_flat() -> None:
    rising = [trial(i, 0.9, curve=[[e, 0.04 * e] for e in range(1, 21)]) for i in range(5)]
    assert "epochs=40" in said(facts(rising), "still improve")["answer"]
    flat = [trial(i, 0.9, curve=[[e, 0.9 + 0.001 * (-1) ** e] for e in range(1, 21)]) for i in range(5)]
    assert said(facts(flat), "still improve")["answer"].startswith("No")


def test_overfitting_is_seen_in_the_validation_loss() -> None:
    bowl = [[0.1, abs(e - 8) / 10 + 0.2] for e in range(1, 21)]
    assert "around epoch 8" in said(facts([trial(i, 0.9, losses=bowl) for i in range(5)]), "overfit")["answer"]
    assert said(facts([trial(i, 0.9) for i in range(5)]), "overfit")["answer"].startswith("No")
    assert "too short" in said(facts([trial(0, 0.9, losses=[[1.0, 1.0]])]), "overfit")["answer"]


def test_a_runner_up_within_what_is_expected_cannot_be_told_from_the_winner() -> None:
    near, far = [trial(0, 0.9), trial(1, 0.899)], [trial(0, 0.9), trial(1, 0.6)]
    expected = {"value": 0.89, "low": 0.88, "high": 0.9}
    made = facts(near)
    made["winner"]["expected"] = expected
    assert "cannot be told" in said(made, "runner-up")["answer"]
    made = facts(far)
    made["winner"]["expected"] = expected
    assert "seems so" in said(made, "runner-up")["answer"]
    made = facts([trial(0, 0.9), trial(1, 0.95)])
    made["winner"]["expected"] = expected
    assert "Not by its value" in said(made, "runner-up")["answer"]


def test_a_lead_within_the_noise_is_to_be_confirmed_and_what_was_confirmed_is_told() -> None:
    made = facts([trial(0, 0.9), trial(1, 0.899)])
    assert said(made, "runner-up")["command"] is None  # the curves are smooth: the lead is no noise
    made["winner"]["expected"] = {"value": 0.89, "low": 0.88, "high": 0.9}
    assert said(made, "runner-up")["command"] == "caviar best small --confirm 5"
    made["winner"]["confirmation"] = {
        "runner_up": 1, "winner_values": [0.9] * 5, "runner_up_values": [0.8] * 5, "winner_mean": 0.9,
        "runner_up_mean": 0.8, "better_by": 0.1, "low": 0.05, "high": 0.15, "verdict": "better", "study": "small",
    }  # fmt: skip
    assert said(made, "runner-up")["answer"].startswith("Yes: trained again 5 times each")
    assert said(made, "runner-up")["command"] is None
    assert "+0.0500 to +0.1500" in page({**made, "answers": answers(made)})
    made["winner"]["confirmation"] |= {"low": None, "high": None, "verdict": "open"}
    assert said(made, "runner-up")["answer"].startswith("It cannot be told: trained again 5 times each")
    assert "by fresh trainings of both" not in page({**made, "answers": answers(made)})
    running = facts([trial(0, 0.9), trial(1, 0.95)])
    running["study"]["state"] = "running"
    assert said(running, "runner-up")["command"] is None


def test_every_figure_has_its_points() -> None:
    trials = [trial(i, 0.9 - i / 100, i / 20) for i in range(20)]
    trials += [trial(20 + i, 0.5, 0.1, state="pruned") for i in range(4)]
    trials[5]["zoom"] = {"learning_rate": [0.001, 0.1], "momentum": [0.91, 0.99]}
    drawn = figures(facts(trials))
    json.dumps(drawn, allow_nan=False)
    points = sum(sum(y is not None for y in trace["y"]) for trace in drawn["curves"]["data"])
    assert points == 20 * EPOCHS + 4 * 4
    for trace in drawn["hyperparameters"]["data"][: len(HYPERPARAMETERS)]:
        assert len(trace["x"]) == len(trace["y"]) == 24
    assert drawn["hyperparameters"]["data"][1]["x"][0] == pytest.approx(0.1)  # 1 - momentum
    assert any(trace.get("fill") for trace in drawn["hyperparameters"]["data"])
    assert drawn["best so far"]["data"][0]["y"][-1] == 0.9
    assert sum(len(trace["x"]) for trace in drawn["timeline"]["data"]) == 24
    assert len(drawn["parallel coordinates"]["data"][0]["dimensions"]) == 4


def test_of_many_curves_the_best_and_some_others_are_drawn() -> None:
    trials = [trial(i, i / 10000) for i in range(5000)]
    drawn = thinned(facts(trials, winner=4999))
    assert 250 <= len(drawn) <= 300
    assert {t["trial"] for t in drawn} >= set(range(4900, 5000))


def test_the_page_asks_no_network_and_holds_whatever_names_there_are() -> None:
    evil = "</script><script>alert(1)</script>"
    made = facts([trial(i, 0.9, why_it_stopped=evil, worker=evil) for i in range(3)])
    made["study"]["name"] = evil
    text = page({**made, "answers": answers(made)})
    assert evil not in text
    assert "default-src 'none'" in text
    assert "<script src=" not in text
    assert "<link" not in text
