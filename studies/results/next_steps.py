"""What to do next with a study: one ordered list, made here alone.

`run`, `status`, `best`, the report, the live page and the note in Optuna's dashboard all show it. It follows from
frozen records, so that whoever has read them can say it without a database.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from caviar.storage.family import Beside
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
    HELP = "help"  # it runs, and other machines can take up trials, too
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
        beside: the studies whose names begin with this one's and a dash, and how each stands.
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
    beside: Mapping[str, Beside] = field(default_factory=dict)


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


def new_study(name: str, command: str, of: str, beside: Mapping[str, Beside]) -> str | None:
    """Return a command that begins the study `name` to be compared with `of`; where it was begun before, the one that
    goes on with it, and where it has ended, the one that compares both. None where the name is taken by what cannot be
    compared."""
    if name not in beside:
        return command
    return {Beside.OPEN: f"caviar join {name}", Beside.ENDED: f"caviar compare {of} {name}"}.get(beside[name])


def confirm_command(study: str, times: int = _TIMES) -> str:
    """Return the command that trains the winner and the runner-up of a study again, so many times each."""
    return f"caviar best {study} --confirm {times}"


def _before_the_end(now: Situation) -> Iterator[Step]:
    left, name = now.budget - now.done, now.study
    trials = f"{left} trial{'s' * (left != 1)}"
    if now.state == StudyState.RUNNING:
        yield Step(Reason.FOLLOW, f"caviar status {name} --watch", f"{trials} to go")
        yield Step(Reason.HELP, _join(name), "on any other machine")
        return
    if now.state in (StudyState.PAUSED, StudyState.STOPPED):
        workers = "its workers wait" if now.state == StudyState.PAUSED else "its workers have left"
        yield Step(Reason.RESUME, f"caviar resume {name}", f"{workers}; {trials} to go")
        if now.state == StudyState.PAUSED:
            return
    begins = now.done == 0 and now.state == StudyState.WAITING
    yield Step(Reason.BEGIN if begins else Reason.GO_ON, _join(name),
               f"{'begins' if begins else 'goes on'} here, or on any other machine; {trials} to go")  # fmt: skip


def _join(name: str) -> str:
    """Return the command that goes on with a study as it is in the database: `caviar run` takes a name of the catalog
    for the study of the catalog, which may have another budget or strategy."""
    return f"caviar join {name}"


def _when_done(now: Situation) -> Iterator[Step]:
    name = now.study
    if now.winner is None:
        yield Step(Reason.FIND_OUT, f"caviar history {name}", "why no trial came to a result")
        return
    if not now.is_measured:
        yield Step(Reason.MEASURE, _join(name), "measures the winner on the test set")
    yield Step(Reason.LOOK, f"caviar report {name} --open", "in pictures")
    yield from _confirmation(now)
    yield from now.advice
    if now.parent is not None:
        yield Step(Reason.PARENT, f"caviar compare {now.parent} {name}", "did it help?")
    if now.has_weights:
        yield Step(Reason.USE, f"caviar best {name} --save {name}-model", "its weights")
    if now.strategy != "random":
        yield from _again(now, Reason.WORTH_IT, "random", "random", now.seed, "was the search worth it?")
    yield from _again(now, Reason.HOLDS, "2", now.strategy, now.seed + 1, "does it hold?")


def _again(now: Situation, reason: Reason, suffix: str, strategy: str, seed: int, why: str) -> Iterator[Step]:
    """Yield the step that searches once more, under another name, with what may differ from the study's file."""
    name = f"{now.study}-{suffix}"
    options = f"--budget {now.budget} --strategy {shlex.quote(strategy)} --seed {seed} --name {name}"
    command = new_study(name, f"caviar run {now.study} {options}", now.study, now.beside)
    if command is not None:
        yield Step(reason, command, why)


def _confirmation(now: Situation) -> Iterator[Step]:
    from caviar.studies.results.confirmation import Comparison  # which loads Optuna

    confirmed = now.confirmation
    if now.runner_up is None:
        return
    if confirmed is None:
        yield Step(Reason.CONFIRM, confirm_command(now.study), "or was it luck?")
    elif confirmed.verdict is Comparison.OPEN:
        times = 2 * max(len(confirmed.winner_values), len(confirmed.runner_up_values))
        yield Step(Reason.REPEAT, confirm_command(now.study, times), "the difference may be noise")
    elif confirmed.verdict is Comparison.WORSE:
        why = f"trial {confirmed.runner_up} is better: take its values"
        yield Step(Reason.OTHER_WON, f"caviar trials {now.study}", why)
