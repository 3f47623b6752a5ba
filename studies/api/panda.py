"""Babysit one model for days: start a panda, train it, nudge its settings, go back, and read its journal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import Engine

from caviar.storage.events import record_event
from caviar.storage.nudges import NudgeRecord, add_nudge
from caviar.storage.pandas import go_back, read_life
from caviar.storage.states import EventKind
from caviar.studies.api.session import current_user, opened
from caviar.studies.lifecycle.manager import definition_of, free_dead_workers
from caviar.studies.panda.journal import read_journal
from caviar.studies.panda.records import Journal
from caviar.studies.panda.settings import NUDGEABLE, check_names, next_settings
from caviar.studies.space.base import Value


@dataclass(frozen=True)
class BackResult:
    """The outcome of `back`.

    Attributes:
        journal: the panda's journal.
        day: the day that the next one builds on.
        dropped: nudges that had not taken effect, and never will.
    """

    journal: Journal
    day: int
    dropped: tuple[NudgeRecord, ...]


def nudge(
    name: str, settings: Mapping[str, Value], *, why: str | None = None, database: str | Engine | None = None
) -> Journal:
    """Change a panda's settings, from any machine, while it is trained too: they take effect after the current epoch.

    A learning rate that is set by hand holds from then on, and its decay is counted from there.

    Args:
        name: the panda's name.
        settings: new values of learning_rate, momentum, batch_size, decay, dropout, weight_decay, beta1, beta2 or
            epsilon; other settings would need another network or optimizer.
        why: the reason, for the journal.
        database: an address or an engine; see `connect`.

    Returns:
        The journal; its `trains` names the process that trains the panda now, if any does.

    Raises:
        StudyNotFound: the database has no such panda.
        UnknownDay: it is a study, not a panda.
        OptionError: a setting cannot be changed while a model is trained, or is out of its range.
        DefinitionError: the model refuses a value, or a setting has no effect.

    Examples:
        >>> caviar.panda.nudge("baby", {"learning_rate": 0.01}, why="the loss is noisy")
    """
    from caviar.studies.panda.checks import check_settings  # which loads PyTorch

    with opened(name, database) as (engine, record):
        now = next_settings(read_life(engine, record))
        given = check_names(settings, NUDGEABLE)
        check_settings(definition_of(record), {**now.settings, **given}, given)
        add_nudge(engine, record.study_id, given, why, current_user())
        return read_journal(engine, record)


def back(name: str, to: int | None = None, *, database: str | Engine | None = None) -> BackResult:
    """Go back to the end of an earlier day, on which the next day builds; the branch that is left stays in the journal.

    Args:
        name: the panda's name.
        to: the number of a day whose state is kept; None for the day before the last one.
        database: an address or an engine; see `connect`.

    Raises:
        StudyNotFound: the database has no such panda.
        PandaBusy: a process trains it now.
        UnknownDay: it is no panda, there is no such day, or its state is not kept.

    Examples:
        >>> caviar.panda.back("baby", to=2).journal.head
        2
    """
    with opened(name, database) as (engine, record):
        free_dead_workers(engine, record)
        life = read_life(engine, record)
        day = to if to is not None else life.days[life.panda.head].parent or 0
        dropped = go_back(engine, record, day, current_user())
        return BackResult(read_journal(engine, record), day, tuple(dropped))


def note(name: str, text: str, *, database: str | Engine | None = None) -> Journal:
    """Add a remark to the last day of a panda's journal, and return the journal.

    Args:
        name: the panda's name.
        text: the remark.
        database: an address or an engine; see `connect`.

    Raises:
        StudyNotFound: the database has no such panda.
        UnknownDay: it is a study, not a panda.

    Examples:
        >>> caviar.panda.note("baby", "dropout next, if it still overfits")
    """
    with opened(name, database) as (engine, record):
        head = read_life(engine, record).panda.head
        record_event(engine, record.study_id, EventKind.NOTE, slot=head, text=text, by=current_user())
        return read_journal(engine, record)


def log(name: str, *, database: str | Engine | None = None) -> Journal:
    """Return a panda's journal: its days with their curves, what was changed and why, and what to do next.

    Args:
        name: the panda's name.
        database: an address or an engine; see `connect`.

    Raises:
        StudyNotFound: the database has no such panda.
        UnknownDay: it is a study, not a panda.

    Examples:
        >>> journal = caviar.panda.log("baby")
        >>> journal.last_day.verdict.word, journal.advice.why
    """
    with opened(name, database) as (engine, record):
        return read_journal(engine, record)
