"""What to do next, in each state of a study; of made-up situations, without a database."""

from __future__ import annotations

from dataclasses import replace

import pytest

from caviar.storage.family import Beside
from caviar.studies.results.confirmation import Comparison, Confirmation
from caviar.studies.results.next_steps import Reason, Situation, Step, next_steps
from caviar.studies.results.summaries import StudyState

WAITING = Situation("small", StudyState.WAITING, 0, 40, "tiered", 0)
DONE = replace(WAITING, state=StudyState.DONE, done=40, winner=7, runner_up=3)
CONFIRMED = Confirmation("small", 3, (0.9,) * 5, (0.8,) * 5, 0.9, 0.8, 0.1, 0.05, 0.15, Comparison.BETTER)


def commands(now: Situation) -> list[str]:
    return [step.command for step in next_steps(now)]


def reasons(now: Situation) -> list[Reason]:
    return [step.reason for step in next_steps(now)]


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        (WAITING, [Reason.BEGIN]),
        (replace(WAITING, done=13), [Reason.GO_ON]),
        (replace(WAITING, state=StudyState.RUNNING), [Reason.FOLLOW, Reason.HELP]),
        (replace(WAITING, state=StudyState.PAUSED), [Reason.RESUME]),
        (replace(WAITING, state=StudyState.STOPPED), [Reason.RESUME, Reason.GO_ON]),
        (replace(DONE, winner=None), [Reason.FIND_OUT]),
        (DONE, [Reason.LOOK, Reason.CONFIRM, Reason.USE, Reason.WORTH_IT, Reason.HOLDS]),
        (replace(DONE, is_measured=False), [Reason.MEASURE, Reason.LOOK, Reason.CONFIRM, Reason.USE, Reason.WORTH_IT,
                                            Reason.HOLDS]),
        (replace(DONE, runner_up=None, has_weights=False), [Reason.LOOK, Reason.WORTH_IT, Reason.HOLDS]),
        (replace(DONE, strategy="random"), [Reason.LOOK, Reason.CONFIRM, Reason.USE, Reason.HOLDS]),
        (replace(DONE, parent="tiny"), [Reason.LOOK, Reason.CONFIRM, Reason.PARENT, Reason.USE, Reason.WORTH_IT,
                                        Reason.HOLDS]),
    ],
)  # fmt: skip
def test_each_state_has_its_steps_in_their_order(now: Situation, expected: list[Reason]) -> None:
    assert reasons(now) == expected


def test_the_first_line_says_how_many_trials_are_left() -> None:
    (step,) = next_steps(replace(WAITING, done=39))
    assert step.why == "goes on here, or on any other machine; 1 trial to go"
    assert commands(WAITING) == ["caviar join small"]


@pytest.mark.parametrize(
    ("verdict", "step"),
    [
        (Comparison.BETTER, None),
        (Comparison.OPEN, Reason.REPEAT),
        (Comparison.WORSE, Reason.OTHER_WON),
    ],
)
def test_what_was_confirmed_is_not_to_be_confirmed_again(verdict: Comparison, step: Reason | None) -> None:
    found = next_steps(replace(DONE, confirmation=replace(CONFIRMED, verdict=verdict)))
    assert Reason.CONFIRM not in [one.reason for one in found]
    assert found[1].reason is (step or Reason.USE)
    if step is Reason.REPEAT:
        assert found[1].command == "caviar best small --confirm 10"


def test_the_weights_of_the_winner_are_named() -> None:
    assert "caviar best small --save small-model" in commands(DONE)


def test_a_study_that_was_begun_already_goes_on_and_one_that_ended_is_compared() -> None:
    assert f"caviar run small --budget {DONE.budget} --strategy random --seed 0 --name small-random" in commands(DONE)
    now = replace(DONE, beside={"small-random": Beside.ENDED, "small-2": Beside.OPEN})
    assert "caviar compare small small-random" in commands(now)
    assert "caviar join small-2" in commands(now)
    taken = commands(replace(DONE, beside={"small-2": Beside.DIFFERS}))
    assert not [command for command in taken if "small-2" in command]


def test_a_study_begins_again_with_what_may_differ_from_its_file() -> None:
    now = replace(DONE, budget=22, strategy="optuna:CmaEsSampler(popsize=8)")
    again = "caviar run small --budget 22 --strategy 'optuna:CmaEsSampler(popsize=8)' --seed 1 --name small-2"
    assert again in commands(now)


def test_no_command_stands_twice_and_the_first_reason_counts() -> None:
    again = Step(Reason.ADVICE, "caviar best small --confirm 5", "only 2 trials came near the best value")
    found = next_steps(replace(DONE, advice=(again,)))
    assert [step.reason for step in found if "--confirm" in step.command] == [Reason.CONFIRM]
