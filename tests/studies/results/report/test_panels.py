"""What each hyperparameter did, as panels: where the good trials are, and what is expected along it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from caviar.studies.results.report.figures import figures
from caviar.studies.results.report.page import page
from caviar.studies.results.report.records import ReportedHyperparameter, ReportedPair
from caviar.studies.results.report.window import window
from caviar.studies.search.effects import Around, Effect, Surface
from caviar.studies.space.scales import Log, PowersOfTwo
from tests.helpers.reports import HYPERPARAMETERS, report, trained_with, trial
from tests.helpers.studies import small_study
from tests.helpers.trials import noisy


def test_most_trials_pruned_low_do_not_decide_the_range() -> None:
    good = [trial(i, 0.98 - i / 200) for i in range(9)]
    bad = [trial(9 + i, 0.1 + i / 100, 0.1, state="pruned") for i in range(31)]
    shown = window(report(good + bad))
    assert shown is not None
    assert 0.88 < shown.floor < 0.96
    assert shown.axis["range"][0] > 0.85
    drawn = figures(report(good + bad))["hyperparameters"]
    complete, pruned, beyond = [t for t in drawn["data"] if t.get("xaxis") == "x1"][:3]
    assert len(complete["y"]) + len(beyond["y"]) == 39  # and the winner
    assert pruned["y"] == []
    assert set(beyond["y"]) == {shown.edge}
    assert beyond["customdata"][-1][2] == pytest.approx(0.4)  # its own value, to be read on hovering
    assert any(shown.words in t.get("name", "") for t in drawn["data"])


def test_where_lower_is_better_the_ticks_are_at_the_upper_edge() -> None:
    trials = [trial(i, 0.02 + i / 200) for i in range(9)] + [trial(9 + i, 2.0, state="pruned") for i in range(31)]
    shown = window(report(trials, study={"direction": "minimize"}))
    assert shown is not None
    low, high = shown.axis["range"]
    assert low < 0.02 < shown.floor < shown.edge < high < 0.2
    assert shown.words.startswith("above")


def test_values_that_are_all_equal_have_a_window() -> None:
    shown = window(report([trial(i, 0.9) for i in range(8)]))
    assert shown is not None
    assert shown.axis == {}
    assert shown.shows(0.9)
    assert "hyperparameters" in figures(report([trial(i, 0.9) for i in range(8)]))


def test_trials_of_one_value_stand_beside_one_another_and_a_state_has_a_shape() -> None:
    batch = ReportedHyperparameter("batch_size", 1, PowersOfTwo(16, 256, default=64))
    trials = [trained_with(trial(i, 0.9 - i / 1000), "batch_size", 64, 0.5) for i in range(30)]
    trials += [trained_with(trial(30, 0.9, state="pruned"), "batch_size", 64, 0.5)]
    data = figures(report(trials, hyperparameters=(batch,)))["hyperparameters"]["data"]
    complete, pruned, *_ = data
    assert len(set(complete["x"])) == len(complete["x"])
    assert all(0.4 < x < 0.6 for x in complete["x"])
    assert complete["marker"]["symbol"] != pruned["marker"]["symbol"]
    assert complete["customdata"][0][1] == "batch_size 64"


def test_of_thousands_of_trials_some_hundreds_are_drawn() -> None:
    trials = [trial(i, i / 10000, i / 5000) for i in range(5000)]
    data = figures(report(trials, winner=4999))["hyperparameters"]["data"]
    assert 500 <= sum(len(t["x"]) for t in data if t.get("xaxis") == "x1") <= 601


def test_zeros_of_a_log_scale_stand_beside_one_another() -> None:
    decay = ReportedHyperparameter("decay", 1, Log(1e-4, 0.1, default=0.0, or_zero=True))
    trials = [trained_with(trial(i, 0.9 - i / 1000), "decay", 0.0, 0.0) for i in range(10)]
    complete = figures(report(trials, hyperparameters=(decay,)))["hyperparameters"]["data"][0]
    assert len(set(complete["x"])) == len(complete["x"]) > 1
    assert all(abs(x) < 0.04 for x in complete["x"])
    assert complete["customdata"][0][1] == "decay 0"


def test_the_colours_of_the_parallel_coordinates_begin_where_the_lines_do() -> None:
    many = figures(report([trial(i, i / 10000) for i in range(5000)], winner=4999))["parallel coordinates"]["data"][0]
    assert len(many["line"]["color"]) == 300
    assert (many["line"]["cmin"], many["line"]["cmax"]) == (0.47, 0.4999)
    assert many["line"]["color"][-1] == 0.4999  # the best one is drawn last, on top
    good, bad = [trial(i, 0.98 - i / 200) for i in range(9)], [trial(9 + i, 0.1, state="pruned") for i in range(31)]
    few = figures(report(good + bad))["parallel coordinates"]["data"][0]["line"]
    assert few["cmin"] > 0.85


def test_what_is_expected_has_a_strip_with_one_range_for_all() -> None:
    rising = Effect((0.0, 0.5, 1.0), (0.8, 0.85, 0.9), (0.7, 0.8, 0.85), (0.9, 0.9, 0.95))
    flat = Effect((0.25, 0.75), (0.9, 0.89), (0.85, 0.8), (0.95, 0.9))
    made = report([trial(i, 0.9 - i / 100) for i in range(20)])
    drawn = figures(replace(made, effects={"learning_rate": rising, "activation": flat}))["hyperparameters"]
    count = len(HYPERPARAMETERS)
    strips = [t for t in drawn["data"] if t.get("yaxis") in {f"y{count + place + 1}" for place in range(count)}]
    assert [t["mode"] for t in strips] == ["lines", "lines", "markers"]  # band, mean; of names, marks with bars
    assert strips[2]["error_y"]["array"] == pytest.approx([0.05, 0.01])
    assert drawn["layout"]["yaxis4"]["range"] == drawn["layout"]["yaxis6"]["range"]


def test_the_model_finds_the_effect_that_there_is() -> None:
    study = small_study()
    trials, truth = noisy(study, 0)
    best = int(np.argmax(truth))
    found = Around(study, trials, best).effects()
    assert set(found) == set(study.scales())
    for effect in found.values():
        assert len(effect.units) == len(effect.mean) == len(effect.low) == len(effect.high)
        assert all(low <= mean <= high for low, mean, high in zip(effect.low, effect.mean, effect.high, strict=True))
    rate = found["learning_rate"]
    assert max(rate.mean) == pytest.approx(0.95, abs=0.02)
    assert 0.3 < rate.units[rate.mean.index(max(rate.mean))] < 0.7
    assert rate.mean[0] < max(rate.mean) - 0.04
    assert Around(study, trials[:10], best).effects() == {}  # too few to say
    assert Around(study, trials, 10**6).effects() == {}


def test_a_pair_that_depends_on_each_other_has_a_picture_with_the_trials_on_it() -> None:
    made = report([trial(i, 0.9 - i / 100, i / 20) for i in range(20)])
    assert "two together" not in figures(made)
    surface = Surface(((0.0, 0.5, 1.0), (0.2, 0.8)), ((0.8, 0.85, 0.9), (0.7, 0.95, 0.6)))
    pair = ReportedPair("learning_rate", "momentum", 0.3, 0.1, surface)
    drawn = figures(replace(made, pairs=(pair,)))["two together"]
    heat, points = drawn["data"]
    assert (heat["x"], heat["y"], heat["z"][1]) == ([0.0, 0.5, 1.0], [0.2, 0.8], [0.7, 0.95, 0.6])
    assert (heat["zmin"], heat["zmax"]) == (0.6, 0.95)
    assert len(points["x"]) == len(points["y"]) == 20
    assert points["marker"]["symbol"].count("star") == 1
    assert drawn["layout"]["yaxis1"]["ticktext"] == ["0.9", "0.97", "0.99", "0.997", "0.999"]
    assert "Where the best value of one depends on the other" in page(replace(made, pairs=(pair,)))
