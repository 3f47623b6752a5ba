"""What a report answers and draws, from facts that are made up."""

from __future__ import annotations

import json
from typing import Any

import pytest

from caviar.studies.results.report.answers import answers
from caviar.studies.results.report.facts import hyperparameter_facts
from caviar.studies.results.report.figures import figures, thinned
from caviar.studies.results.report.holdings import holdings
from caviar.studies.results.report.noise import noise_of
from caviar.studies.results.report.page import page
from caviar.studies.space.scales import Choice, Grid, Log, LogOneMinus, PowersOfTwo

EPOCHS = 20
HYPERPARAMETERS = [
    hyperparameter_facts("learning_rate", 1, Log(1e-4, 1, default=0.1)),
    hyperparameter_facts("momentum", 2, LogOneMinus(0.9, 0.999, default=0.9)),
    hyperparameter_facts("activation", 3, Choice("a", "b", default="a")),
]


def trial(number: int, value: float, unit: float = 0.5, state: str = "complete", **fields: Any) -> dict[str, Any]:
    rise = [[e, round(value * (1 - 0.3 * 0.5**e), 6)] for e in range(1, (EPOCHS if state == "complete" else 4) + 1)]
    made = {
        "trial": number, "tier": 1 + number % 3, "phase": "all", "state": state, "value": value, "violated": None,
        "epochs": len(rise), "seconds": 1.0, "attempts": 1, "worker": f"host:{number % 2}",
        "why_it_stopped": "finished",
        "hyperparameters": {"learning_rate": 10 ** (4 * unit - 4), "momentum": 0.99 + number / 1e6, "activation": "a"},
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
    zero = [hyperparameter_facts("learning_rate", 1, Log(1e-4, 1, default=0.1, or_zero=True))]
    none = trial(0, 0.9, 0.0)
    none["hyperparameters"]["learning_rate"] = 0.0
    assert said(facts([none], hyperparameters=zero), "edge")["command"] is None


def test_the_last_of_a_few_values_is_an_edge_where_there_may_be_more() -> None:
    few = hyperparameter_facts("batch_size", 1, PowersOfTwo(16, 256, default=64))
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
    longer = said(facts(rising), "still improve")
    assert longer["answer"].startswith("Yes: 5 of the best 5 do")
    assert longer["command"] == "caviar retune small --name small-longer --epochs 40"
    flat = [trial(i, 0.9, curve=[[e, 0.9 + 0.001 * (-1) ** e] for e in range(1, 21)]) for i in range(5)]
    assert said(facts(flat), "still improve")["answer"].startswith("No")
    still = [trial(i, 0.9, curve=[[e, 0.899 + 0.001 * (e > 15)] for e in range(1, 21)]) for i in range(5)]
    assert said(facts(still), "still improve")["answer"].startswith("No: 0 of the best 5 do")  # a third of an example
    assert said(facts(still), "still improve")["command"] is None


def test_overfitting_is_seen_in_the_validation_loss() -> None:
    bowl = [[0.1, abs(e - 8) / 10 + 0.2] for e in range(1, 21)]
    shorter = said(facts([trial(i, 0.9, losses=bowl) for i in range(5)]), "overfit")
    assert "around epoch 8" in shorter["answer"]
    assert shorter["command"] == "caviar retune small --name small-shorter --epochs 8"
    late = [[0.1, 0.5 if e == 20 else 1 / e] for e in range(1, 21)]
    assert said(facts([trial(i, 0.9, losses=late) for i in range(5)]), "overfit")["command"] is None
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
    within = said(made, "runner-up")
    assert "cannot be told" in within["answer"]
    assert "359 validation examples" in within["answer"]
    assert within["command"] == "caviar best small --confirm 5"
    ahead = said(facts([trial(0, 0.9), trial(1, 0.6)]), "runner-up")
    assert "seems so" in ahead["answer"]
    assert ahead["command"] == "caviar best small --confirm 5"
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


def test_without_any_noise_to_be_seen_nothing_is_told() -> None:
    """Two epochs, and a loss: neither the curves nor the validation set say how much a training varies."""
    made = facts([trial(i, 0.3, curve=[[1, 0.4], [2, 0.3]]) for i in range(6)])
    made["study"] |= {"metric": "loss", "direction": "minimize"}
    for question in ("runner-up", "enough points"):
        found = said(made, question)
        assert found["answer"].startswith("It cannot be told")
        assert found["command"] == "caviar best small --confirm 5"
    flat = facts([trial(i, 0.3, curve=[[e, 0.3] for e in range(1, 21)]) for i in range(6)])
    flat["study"] |= {"metric": "loss", "direction": "minimize"}
    assert said(flat, "still improve")["answer"].startswith("It cannot be told")


def test_noise_is_what_trainings_again_show_else_at_least_that_of_the_validation_set() -> None:
    alike = [trial(i, 0.9 + i / 1000, 0.5) for i in range(5)]
    for t in alike:
        t["hyperparameters"] = alike[0]["hyperparameters"]
    repeated = noise_of(facts(alike), alike)
    assert repeated is not None
    assert repeated.deviation == pytest.approx(0.00158, rel=0.01)
    assert (few := noise_of(facts(alike[:2]), alike[:2])) is not None
    assert few.deviation > 0.01  # two that came near one another do not say that all would
    made = facts([trial(0, 0.9), trial(1, 0.899)])
    assert (bound := noise_of(made, made["trials"])) is not None
    assert bound.deviation == pytest.approx((0.9 * 0.1 / 359) ** 0.5)
    made["winner"]["confirmation"] = {"winner_values": [0.88, 0.9, 0.92], "runner_up_values": [0.87, 0.89, 0.91]}
    assert (confirmed := noise_of(made, made["trials"])) is not None
    assert confirmed.deviation == pytest.approx(0.02)
    made["winner"]["confirmation"] = {"winner_values": [0.9, 0.9], "runner_up_values": [0.9, 0.9]}
    assert noise_of(made, made["trials"]) == bound  # two that came to the same do not say that all would
    all_right = [trial(0, 1.0, curve=[[e, 1.0] for e in range(1, 21)])]
    assert (least := noise_of(facts(all_right), all_right)) is not None
    assert least.deviation > 0


def test_a_winner_at_an_end_that_cannot_be_widened_is_at_an_edge() -> None:
    listed = hyperparameter_facts("layers", 1, Grid(2, 3, 8, default=2))
    made = trial(0, 0.9)
    made["hyperparameters"]["layers"], made["units"]["layers"] = 2, 0.1
    found = said(facts([made], hyperparameters=[listed]), "edge")
    assert found["answer"].startswith("Yes: layers (2, the lower end of one of 2, 3, 8)")
    assert "name more values in a study's file" in found["answer"]
    assert found["command"] is None
    least = {**listed, "room": [False, True], "first": 2}
    assert "nothing lies beyond" in said(facts([made], hyperparameters=[least]), "edge")["answer"]
    wide = trial(0, 0.9, 0.99)
    wide["hyperparameters"]["layers"], wide["units"]["layers"] = 2, 0.1
    both = said(facts([wide], hyperparameters=[HYPERPARAMETERS[0], listed]), "edge")
    assert "better values may lie beyond; layers" in both["answer"]
    assert both["command"] == "caviar retune small --name small-wider --widen learning_rate"
    assert said(facts([trial(0, 0.9)]), "edge")["answer"].startswith("No")  # the first of a few names is no edge


def test_one_trial_that_diverged_far_away_does_not_stand_for_all() -> None:
    fine = [trial(i, 0.9, 0.05 + i / 20) for i in range(12)]
    bad = [trial(12 + i, 0.1, unit, violated="diverged") for i, unit in enumerate((0.0, 0.9, 0.92, 0.95, 0.99))]
    found = said(facts(fine + bad), "diverged")["answer"]
    assert "5 of 17 (29%), most of all where learning_rate is large: 4 of these have 0.3981 or more" in found
    assert "of the 12 others 0" in found


def held(
    t: dict[str, Any], *events: tuple[float, str, str], now: float = 99.0
) -> list[tuple[str | None, float, float, str]]:
    told = [{"at": at, "kind": kind, "trial": t["trial"], "worker": who, "detail": {}} for at, kind, who in events]
    return [(h["worker"], h["began"], h["ended"], h["end"]) for h in holdings([t], told, now)]


def test_a_trial_is_shown_with_each_worker_that_held_it() -> None:
    made = trial(0, 0.9, began=1.0, ended=9.0, worker="b:2")
    assert held(made) == [("b:2", 1.0, 9.0, "complete")]
    assert held(made, (4.0, "worker died", "a:1"), (6.0, "taken over", "b:2")) == [
        ("a:1", 1.0, 4.0, "lost"), ("b:2", 6.0, 9.0, "complete"),
    ]  # fmt: skip
    assert held(made, (0.5, "lease expired", "a:1")) == [("b:2", 1.0, 9.0, "complete")]  # before it had a trial
    assert held(made, (2.0, "lease expired", "b:2"), (3.0, "lease taken again", "b:2")) == [
        ("b:2", 1.0, 2.0, "lost"), ("b:2", 3.0, 9.0, "complete"),
    ]  # fmt: skip
    waits = trial(0, 0.9, state="running", began=1.0, ended=None, worker="a:1")
    assert held(waits) == [("a:1", 1.0, 99.0, "running")]
    assert held(waits, (4.0, "given back", "a:1")) == [("a:1", 1.0, 4.0, "given back")]
    gone = trial(0, 0.1, state="abandoned", began=1.0, ended=4.0, worker="a:1")
    assert held(gone, (4.0, "lease expired", "a:1"), (4.0, "abandoned", "")) == [("a:1", 1.0, 4.0, "lost")]


def test_the_timeline_has_both_workers_of_a_trial_that_was_taken_over() -> None:
    events = [
        {"at": 1.0, "kind": "lease expired", "trial": 0, "worker": "dead:1", "detail": {}},
        {"at": 1.0, "kind": "taken over", "trial": 0, "worker": "host:0", "detail": {}},
    ]
    drawn = figures(facts([trial(0, 0.9)], events=events))["timeline"]["data"]
    assert [(trace["name"], trace["y"]) for trace in drawn] == [
        ("complete", ["host:0"]), ("lost", ["dead:1"]), ("lost", ["dead:1"]), ("taken over", ["host:0"]),
    ]  # fmt: skip


def test_the_tiers_are_shaded_over_trials_epochs_and_time_as_they_ended() -> None:
    trials = [trial(0, 0.9, tier=1), trial(1, 0.9, tier=1), trial(2, 0.9, tier=2)]
    trials[1]["ended"], trials[2]["ended"] = 7.0, 5.0  # the second one ended last
    shapes = figures(facts(trials))["best so far"]["layout"]["shapes"]
    spans = {axis: [(s["x0"], s["x1"]) for s in shapes if s["xref"] == axis] for axis in ("x", "x2", "x3")}
    assert spans == {
        "x": [(0.0, 1), (1, 2), (2, 3)], "x2": [(0.0, 20), (20, 40), (40, 60)],
        "x3": [(0.0, 2.0), (2.0, 5.0), (5.0, 7.0)],
    }  # fmt: skip
    assert len({s["fillcolor"] for s in shapes}) == 2


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
