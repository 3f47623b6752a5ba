"""What a page can change in a study: each an action with a form, which calls one function of the library.

The library lies above these pages, and hands its functions to them by name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from caviar.studies.errors import OptionError
from caviar.studies.results.formatting import number
from caviar.studies.space.words import parse_settings
from caviar.text import quoted, whole_number

Functions = Mapping[str, Callable[..., Any]]  # of the library, by the name of the action
Given = Mapping[str, str]  # the fields of a form, by name


@dataclass(frozen=True)
class Field:
    """A text that a person enters; `inputmode` is the keyboard that a phone shows."""

    name: str
    label: str
    example: str
    required: bool = True
    inputmode: str = "text"


@dataclass(frozen=True)
class Action:
    """A change of a study.

    Attributes:
        button: what the form's button says.
        arguments: makes the arguments of the function, behind the study's name, from the form.
        outcome: says in a sentence what came of it, from the study's name and what the function returned.
    """

    name: str
    button: str
    arguments: Callable[[Given], Mapping[str, Any]]
    outcome: Callable[[str, Any], str]
    fields: tuple[Field, ...] = ()
    confirm: str = ""

    def do(self, functions: Functions, study: str, given: Given) -> str:
        """Change a study as a form asks, and return what came of it.

        Raises:
            CaviarError: what is given is not allowed, or the study cannot be changed so; the message says why.
        """
        for field in self.fields:
            if field.required and not given.get(field.name, "").strip():
                raise OptionError(f"{field.label}: nothing is given; such as {field.example}")
        return self.outcome(study, functions[self.name](study, **self.arguments(given)))


def _nothing(given: Given) -> Mapping[str, Any]:  # noqa: ARG001
    return {}


def _number(given: Given, name: str) -> int:
    value = whole_number(given.get(name, "").strip())
    if value is None:
        raise OptionError(f"{name} {quoted(given.get(name, ''))}: give a whole number")
    return value


def _changed(state: str, then: str) -> Callable[[str, Any], str]:
    def outcome(study: str, change: Any) -> str:
        if change.done:
            return f"{study} is done; nothing was changed"
        if not change.changed:
            return f"{study} is {state} already"
        back = f"; {change.leased} trial(s) are given back after their epoch" if change.leased and then else ""
        return f"{study} is {state}{back}"

    return outcome


def _settings(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {number(value)}" for name, value in values.items())


def _enqueued(study: str, place: Any) -> str:
    after = f", after {place.ahead} that wait already" if place.ahead else ""
    return f"the next trial of {study} that begins{after} has {_settings(place.values)}"


_OF_BOTH = (
    Action("pause", "pause", _nothing, _changed("paused", "after")),
    Action("resume", "resume", _nothing, _changed("active", "")),
    Action("stop", "stop", _nothing, _changed("stopped", "after"),
           confirm="Stop? The workers of all machines exit after their epoch."),
)  # fmt: skip

OF_A_SEARCH = (
    Action(
        "enqueue", "try next", lambda given: {"values": parse_settings(given["values"].split())}, _enqueued,
        (Field("values", "Values to try next", "learning_rate=0.03 layers=3"),),
    ),
    Action(
        "extend", "extend", lambda given: {"budget": _number(given, "budget")},
        lambda study, now: f"{study} has {now.budget} trials now, of which {now.done} are done",
        (Field("budget", "Trials in all", "80", inputmode="numeric"),),
    ),
)  # fmt: skip

OF_A_PANDA = (
    Action(
        "nudge", "nudge",
        lambda given: {
            "settings": parse_settings(given["settings"].split()), "why": given.get("why", "").strip() or None
        },
        lambda study, journal: f"{study} takes it {'after its epoch' if journal.trains else 'when it goes on'}",
        (
            Field("settings", "Settings from the next epoch on", "learning_rate=0.01"),
            Field("why", "Why, for the journal", "the loss is noisy", required=False),
        ),
    ),
    Action(
        "note", "note", lambda given: {"text": given["text"].strip()},
        lambda study, journal: f"noted on day {journal.head} of {study}",
        (Field("text", "A remark on the last day", "dropout next, if it still overfits"),),
    ),
    Action(
        "back", "go back", lambda given: {"to": _number(given, "to")},
        lambda study, went: f"the next day of {study} builds on day {went.day}",
        (Field("to", "The day to go back to", "2", inputmode="numeric"),),
        confirm="Go back? The branch that is left stays in the journal.",
    ),
)  # fmt: skip

_KILL = Action(
    "kill", "end", lambda given: {"trial": _number(given, "trial")},
    lambda study, ended: f"the trial of {study} has ended" if ended else f"the trial of {study} ends after its epoch",
)  # fmt: skip

ACTIONS: Mapping[str, Action] = {action.name: action for action in (*_OF_BOTH, *OF_A_SEARCH, *OF_A_PANDA, _KILL)}
