"""What to do next with a study: one ordered list, made here alone.

`run`, `status`, `best`, the report, the live page and the note in Optuna's dashboard all show it. It follows from
frozen records, so that whoever has read them can say it without a database.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from caviar.studies.results.summaries import StudyState, state_of

if TYPE_CHECKING:
    from caviar.storage.status import Progress
    from caviar.studies.definition import Study
    from caviar.studies.results.confirmation import Confirmation

_TIMES = 5  # trainings of each of the best two, at first


class Reason(StrEnum):
    """Why a step is worth taking."""

    BEGIN = "begin"  # no trial has begun
    GO_ON = "go on"  # trials are left, and nobody trains them
    RESUME = "resume"  # it is paused or stopped
    FOLLOW = "follow"  # it runs
    HELP = "help"  # other machines can take up trials, too
    MEASURE = "measure"  # the winner is not measured on the test set yet
    FIND_OUT = "find out"  # no trial came to a result
    LOOK = "look"  # the report has pictures and answers
    CONFIRM = "confirm"  # the winner may have been lucky
    REPEAT = "repeat"  # fresh trainings did not tell yet
    OTHER_WON = "other won"  # fresh trainings of the runner-up are better
    ADVICE = "advice"  # what the trials show of the search space, the budget or the length of a training
    PARENT = "parent"  # it was retuned from a study that it can be compared with
    USE = "use"  # the winner's weights
    WORTH_IT = "worth it"  # another strategy shows what the search brought
    HOLDS = "holds"  # another seed shows whether it holds


@dataclass(frozen=True)
class Step:
    """A command that is worth giving, and why, in a few words."""

    reason: Reason
    command: str
    why: str


@dataclass(frozen=True)
class Situation:
    """All that decides what to do next with a search.

    Attributes:
        winner: the number of the winner, or of the best trial so far; None before a trial is complete and sound.
        runner_up: the number of the best trial of another configuration.
        is_measured: whether the winner was measured on the test set, or nothing could be.
        has_weights: whether there are weights that `best --save` can write.
        advice: the commands that follow from what the trials show, each with its reason.
        parent: the name of the study that it was retuned from, where that is there and comparable.
        beside: the studies whose names begin with this one's and a dash, and whether each has ended.
    """

    study: str
    state: StudyState
    done: int
    budget: int
    strategy: str
    seed: int
    winner: int | None = None
    runner_up: int | None = None
    is_measured: bool = True
    has_weights: bool = True
    confirmation: Confirmation | None = None
    advice: tuple[Step, ...] = ()
    parent: str | None = None
    beside: Mapping[str, bool] = field(default_factory=dict)


def unfinished(study: Study, now: Progress) -> Situation | None:
    """Return the situation of a search that is not done, which says all that decides; None for one that is."""
    state = state_of(now)
    if state == StudyState.DONE:
        return None
    return Situation(study.name, state, now.done, now.budget, study.strategy, study.seed)


def next_steps(now: Situation) -> tuple[Step, ...]:
    """Return what to do next, the most useful step first; no command stands twice."""
    found: dict[str, Step] = {}
    for step in _when_done(now) if now.state == StudyState.DONE else _before_the_end(now):
        found.setdefault(step.command, step)
    return tuple(found.values())


def new_study(name: str, command: str, of: str, beside: Mapping[str, bool]) -> str:
    """Return a command that begins the study `name` to be compared with `of`; where it was begun before, the one that
    goes on with it, and where it has ended, the one that compares both."""
    if name not in beside:
        return command
    return f"caviar compare {of} {name}" if beside[name] else f"caviar run {name}"


def confirm_command(study: str, times: int = _TIMES) -> str:
    """Return the command that trains the winner and the runner-up of a study again, so many times each."""
    return f"caviar best {study} --confirm {times}"


def _before_the_end(now: Situation) -> Iterator[Step]:
    left, name = now.budget - now.done, now.study
    trials = f"{left} trial{'s' * (left != 1)}"
    if now.state == StudyState.RUNNING:
        yield Step(Reason.FOLLOW, f"caviar status {name} --watch", f"{trials} to go")
        yield Step(Reason.HELP, f"caviar join {name}", "on any other machine")
        return
    if now.state in (StudyState.PAUSED, StudyState.STOPPED):
        workers = "its workers wait" if now.state == StudyState.PAUSED else "its workers have left"
        yield Step(Reason.RESUME, f"caviar resume {name}", f"{workers}; {trials} to go")
        if now.state == StudyState.PAUSED:
            return
    begins = now.done == 0 and now.state == StudyState.WAITING
    yield Step(Reason.BEGIN if begins else Reason.GO_ON, f"caviar run {name}",
               trials if begins else f"goes on where it was left; {trials} to go")  # fmt: skip
    yield Step(Reason.HELP, f"caviar join {name}", "on any other machine")


def _when_done(now: Situation) -> Iterator[Step]:
    name = now.study
    if now.winner is None:
        yield Step(Reason.FIND_OUT, f"caviar history {name}", "why no trial came to a result")
        return
    if not now.is_measured:
        yield Step(Reason.MEASURE, f"caviar run {name}", "measures the winner on the test set")
    yield Step(Reason.LOOK, f"caviar report {name} --open", "in pictures")
    yield from _confirmation(now)
    yield from now.advice
    if now.parent is not None:
        yield Step(Reason.PARENT, f"caviar compare {now.parent} {name}", "did it help?")
    if now.has_weights:
        yield Step(Reason.USE, f"caviar best {name} --save {name}-model", "its weights")
    if now.strategy != "random":
        as_many = f"--budget {now.budget}"  # which may differ from that of its file
        again = f"caviar run {name} {as_many} --strategy random --seed {now.seed} --name {name}-random"
        yield Step(Reason.WORTH_IT, new_study(f"{name}-random", again, name, now.beside), "was the search worth it?")
    again = f"caviar run {name} --seed {now.seed + 1} --name {name}-2"
    yield Step(Reason.HOLDS, new_study(f"{name}-2", again, name, now.beside), "does it hold?")


def _confirmation(now: Situation) -> Iterator[Step]:
    from caviar.studies.results.confirmation import Comparison  # which loads Optuna

    confirmed = now.confirmation
    if now.runner_up is None:
        return
    if confirmed is None:
        yield Step(Reason.CONFIRM, confirm_command(now.study), "or was it luck?")
    elif confirmed.verdict is Comparison.OPEN:
        times = 2 * max(len(confirmed.winner_values), len(confirmed.runner_up_values))
        yield Step(Reason.REPEAT, confirm_command(now.study, times), "its lead may be noise")
    elif confirmed.verdict is Comparison.WORSE:
        why = f"trial {confirmed.runner_up} is better: take its values"
        yield Step(Reason.OTHER_WON, f"caviar trials {now.study}", why)
