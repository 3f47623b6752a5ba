"""Comparisons of studies: what they came to, what that cost, and how they differ."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

import caviar
from caviar.studies.cli import run
from caviar.studies.errors import OptionError
from caviar.studies.results.compare.figures import figures, floor
from caviar.studies.results.compare.page import comparison_page
from caviar.studies.results.compare.reading import _mean
from caviar.studies.results.compare.records import (
    BestAt,
    ComparedStudy,
    ComparedWinner,
    Difference,
    Place,
    Spent,
    StudyComparison,
    WinnerMean,
)
from caviar.studies.results.compare.words import columns, row, verdicts
from caviar.studies.results.conclusion import conclude
from caviar.studies.results.summaries import StudyState
from caviar.studies.space.scales import Log
from tests.helpers.browser import browser, needs_chromedriver
from tests.helpers.pandas import born
from tests.helpers.reports import trial, won_by
from tests.helpers.studies import TIERS
from tests.helpers.workers import register, worker


@pytest.fixture
def two(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> Engine:
    """Two studies that are done: `small`, and `small-random` with another strategy, a wider range and fewer trials."""
    monkeypatch.setenv("CAVIAR_DATABASE_URL", engine.url.render_as_string(hide_password=False))
    wider = ({"learning_rate": Log(1e-5, 1, default=0.1)}, *TIERS[1:])
    others = {"name": "small-random", "strategy": "random", "tiers": wider, "budget": 12}
    for fields in ({"budget": 20}, others):
        record, study = register(engine, epochs=4, **fields)
        worker(engine, record, study).run()
        conclude(engine, record, Path("nowhere"))
    return engine


def test_a_comparison_has_curves_winners_and_the_cost_to_the_same_value(two: Engine) -> None:
    found = caviar.compare(["small", "small-random"], database=two)
    small, other = found.studies
    assert (found.metric, found.maximize, [each.name for each in found.studies]) == (
        "accuracy", True, ["small", "small-random"],
    )  # fmt: skip
    ends = [caviar.status(each.name, database=two).best for each in found.studies]
    assert [each.best[-1].value for each in found.studies] == [end.value if end else None for end in ends]
    assert found.common == min(each.best[-1].value for each in found.studies)
    for each, budget in ((small, 20), (other, 12)):
        report = caviar.report(each.name, database=two)
        assert each.total.trials == each.best[-1].trials == budget
        assert each.total.epochs == each.best[-1].epochs == report.cost.epochs
        assert each.total.device_seconds == pytest.approx(sum(device.seconds for device in report.cost.devices))
        assert each.total.device_seconds == pytest.approx(each.best[-1].device_seconds, abs=0.2)
        values = [at.value for at in each.best]
        assert values == sorted(values)
        assert [at.device_seconds for at in each.best] == sorted(at.device_seconds for at in each.best)
        # The first complete trial, in the order in which trials ended, that came to the common value.
        query = text("""
            SELECT count(*) FROM public.trials t JOIN caviar.slot s USING (trial_id) JOIN caviar.study st
              ON st.study_id = s.study_id WHERE st.name = :name AND t.datetime_complete <= (
                SELECT min(x.datetime_complete) FROM public.trials x JOIN public.trial_values v USING (trial_id)
                WHERE x.study_id = t.study_id AND x.state = 'COMPLETE' AND v.value >= :common)""")
        with two.connect() as connection:
            trials = connection.scalar(query, {"name": each.name, "common": found.common})
        assert each.to_common is not None
        assert each.to_common.trials == trials
    assert small.winner is not None
    winner = caviar.best("small", database=two)
    assert winner is not None
    assert small.winner.trial == winner.trial


def test_only_what_differs_is_named(two: Engine) -> None:
    found = caviar.compare(["small", "small-random"], database=two).differences
    assert {each.what: each.values for each in found} == {
        "budget": ("20", "12"), "strategy": ("tiered", "random"),
        "learning_rate": ("0.0001 … 1, log, default 0.1", "1e-05 … 1, log, default 0.1"),
    }  # fmt: skip


def test_the_terminal_and_the_document_say_the_same(two: Engine, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["compare", "small", "small-random", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert [each["name"] for each in facts["studies"]] == ["small", "small-random"]
    assert run(["compare", "small", "small-random"]) == 0
    told = capsys.readouterr().out
    assert re.search(r"^strategy +tiered +random", told, re.MULTILINE)
    for each in facts["studies"]:
        assert f"trial {each['winner']['trial']}" in told
    assert next(verdicts(caviar.compare(["small", "small-random"], database=two))) in " ".join(told.split())
    assert "epochs " not in told.partition("how they differ")[2]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["small"], "takes two studies or more: caviar compare small OTHER"),
        (["small", "small"], "'small' stands twice"),
        (["small", "baby"], "'baby' is a panda"),
        (["small", "by-loss"], "'small' maximizes accuracy, 'by-loss' minimizes validation_loss"),
        (["small", "smal"], "no study 'smal' in the database; did you mean small?"),
        (["small", "other", "--json", "--open"], "--json prints no page"),
    ],
)
def test_what_cannot_be_compared_is_one_line(
    engine: Engine, words: list[str], message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CAVIAR_DATABASE_URL", engine.url.render_as_string(hide_password=False))
    register(engine)
    register(engine, name="by-loss", metric="validation_loss", direction="minimize")
    if "baby" in words:
        born(engine)
    assert run(["compare", *words]) == 2
    assert message in " ".join(capsys.readouterr().err.split())


def test_studies_without_a_result_are_compared_by_their_definitions(engine: Engine) -> None:
    register(engine)
    register(engine, name="other", epochs=5)
    found = caviar.compare(["small", "other"], database=engine)
    assert found.common is None
    assert [each.winner for each in found.studies] == [None, None]
    assert found.differences == (Difference("epochs", ("2", "5")),)
    assert "small has no winner yet." in list(verdicts(found))
    assert figures(found) == {}
    assert row(found, found.studies[0])[0] == "small"
    with pytest.raises(OptionError):
        caviar.compare(["small"], database=engine)


def made(name: str, value: float, mean: WinnerMean, place: Place, behind: float, *best: float) -> ComparedStudy:
    winner = ComparedWinner(1, value, mean, place, behind, None, None, is_final=True)
    at = tuple(BestAt(n, n * 10, n * 60.0, n * 60.0, v) for n, v in enumerate(best, start=1))
    return ComparedStudy(name, "mlp on digits", StudyState.DONE, 40, winner, Spent(40, 400, 3e3, 3e3), (), at, at[0])


def of(*studies: ComparedStudy, direction: str = "maximize") -> StudyComparison:
    return StudyComparison("accuracy", direction, studies, studies[0].best[-1].value, (), ())


FIRST = made("a", 0.98, WinnerMean(0.97, 0.96, 0.98, False), Place.LEADS, 0.0, 0.5, 0.9, 0.98)


@pytest.mark.parametrize(
    ("place", "first", "said"),
    [
        (
            Place.WITHIN,
            "Who is ahead cannot be told yet: the best mean is that of a's winner, which is expected to come to 0.97 "
            "on average.",
            "expected to be 0.0200 behind a's, which may be luck: their intervals overlap",
        ),
        (
            Place.BEHIND,
            "a is ahead: its winner is expected to come to 0.97 on average.",
            "expected to be 0.0200 behind a's, more than luck: their intervals are apart",
        ),
    ],
)
def test_a_winner_that_is_behind_says_whether_that_may_be_luck(place: Place, first: str, said: str) -> None:
    other = made("b", 0.96, WinnerMean(0.95, 0.94, 0.965, False), place, 0.02, 0.8, 0.97)
    lead, second = verdicts(of(FIRST, other))
    assert lead == first
    assert second == f"b's winner is {said}."


def test_nobody_is_ahead_of_nobody() -> None:
    none = replace(FIRST, name="b", winner=None)
    assert list(verdicts(of(FIRST, none))) == [
        "a's winner is expected to come to 0.97 on average.", "b has no winner yet.",
    ]  # fmt: skip


@pytest.mark.parametrize("value", [None, math.inf])
def test_a_winner_without_a_finite_value_has_no_mean(value: float | None) -> None:
    assert _mean(won_by(trial(0, 0.9), value=value)) is None
    assert _mean(won_by(trial(0, 0.9))) == WinnerMean(0.9, None, None, is_measured=False)


def test_what_fresh_trainings_of_both_say_counts_more_than_their_intervals() -> None:
    lead = made("a", 0.98, WinnerMean(0.97, 0.96, 0.98, True), Place.LEADS, 0.0, 0.98)
    other = made("b", 0.96, WinnerMean(0.955, 0.94, 0.97, True), Place.BEHIND, 0.015, 0.97)
    assert list(verdicts(of(lead, other))) == [
        "a is ahead: its winner came to 0.97 on average.",
        "b's winner is measured 0.0150 behind a's, more than the noise of fresh trainings.",
    ]


def test_a_picture_begins_where_the_last_values_can_be_told_apart() -> None:
    other = made("b", 0.96, WinnerMean(0.95, 0.94, 0.96, False), Place.WITHIN, 0.02, 0.8, 0.97)
    assert floor(of(FIRST, other)) == pytest.approx(0.97 - 3 * 0.01)
    assert floor(of(FIRST, FIRST)) == 0.5
    flat = made("c", 0.98, WinnerMean(0.98, None, None, False), Place.LEADS, 0.0, 0.98)
    assert floor(of(flat, flat)) is None
    low = made("a", 0.1, WinnerMean(0.1, None, None, False), Place.LEADS, 0, 9.0, 0.1)
    high = made("b", 0.2, WinnerMean(0.2, None, None, False), Place.OPEN, 0.1, 8.0, 0.2)
    losses = of(low, high, direction="minimize")
    assert floor(losses) == pytest.approx(0.5)
    assert "by one training of each, which may be luck" in list(verdicts(losses))[1]


def test_a_name_from_the_database_cannot_become_html() -> None:
    evil = replace(FIRST, subject="<script>alert(1)</script>", name="<b>")
    text_ = comparison_page(replace(of(evil, FIRST), differences=(Difference("<i>", ("<u>", "x")),)))
    assert "<b>" not in text_.replace('"><b>', "")
    assert "<i>" not in text_
    assert "<u>" not in text_
    assert columns(of(FIRST, evil))[-1] == "to reach 0.98"


@needs_chromedriver
def test_a_browser_shows_the_page_at_every_width_without_a_network(two: Engine, tmp_path: Path) -> None:
    file = tmp_path / "x.html"
    found = caviar.compare(["small", "small-random"], file=file, database=two)
    drawn: Callable[[str], str] = lambda name: f"return document.getElementById('{name}').data.length"  # noqa: E731
    with browser(tmp_path) as page:
        for scheme in ("light", "dark"):
            page.prefer(scheme)
            for width in (1440, 768, 390):
                page.emulate(width)
                page.go(file.as_uri())
                assert page.wait(drawn("by trials")) == 2
                assert page.ask(drawn("by time")) == 2
                assert page.ask("return document.documentElement.scrollWidth <= innerWidth"), width
                rows = page.ask("return document.querySelectorAll('.cards-below tbody tr').length")
                assert rows == 2 + len(found.differences)
        assert page.errors() == []
