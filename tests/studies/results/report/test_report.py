"""The answers and figures of a report, of trials that are made up."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from caviar.studies.results.confirmation import Comparison, Confirmation
from caviar.studies.results.importance import Importance, Importances, OrderVerdict, TierOrder
from caviar.studies.results.report.answers import answers
from caviar.studies.results.report.figures import figures, thinned
from caviar.studies.results.report.holdings import holdings
from caviar.studies.results.report.page import page
from caviar.studies.results.report.records import (
    Answer,
    Report,
    ReportedEvent,
    ReportedHyperparameter,
    ReportedTrial,
)
from caviar.studies.results.report.style import NEUTRAL, TIER_COLOURS, WINNER
from caviar.studies.results.summaries import StudyState
from caviar.studies.results.winner import Interval
from caviar.studies.search.noise import Basis, Noise
from caviar.studies.search.prospect import Prospect
from caviar.studies.space.scales import Grid, Log, LogOneMinus, PowersOfTwo
from tests.helpers.reports import EPOCHS, HYPERPARAMETERS, curve, losses, report, trained_with, trial, won_by


def answered(of: Report) -> Report:
    return replace(of, answers=tuple(answers(of)))


def said(of: Report, question: str) -> Answer:
    (found,) = [a for a in answers(of) if question in a.question]
    return found


def test_without_a_winner_only_the_divergence_is_told() -> None:
    (only,) = answers(replace(report([trial(0, 0.1, violated="diverged")]), winner=None))
    assert "1 of 1 (100%)" in only.answer
    nothing = report([trial(0, 0.9)])
    assert answers(replace(nothing, winner=None, cost=replace(nothing.cost, done=0))) == []


@pytest.mark.parametrize(("unit", "side"), [(0.01, "lower"), (0.99, "upper"), (0.5, None)])
def test_a_winner_at_the_edge_is_told_with_the_range_to_widen(unit: float, side: str | None) -> None:
    found = said(report([trial(i, 0.9 - i / 100, unit) for i in range(6)]), "edge")
    assert (found.command == "caviar retune small --name small-wider --widen learning_rate") is bool(side)
    assert (f"the {side} end" in found.answer) is bool(side)


def test_a_default_at_an_end_of_its_range_is_no_edge_by_being_kept() -> None:
    least = ReportedHyperparameter("momentum", 2, LogOneMinus(0.9, 0.999, default=0.9))
    kept = said(report([trained_with(trial(0, 0.9), "momentum", 0.9, 0.0)], hyperparameters=(least,)), "edge")
    assert kept.answer.startswith("No: momentum (0.9) at the default, which is an end of the range; every other")
    assert kept.command is None
    found = said(report([trained_with(trial(0, 0.9), "momentum", 0.901, 0.0)], hyperparameters=(least,)), "edge")
    assert found.command == "caviar retune small --name small-wider --widen momentum"


def test_what_may_be_noise_decided_nothing() -> None:
    shares = (Importance("learning_rate", 1, 0.06, 0.0, 0.07, True), Importance("momentum", 2, 0.0, 0.0, 0.02, True))
    orders = (TierOrder(1, 2, OrderVerdict.OPEN, 0.87),)
    of_noise = said(report([trial(0, 0.9)], importance=Importances(20, shares, orders)), "mattered")
    assert of_noise.answer == "It is not clear: the largest share of the variation is learning_rate's (6%, 0% to 7%)."
    shares = (Importance("learning_rate", 1, 0.6, 0.5, 0.7, True), *shares[1:])
    told = said(report([trial(0, 0.9)], importance=Importances(20, shares, orders)), "mattered")
    assert told.answer.endswith("tier 1 or tier 2? These trials cannot tell.")


def test_a_decay_of_zero_is_no_edge() -> None:
    zero = ReportedHyperparameter("learning_rate", 1, Log(1e-4, 1, default=0.1, or_zero=True))
    none = trained_with(trial(0, 0.9), "learning_rate", 0.0, 0.0)
    assert said(report([none], hyperparameters=(zero,)), "edge").command is None


def test_the_last_of_a_few_values_is_an_edge_where_there_may_be_more() -> None:
    few = ReportedHyperparameter("batch_size", 1, PowersOfTwo(16, 256, default=64))
    made = trained_with(trial(0, 0.9), "batch_size", 256, 0.9)
    found = said(report([made], hyperparameters=(few,)), "edge")
    assert found.command == "caviar retune small --name small-wider --widen batch_size"


def test_where_few_are_as_good_as_the_best_more_trials_are_offered() -> None:
    lonely = said(report([trial(i, 0.99 if i == 0 else 0.7) for i in range(12)]), "enough points")
    assert lonely.command == "caviar extend small --budget 24"
    assert said(report([trial(i, 0.99) for i in range(12)]), "enough points").command is None


@pytest.mark.parametrize(
    ("gain", "high", "begins", "why"),
    [
        (0.0, 0.017, "Probably: ", ""),
        (0.0008, 0.017, "Probably: ", ""),
        (0.001, 0.017, "Perhaps not: ", "+0.001 is expected, up to +0.017"),
        (0.001, 0.009, "Yes: ", ""),
    ],
)
def test_more_trials_are_advised_only_where_a_tenth_of_the_noise_is_expected_of_them(
    gain: float, high: float, begins: str, why: str
) -> None:
    trials = [trial(i, 0.9) for i in range(5)]
    prospect = Prospect(40, gain, -0.01, high, Noise(0.01, Basis.MODEL))
    made = replace(report(trials), winner=won_by(trials[0], prospect=prospect))
    found = said(made, "enough points")
    assert found.answer.startswith(begins)
    assert found.command == ("caviar extend small --budget 45" if why else None)
    assert found.why == why


def test_before_the_end_nothing_is_judged_that_later_phases_change() -> None:
    edge = [trial(i, 0.9, 0.99, curve=curve(*(0.04 * e for e in range(1, 21)))) for i in range(5)]
    begun = report(edge, study={"state": StudyState.RUNNING, "budget": 40})
    first, *others = answers(begun)
    assert first.answer.startswith("5 of 40 trials have ended")
    assert first.command is None  # what to do next says it
    assert not any(
        question in a.question for a in others for question in ("edge", "enough points", "runner-up", "order")
    )
    assert said(begun, "long enough").answer.startswith(
        "No: from the third quarter of their epochs to the last the best 5 became better by 0.2"
    )
    assert "Train longer" not in said(begun, "long enough").answer  # no trial of this study can
    assert "Train longer" in said(report(edge), "long enough").answer
    assert not any(a.command for a in others)
    assert "Best so far: trial 0" in page(answered(begun))
    assert "The winner: trial 0" in page(answered(report(edge)))


def test_diverged_trials_are_counted_and_found() -> None:
    trials = [trial(i, 0.9, 0.4) for i in range(8)] + [trial(8 + i, 0.1, 0.95, violated="diverged") for i in range(3)]
    found = said(report(trials), "diverged").answer
    assert "3 of 11 (27%)" in found
    assert "learning_rate is large" in found
    assert "None of 8" in said(report(trials[:8]), "diverged").answer


def test_curves_that_still_improve_and_curves_that_are_flat() -> None:
    rising = [trial(i, 0.9, curve=curve(*(0.04 * e for e in range(1, 21)))) for i in range(5)]
    longer = said(report(rising), "long enough")
    assert longer.answer.startswith(
        "No: from the third quarter of their epochs to the last the best 5 became better by 0.2"
    )
    assert longer.command == "caviar retune small --name small-longer --epochs 40"
    flat = [trial(i, 0.9, curve=curve(*(0.9 + 0.001 * (-1) ** e for e in range(1, 21)))) for i in range(5)]
    assert said(report(flat), "long enough").answer.startswith("Yes")
    still = [trial(i, 0.9, curve=curve(*(0.899 + 0.001 * (e > 15) for e in range(1, 21)))) for i in range(5)]
    # The model knows the trainings to differ by 16 times as much.
    assert "better by 0.001 on average, less than a quarter" in said(report(still), "long enough").answer
    assert said(report(still), "long enough").command is None


def test_trials_that_were_best_long_before_their_end_are_to_be_shorter() -> None:
    fell = curve(*(0.9 - abs(e - 8) / 50 for e in range(1, 21)))
    shorter = said(report([trial(i, 0.66, curve=fell) for i in range(5)]), "long enough")
    assert "best around epoch 10" in shorter.answer  # the last of the five epochs whose mean is best
    assert shorter.command == "caviar retune small --name small-shorter --epochs 10"
    late = curve(*(0.5 + min(e, 80) / 160 - max(e - 80, 0) / 50 for e in range(1, 101)))
    found = said(report([trial(i, 0.6, curve=late) for i in range(5)], study={"epochs": 100}), "long enough")
    assert "was best around epoch 8" in found.answer
    assert found.command is None  # too little would be gained


@pytest.mark.parametrize(
    ("slopes", "answer"),
    [
        ((1, 1, 1, 1, 1), "No: "),
        ((3, 2, 1, 1, -0.1), "No: "),  # the smallest change of all may go the other way
        ((3, 2, 1, -1, -0.1), "It is not clear: from the third quarter"),
        ((3, 2, 1, 1), "No: "),
        ((3, 2, 1), "The curves are too short"),  # as three of a kind often are by chance
        ((-1, -2, -1, -3, 0.1), "For too long: "),
        ((0.1, 0.1, 0.1, 0.1, 0.1), "Yes: "),  # all agree, in what is not worth a word
        ((5, -5, 1, -1, 0), "Yes: "),
    ],
)
def test_the_best_trials_have_to_agree_on_the_length(slopes: tuple[float, ...], answer: str) -> None:
    """Each goes up or down by so many hundredths from quarter to quarter."""
    trials = [trial(i, 0.9, curve=curve(*(0.5 + s * e / 500 for e in range(20)))) for i, s in enumerate(slopes)]
    for noise in (Noise(0.016, Basis.MODEL), Noise(0.012, Basis.FRESH)):  # as before and after fresh trainings
        made = report(trials)
        found = said(replace(made, winner=won_by(trials[0], noise=noise)), "long enough")
        assert found.answer.startswith(answer)
        assert bool(found.command) is (answer in ("No: ", "For too long: "))


def test_the_metric_of_the_study_says_whether_a_rising_validation_loss_is_worse() -> None:
    bowl = losses([0.1] * 20, [abs(e - 8) / 10 + 0.2 for e in range(1, 21)])
    better = [trial(i, 0.9, metrics=bowl, curve=curve(*(0.04 * e for e in range(1, 21)))) for i in range(5)]
    sure = said(report(better), "overfit")
    assert sure.answer.startswith(
        "They grow over-confident, but no worse: the validation loss of 5 of the best 5 was lowest around epoch 8"
    )
    assert sure.command is None
    assert said(report(better), "long enough").command == "caviar retune small --name small-longer --epochs 40"
    fell = [trial(i, 0.66, metrics=bowl, curve=curve(*(0.9 - abs(e - 8) / 50 for e in range(1, 21)))) for i in range(5)]
    assert said(report(fell), "overfit").answer.startswith("Yes: the validation loss of 5")
    by_loss = [trial(i, 1.4, metrics=bowl, curve=tuple(enumerate(bowl["validation_loss"], start=1))) for i in range(5)]
    of_loss = report(by_loss, study={"metric": "validation_loss", "direction": "minimize"})
    assert said(of_loss, "overfit").answer.startswith("Yes")
    assert said(of_loss, "long enough").command == "caviar retune small --name small-shorter --epochs 10"
    assert said(report([trial(i, 0.9) for i in range(5)]), "overfit").answer.startswith("No")
    assert "too short" in said(report([trial(0, 0.9, metrics=losses([1.0], [1.0]))]), "overfit").answer


def test_a_runner_up_within_what_is_expected_cannot_be_told_from_the_winner() -> None:
    near, far = [trial(0, 0.9), trial(1, 0.899)], [trial(0, 0.9), trial(1, 0.6)]
    behind = [trial(0, 0.9), trial(1, 0.95)]
    for trials, answer in ((near, "is not clear"), (far, "Probably"), (behind, "Not by its value")):
        made = report(trials)
        expecting = replace(made, winner=won_by(trials[0], expected=Interval(0.89, 0.88, 0.9)))
        assert answer in said(expecting, "runner-up").answer


def test_a_lead_within_the_noise_is_to_be_confirmed_and_what_was_confirmed_is_told() -> None:
    made = report([trial(0, 0.9), trial(1, 0.899)])
    within = said(made, "runner-up")
    assert "is not clear" in within.answer
    assert "up to 0.045, since one training differs from another by 0.016 (from a model of all trials)" in within.answer
    assert within.command == "caviar best small --confirm 5"
    ahead = said(report([trial(0, 0.9), trial(1, 0.6)]), "runner-up")
    assert "Probably" in ahead.answer
    unsure = replace(made, winner=won_by(made.trials[0], noise=Noise(0.001, Basis.EXAMPLES)))
    assert "is not clear" in said(unsure, "runner-up").answer  # how many examples there are does not say it is no luck
    assert ahead.command == "caviar best small --confirm 5"
    expecting = replace(made, winner=won_by(made.trials[0], expected=Interval(0.89, 0.88, 0.9)))
    assert said(expecting, "runner-up").command == "caviar best small --confirm 5"
    better = Confirmation("small", 1, (0.9,) * 5, (0.8,) * 5, 0.9, 0.8, 0.1, 0.05, 0.15, Comparison.BETTER)
    confirmed = replace(made, winner=won_by(made.trials[0], confirmation=better))
    assert said(confirmed, "runner-up").answer.startswith("Yes: trained again 5 times each")
    assert said(confirmed, "runner-up").command is None
    assert "+0.050 to +0.150" in page(answered(confirmed))
    undecided = replace(better, low=None, high=None, verdict=Comparison.OPEN)
    open_ = replace(made, winner=won_by(made.trials[0], confirmation=undecided))
    assert said(open_, "runner-up").answer.startswith("It is not clear: trained again 5 times each")
    assert "by fresh trainings of both" not in page(answered(open_))


def test_without_any_noise_to_be_seen_nothing_is_told() -> None:
    """A loss of a few trials, of which no model and no number of examples says how much a training varies."""
    loss = {"metric": "loss", "direction": "minimize"}
    trials = [trial(i, 0.3, curve=curve(0.4, 0.3)) for i in range(6)]
    made = replace(report(trials, study=loss), winner=won_by(trials[0], noise=None))
    for question in ("runner-up", "enough points"):
        found = said(made, question)
        assert found.answer.startswith("It is not clear")
        assert found.command == "caviar best small --confirm 5"
    trials = [trial(i, 0.3, curve=curve(*[0.3] * 20)) for i in range(6)]
    flat = replace(report(trials, study=loss), winner=won_by(trials[0], noise=None))
    assert said(flat, "long enough").answer.startswith("It is not clear")


def test_a_winner_at_an_end_that_cannot_be_widened_is_at_an_edge() -> None:
    listed = ReportedHyperparameter("layers", 1, Grid(2, 3, 8, default=3))
    made = trained_with(trial(0, 0.9), "layers", 2, 0.1)
    found = said(report([made], hyperparameters=(listed,)), "edge")
    assert found.answer.startswith("Yes: layers (2, the lower end of one of 2, 3, 8)")
    assert "name more values in a study's file" in found.answer
    assert found.command is None
    least = ReportedHyperparameter("layers", 1, Grid(1, 2, 3, default=2))  # there is no number of layers below 1
    assert least.room == (False, True)
    fewest = trained_with(trial(0, 0.9), "layers", 1, 0.1)
    lowest = said(report([fewest], hyperparameters=(least,)), "edge")
    assert "nothing lies beyond" in lowest.answer
    assert lowest.command is None
    wide = trained_with(trial(0, 0.9, 0.99), "layers", 2, 0.1)
    both = said(report([wide], hyperparameters=(HYPERPARAMETERS[0], listed)), "edge")
    assert "better values may lie beyond; layers" in both.answer
    assert both.command == "caviar retune small --name small-wider --widen learning_rate"
    assert said(report([trial(0, 0.9)]), "edge").answer.startswith("No")  # the first of a few names is no edge


def test_one_trial_that_diverged_far_away_does_not_stand_for_all() -> None:
    fine = [trial(i, 0.9, 0.05 + i / 20) for i in range(12)]
    bad = [trial(12 + i, 0.1, unit, violated="diverged") for i, unit in enumerate((0.0, 0.9, 0.92, 0.95, 0.99))]
    found = said(report(fine + bad), "diverged").answer
    assert "5 of 17 (29%), most of all where learning_rate is large: 4 of these have 0.3981 or more" in found
    assert "of the 12 others 0" in found


def held(t: ReportedTrial, *events: tuple[float, str, str]) -> list[tuple[str | None, float, float, str]]:
    seen = [ReportedEvent(at, kind, t.trial, who, {}) for at, kind, who in events]
    return [(h.worker, h.began, h.ended, h.end) for h in holdings([t], seen, 99.0)]


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
    events = (ReportedEvent(1.0, "lease expired", 0, "dead:1", {}), ReportedEvent(1.0, "taken over", 0, "host:0", {}))
    drawn = figures(report([trial(0, 0.9)], events=events))["timeline"]
    rows = drawn["layout"]["yaxis"]["ticktext"]
    bars = [t for t in drawn["data"] if t["x"] != [None]]
    assert [(t["name"], rows[t["y"][0]]) for t in bars] == [
        ("complete", "host:0"), ("lost", "dead:1"), ("lost", "dead:1"), ("taken over", "host:0"),
    ]  # fmt: skip


def test_trials_that_a_worker_trains_at_a_time_have_rows_of_their_own_and_states_patterns() -> None:
    spans = {0: (1.0, 5.0), 1: (1.0, 3.0), 2: (3.0, 5.0), 3: (2.0, 4.0)}
    trials = [trial(i, 0.9, began=began, ended=ended, worker="a:1") for i, (began, ended) in spans.items()]
    trials[1] = replace(trials[1], state="pruned")
    drawn = figures(report(trials))["timeline"]
    row = {text.split(",")[0]: y for t in drawn["data"] for text, y in zip(t.get("text", ()), t["y"], strict=False)}
    assert row == {"trial 0": 0, "trial 1": 1, "trial 2": 1, "trial 3": 2}
    assert drawn["layout"]["yaxis"]["ticktext"] == ["a:1"]
    patterns = {t["name"]: t["marker"]["pattern"]["shape"] for t in drawn["data"] if "pattern" in t["marker"]}
    assert patterns["complete"] != patterns["pruned"]
    assert {"tier 1", "tier 2", "tier 3"} <= {t["name"] for t in drawn["data"]}


def test_the_tiers_are_shaded_over_the_trials_as_they_ended() -> None:
    # The second one ended last.
    trials = [trial(0, 0.9, tier=1), trial(1, 0.8, tier=1, ended=7.0), trial(2, 0.95, tier=2, ended=5.0)]
    drawn = figures(report(trials))["best so far"]
    assert [(s["x0"], s["x1"]) for s in drawn["layout"]["shapes"]] == [(0.5, 1.5), (1.5, 2.5), (2.5, 3.5)]
    assert len({s["fillcolor"] for s in drawn["layout"]["shapes"]}) == 2
    line, *points = drawn["data"]
    assert (line["x"], line["y"]) == ([1, 2, 3], [0.9, 0.95, 0.95])
    at = {cell[0]: x for t in points for x, cell in zip(t["x"], t.get("customdata", ()), strict=False)}
    assert at == {"trial 0, complete": 1, "trial 2, complete": 2, "trial 1, complete": 3}


def test_pruned_curves_are_grey_and_end_in_a_cross() -> None:
    trials = [trial(0, 0.9), trial(1, 0.8), trial(2, 0.5, state="pruned"), trial(3, 0.4, state="pruned")]
    complete, pruned, _ = figures(report(trials))["curves"]["data"]
    assert complete["line"]["color"] != pruned["line"]["color"] == NEUTRAL
    crosses = [y for y, size in zip(pruned["y"], pruned["marker"]["size"], strict=True) if size and y is not None]
    assert crosses == [trials[2].curve[-1][1], trials[3].curve[-1][1]]


@pytest.mark.parametrize("page_colour", ["#ffffff", "#0d1117"])
@pytest.mark.parametrize("line", [*TIER_COLOURS, WINNER, NEUTRAL])
def test_lines_have_a_contrast_of_three_with_the_light_and_the_dark_page(line: str, page_colour: str) -> None:
    """https://www.w3.org/TR/WCAG22/#non-text-contrast"""

    def luminance(colour: str) -> float:
        parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        red, green, blue = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    low, high = sorted((luminance(line), luminance(page_colour)))
    assert (high + 0.05) / (low + 0.05) >= 3


def test_every_figure_has_its_points() -> None:
    trials = [trial(i, 0.9 - i / 100, i / 20) for i in range(20)]
    trials += [trial(20 + i, 0.5, 0.1, state="pruned") for i in range(4)]
    drawn = figures(report(trials))
    json.dumps(drawn, allow_nan=False)
    points = sum(sum(y is not None for y in trace["y"]) for trace in drawn["curves"]["data"])
    assert points == 20 * EPOCHS + 4 * 4
    for place in range(len(HYPERPARAMETERS)):
        panel = [trace for trace in drawn["hyperparameters"]["data"] if trace.get("xaxis") == f"x{place + 1}"]
        assert sum(len(trace["x"]) for trace in panel) == sum(len(trace["y"]) for trace in panel) == 24
    assert drawn["best so far"]["data"][0]["y"][-1] == 0.9
    assert sum(len(trace["x"]) for trace in drawn["timeline"]["data"] if trace["x"] != [None]) == 24
    assert len(drawn["parallel coordinates"]["data"][0]["dimensions"]) == 4


def test_of_many_curves_the_best_and_some_others_are_drawn() -> None:
    trials = [trial(i, i / 10000) for i in range(5000)]
    drawn = thinned(report(trials, winner=4999))
    assert 80 <= len(drawn) <= 100
    assert {t.trial for t in drawn} >= set(range(4950, 5000))


def test_what_other_programs_made_and_ended_is_among_the_costs_where_there_is_any() -> None:
    made = report([trial(i, 0.9) for i in range(3)])
    assert "made by other Optuna" not in page(answered(made))
    text = page(answered(replace(made, cost=replace(made.cost, ended_elsewhere=1, others=4))))
    for part in ("trials ended by other Optuna programs", "trials made by other Optuna programs"):
        assert part in text


def test_the_page_asks_no_network_and_holds_whatever_names_there_are() -> None:
    evil = "</script><script>alert(1)</script>"
    made = report([trial(i, 0.9, why_it_stopped=evil, worker=evil) for i in range(3)], study={"name": evil})
    text = page(answered(made))
    assert evil not in text
    assert "default-src 'none'" in text
    assert "<script src=" not in text
    assert "<link" not in text


def test_every_metric_has_a_picture_and_the_page_a_title_for_it() -> None:
    drawn = figures(report([trial(i, 0.9) for i in range(3)]))["other metrics"]
    assert drawn["layout"]["yaxis"]["title"]["text"] == "learning_rate"  # the others have pictures of their own
    assert [line["name"] for line in drawn["data"]] == ["trial 0", "trial 1", "trial 2"]
    assert "What else the best five measured" in page(report([trial(0, 0.9)]))


def test_metrics_of_ones_own_have_a_panel_each_with_gaps() -> None:
    metrics = {"rmse": (None, 1.0, None, 0.5), "latency_ms": (1234.5, 1e-7, None, 2.0), "train_loss": (-1.0,) * 4}
    study = {"metric": "rmse", "direction": "minimize", "constraints": {"latency_ms": 20.0}}
    own = report(
        [trial(0, 0.5, metric="rmse", metrics=metrics, curve=((1, None), (2, 1.0), (3, None), (4, 0.5)))], study=study
    )
    drawn = figures(own)
    assert "train against validation" not in drawn
    assert (drawn["curves"]["data"][0]["x"], drawn["curves"]["data"][0]["y"]) == ([2, 4, None], [1.0, 0.5, None])
    panels = drawn["other metrics"]
    assert [panels["layout"][f"yaxis{n}"]["title"]["text"] for n in ("", "2")] == ["latency_ms", "train_loss"]
    assert panels["data"][0]["y"] == [1234.5, 1e-7, None, 2.0]
    assert [a.question for a in answers(own) if "overfit" in a.question] == []
    (said_of_it,) = [a.answer for a in answers(own) if "constraint" in a.question]
    assert said_of_it == "0 of 1 have a latency_ms above 20."
    page(answered(own))


def test_losses_below_0_are_not_drawn_on_a_log_axis() -> None:
    below = [trial(0, 0.9, metrics=losses([-1.0] * 4, [-0.5] * 4))]
    assert "type" not in figures(report(below))["train against validation"]["layout"]["yaxis"]
    assert figures(report([trial(0, 0.9)]))["train against validation"]["layout"]["yaxis"]["type"] == "log"
    steep = [trial(0, 0.9, metrics=losses([1.0, 0.1, 0.01, 1e-4], [0.5] * 4))]
    assert figures(report(steep))["train against validation"]["layout"]["yaxis"]["dtick"] == 1
    worse = [trial(i, 0.9, metrics=losses([-1.0] * 20, [abs(e - 8) - 20.0 for e in range(1, 21)])) for i in range(5)]
    assert "was lowest around epoch 8" in said(report(worse), "overfit").answer
