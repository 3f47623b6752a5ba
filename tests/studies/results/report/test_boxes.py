"""The ranges that trials were proposed from, of trials that are made up."""

from __future__ import annotations

from typing import Any

from caviar.studies.results.report.boxes import Box, BoxKind, Step, boxes, outline
from caviar.studies.results.report.records import ReportedTrial
from caviar.studies.results.report.space import hyperparameters
from tests.helpers.reports import HYPERPARAMETERS, report
from tests.helpers.reports import trial as finished

RATE, MOMENTUM = HYPERPARAMETERS[:2]


def trial(number: int, tier: int, phase: str, unit: float = 0.5, zoom: Any = None) -> ReportedTrial:
    return finished(number, 0.9, unit, tier=tier, phase=phase, zoom=zoom)


def test_a_coarse_phase_has_the_whole_range_and_a_fine_one_its_box_as_it_moved() -> None:
    first, second = {"learning_rate": [0.01, 0.1]}, {"learning_rate": [0.02, 0.05]}
    trials = [trial(0, 1, "default"), trial(1, 1, "coarse"), trial(2, 1, "coarse")]
    trials += [trial(3 + i, 1, "fine", zoom=zoom) for i, zoom in enumerate((first, first, second))]
    assert boxes(report(trials), RATE) == [
        Box(1, "coarse", BoxKind.RANGE, (Step(1, 2, 1e-4, 1.0),)),
        Box(1, "fine", BoxKind.ZOOM, (Step(3, 4, 0.01, 0.1), Step(5, 5, 0.02, 0.05))),
    ]
    assert boxes(report(trials), MOMENTUM) == []  # which is of a later tier


def test_a_coarse_phase_of_a_later_tier_has_the_box_of_what_was_searched_before() -> None:
    trials = [trial(i, 2, "coarse", zoom={"learning_rate": [0.01, 0.1]}) for i in range(3)]
    assert [b.kind for b in boxes(report(trials), RATE)] == [BoxKind.ZOOM]
    assert [b.kind for b in boxes(report(trials), MOMENTUM)] == [BoxKind.RANGE]


def test_what_a_model_proposed_is_its_middle_four_fifths_of_several_at_a_time() -> None:
    trials = [trial(i, 3, "all", unit=i / 20) for i in range(20)]
    (found,) = boxes(report(trials), RATE)
    assert found.kind == BoxKind.PROPOSALS
    assert [(step.first, step.last) for step in found.steps] == [(0, 4), (5, 9), (10, 14), (15, 19)]
    assert (found.steps[0].low, found.steps[0].high) == (1e-4, 10 ** (4 * 4 / 20 - 4))
    many = [trial(i, 3, "all", unit=i % 100 / 100) for i in range(1200)]
    (found,) = boxes(report(many), RATE)
    assert len(found.steps) == 12
    assert found.steps[0] == Step(0, 99, 10 ** (4 * 0.1 - 4), 10 ** (4 * 0.89 - 4))


def test_of_a_box_that_moved_often_some_places_are_drawn() -> None:
    trials = [trial(i, 1, "fine", zoom={"learning_rate": [1e-4, 0.001 + i / 10_000]}) for i in range(4000)]
    (found,) = boxes(report(trials), RATE)
    assert len(found.steps) <= 41
    assert (found.steps[0].first, found.steps[-1].last) == (0, 3999)


def test_an_outline_goes_up_one_side_and_down_the_other() -> None:
    box = Box(1, "fine", BoxKind.ZOOM, (Step(3, 4, 0.1, 0.5), Step(5, 5, 0.2, 0.4)))
    drawn = outline(box, lambda value: 10 * float(value), "x", "y4")
    assert drawn["x"] == [1, 1, 2, 2, 4, 4, 5, 5, 1]
    assert drawn["y"] == [2.5, 4.5, 4.5, 5.5, 5.5, 4.5, 4.5, 2.5, 2.5]
    assert drawn["name"] == "tier 1 fine: the zoom's box"


def test_each_kind_of_box_is_in_the_legend_once_and_has_its_own_strip() -> None:
    trials = [trial(i, 3, "all", unit=i / 20) for i in range(20)]
    made = hyperparameters(report(trials))
    fills = [trace for trace in made["data"] if trace.get("fill")]
    assert [trace["showlegend"] for trace in fills] == [True, False, False]
    for place, trace in enumerate(fills, start=1):
        strip, main = made["layout"][f"yaxis{3 + place}"], made["layout"][f"yaxis{place}"]
        assert (trace["xaxis"], trace["yaxis"]) == (f"x{place}", f"y{3 + place}")
        assert strip["domain"][0] >= 0
        assert strip["domain"][1] < main["domain"][0]
        assert main["domain"][1] <= 1
