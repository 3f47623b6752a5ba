"""Where the trial with the best value did not win: why, wherever both are shown."""

from __future__ import annotations

from dataclasses import replace

import pytest

from caviar.studies.cli.winner import print_winner
from caviar.studies.dashboard.note import search_note
from caviar.studies.results.confirmation import Comparison, Confirmation
from caviar.studies.results.formatting import begin_sentence
from caviar.studies.results.report.page import page
from caviar.studies.results.winner import Ahead, Interval, Standings
from caviar.studies.search import expectation
from caviar.studies.search.effects import Around
from caviar.studies.search.expectation import winner_of
from caviar.studies.search.gain import gain_over_default
from tests.helpers.reports import report, trial, won_by
from tests.helpers.studies import small_study
from tests.helpers.trials import made, noisy


def test_the_best_value_is_ahead_of_a_winner_of_which_more_is_expected() -> None:
    study = small_study()
    seen = set()
    for seed in range(20):
        trials, _ = noisy(study, seed)
        best = max(trials, key=lambda t: t.value or 0.0)
        winner = winner_of(study, trials)
        assert winner is not None
        ahead = Standings(study, trials).ahead
        seen.add(ahead is None)
        if winner.trial == best.number:
            assert ahead is None
        else:
            assert ahead == Ahead(
                best.number, best.value or 0.0, "if both were trained again, the model expects the winner to be better"
            )
    assert seen == {True, False}


def test_a_winner_that_was_tested_before_better_trials_came_says_so() -> None:
    study = small_study()
    trials = [made(study, 0, 0.8, 0.1), made(study, 1, 0.9, 0.5)]
    ahead = Standings(study, trials, tested=0).ahead
    assert ahead == Ahead(1, 0.9, "the winner was measured on the test set before, which is used once")
    assert Standings(study, trials, tested=1).ahead is None


def test_one_model_says_all_of_a_winner(monkeypatch: pytest.MonkeyPatch) -> None:
    fits, study = [], small_study()
    trials, _ = noisy(study, 0)
    real = expectation.fit
    monkeypatch.setattr(expectation, "fit", lambda *of: fits.append(of) or real(*of))
    tested = max(trials, key=lambda t: -(t.value or 0.0)).number
    current = Standings(study, trials, tested)
    assert current.winner is not None
    assert current.ahead is not None
    assert current.prospect(0) is not None
    gain_over_default(study, trials, current.winner.trial, current.model)
    Around(study, trials, current.winner.trial, current.model)
    assert len(fits) == 1


def test_where_both_are_shown_the_reason_stands(capsys: pytest.CaptureFixture[str]) -> None:
    trials = [trial(0, 0.9), trial(1, 0.95)]
    winner = won_by(
        trials[0], ahead=Ahead(1, 0.95, "if both were trained again, the model expects the winner to be better")
    )
    print_winner(winner)
    reason = "trial 1 came to 0.95: if both were trained again, the model expects the winner to be better"
    assert reason in capsys.readouterr().out
    assert begin_sentence(reason) in page(replace(report(trials), winner=winner))
    assert begin_sentence(reason) in search_note(small_study(), winner)
    print_winner(won_by(trials[1]))
    assert "came to" not in capsys.readouterr().out


def test_the_best_trial_of_an_unfinished_study_is_not_called_a_winner(capsys: pytest.CaptureFixture[str]) -> None:
    winner = won_by(trial(3, 0.9))
    print_winner(winner)
    print_winner(replace(winner, is_final=False))
    heads = [line for line in capsys.readouterr().out.splitlines() if "trial 3" in line]
    assert heads == ["winner: trial 3 of small (tier 1, all)", "best so far: trial 3 of small (tier 1, all)"]


def test_what_was_measured_takes_the_place_of_what_was_expected(capsys: pytest.CaptureFixture[str]) -> None:
    trials = [trial(0, 0.9), trial(1, 0.8)]
    better = Confirmation("small", 1, (0.9,) * 5, (0.8,) * 5, 0.9, 0.8, 0.1, 0.05, 0.15, Comparison.BETTER)
    for confirmation, is_expected in ((None, True), (better, False)):
        winner = won_by(trials[0], expected=Interval(0.89, 0.88, 0.9), confirmation=confirmation)
        print_winner(winner)
        told, shown = capsys.readouterr().out, page(replace(report(trials), winner=winner))
        assert ("if trained again" in told) is is_expected
        assert ("trained again     0.9 on average of 5 trainings" in told) is not is_expected
        assert ("expected mean of repeated trainings" in shown) is is_expected
        assert ("mean of 5 fresh trainings" in shown) is not is_expected
