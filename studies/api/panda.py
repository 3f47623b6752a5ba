"""Babysit one model for days: start a panda, train it, nudge its settings, go back, and read its journal.

    >>> caviar.panda.start("baby", study="mnist", day="5epochs")
    >>> caviar.panda.train("baby", days=3).journal.advice
    >>> caviar.panda.nudge("baby", {"learning_rate": 0.01}, why="the loss is noisy")

Every function but `start` raises StudyNotFound where the database has no such panda, and UnknownDay where the name is a
study's. `study` is the file or module of a model of your own, if it cannot be imported from the working directory.

What loads PyTorch is imported by the functions that train or check a model.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Unpack

from sqlalchemy import Engine

from caviar.epoch import Epoch
from caviar.limits import EPOCHS, TEXT, TRIALS
from caviar.storage.events import record_event
from caviar.storage.nudges import NudgeRecord, add_nudge
from caviar.storage.pandas import DayRecord, Life, go_back, read_life
from caviar.storage.states import EventKind, SlotState
from caviar.storage.who import current_user
from caviar.studies.api.panda_training import (
    Definition,
    Listener,
    Options,
    import_model,
    opened_panda,
    training_machine,
    training_panda,
)
from caviar.studies.dashboard.note import leave_note
from caviar.studies.definition import Study
from caviar.studies.errors import OptionError
from caviar.studies.lifecycle.loader import select_stored
from caviar.studies.lifecycle.manager import definition_of, free_dead_workers
from caviar.studies.lifecycle.provenance import provenance_of
from caviar.studies.panda.candidates import best_first, within_noise
from caviar.studies.panda.journal import read_journal
from caviar.studies.panda.length import parse_length
from caviar.studies.panda.records import DayEpoch, Journal, JournalDay
from caviar.studies.panda.settings import check_names, next_settings
from caviar.studies.panda.steps import panda_steps
from caviar.studies.space.base import Value
from caviar.studies.workers.local.events import Listener as RunListener
from caviar.studies.workers.local.events import ignore
from caviar.studies.workers.local.patience import reported_outage
from caviar.text import flaw

if TYPE_CHECKING:
    from caviar.studies.workers.context import WorkerContext


@dataclass(frozen=True)
class Trained:
    """A panda as `start` or `train` left it.

    Attributes:
        is_done: False if this process or the panda was asked to stop before the end; the next `train` continues.
        was_asked_to_stop: whether SIGTERM, SIGUSR1 or SIGUSR2 is why.
    """

    journal: Journal
    is_done: bool
    was_asked_to_stop: bool = False


@dataclass(frozen=True)
class Tried(Trained):
    """A panda as `try_` left it.

    Attributes:
        candidates: the candidates that were trained, the best one first; empty if they were left.
        picked: the candidate that the next day builds on; None if none was picked.
        warning: why the best candidate may not be better; None if it is.
    """

    candidates: tuple[JournalDay, ...] = ()
    picked: int | None = None
    warning: str | None = None


@dataclass(frozen=True)
class WentBack:
    """The outcome of `back`: the day that the next one builds on, and the nudges that never took effect."""

    journal: Journal
    day: int
    dropped: tuple[NudgeRecord, ...]


def start(
    name: str,
    *,
    study: Definition = None,
    origin: str | None = None,
    settings: Mapping[str, Value] | None = None,
    day: str = "1epoch",
    keep: str = "branch",
    accept: bool = False,
    on_event: RunListener = ignore,
    **options: Unpack[Options],
) -> Trained:
    """Begin one model, from a study's defaults or from a trial's weights, and measure it before its first day.

    Args:
        study: the definition that gives the model, the data, the defaults and the ranges, as for `caviar.run`.
        origin: instead of `study`, the trial whose weights it begins with: `STUDY:TRIAL` or `STUDY:best`.
        settings: values instead of the defaults.
        day: the length of a day: epochs, such as `5epochs`, or a time, such as `8h` or `30m`.
        keep: the days whose states are kept: `branch`, the current one and the best of each other; or `all`.
        accept: train with the code that is here, though the study in the database was trained with other code.

    Raises:
        OptionError: the name is taken, or an option or a setting is not valid.
        UnknownStudy, StudyNotFound: there is no such study.
        DefinitionError: the model cannot be trained with these settings.
        MachineMismatch: the code here is not that of the study in the database, and is not accepted: none of it was
            run.
        DataUnavailable: the data are not here, and cannot be downloaded.
        KeyboardInterrupt: Ctrl-C ended it; `train` measures it then.

    Examples:
        >>> caviar.panda.start("baby", study="mnist", settings={"learning_rate": 0.03}, day="5epochs")
        >>> caviar.panda.start("grown", origin="mnist:best", day="8h")
    """
    from caviar.studies.panda.birth import begin, find_ancestor, panda_definition
    from caviar.studies.panda.train import panda_worker, train
    from caviar.studies.workers.local.preparation import check_and_fetch, check_stored

    if (study is None) == (origin is None):
        raise OptionError("give either --study STUDY, to begin anew, or --from STUDY:TRIAL, to go on with its weights")
    if keep not in ("branch", "all"):
        raise OptionError(f"--keep {keep}: give branch or all")
    length = parse_length(day)
    with training_machine(name, **options) as (engine, worker, stop):
        outage = reported_outage(worker.settings, worker.patience, lambda: stop.asked, on_event)
        ancestor = outage.insist(lambda: find_ancestor(engine, origin)) if origin is not None else None
        stored = None
        if ancestor is not None:
            definition, stored = ancestor.study, ancestor.record
        elif isinstance(study, Study):
            definition = study
        else:
            definition, stored = outage.insist(lambda: select_stored(engine, str(study)))
        own = panda_definition(definition, name)
        if stored is None:
            check_and_fetch(own, worker.data_dir, on_event)
        else:
            check_stored(stored, own, worker.data_dir, accept=accept, on_event=on_event)
        here = provenance_of(definition, worker.data_dir)
        record = outage.insist(
            lambda: begin(
                engine, definition, name, settings or {}, here, length, keep_all=keep == "all", ancestor=ancestor
            )
        )
        journal = outage.insist(lambda: read_journal(engine, record))
        leave_note(engine, record, steps=panda_steps(journal))
        with panda_worker(engine, record, worker, stop) as context:
            train(context)  # its birth, which is open already
            return _trained(context, is_done=not stop.asked)


def train(
    name: str,
    days: int = 1,
    *,
    study: Definition = None,
    allow_mismatch: bool = False,
    on_event: Listener = ignore,
    **options: Unpack[Options],
) -> Trained:
    """Train a panda on from its last day, on this machine's GPU or one of its cores, in this process.

    A day that was left unfinished goes on first. One process at a time trains a panda.

    Args:
        allow_mismatch: train with other code, data or clock than the panda was begun with; its history records that.
        on_event: called with each event, such as `DayEpoch`.

    Raises:
        PandaBusy: another process trains it now.
        UnknownDay: nothing can build on its last day.
        MachineMismatch: this machine would train something else, and that is not allowed.
        WorkersFailed: the model or its training raised.
        DatabaseAway: the database was away for longer than the patience; the epochs are kept on this machine.
        KeyboardInterrupt: Ctrl-C ended it after the epoch; the next `train` continues.

    Examples:
        >>> caviar.panda.train("baby", days=3).journal.last_day.verdict.word
    """
    from caviar.studies.panda.planning import next_day
    from caviar.studies.panda.train import train_days

    _check_count("days", days, TRIALS)

    def check(life: Life, study: Study) -> None:
        if all(day.state != SlotState.OPEN for day in life.days):
            next_day(life, study)

    with training_panda(name, study, allow_mismatch, on_event, check, **options) as context:
        return _trained(context, is_done=train_days(context, days, _on_epoch(on_event)))


def try_(
    name: str,
    candidates: Sequence[Mapping[str, Value]],
    *,
    epochs: int = 2,
    pick: bool = False,
    study: Definition = None,
    allow_mismatch: bool = False,
    on_event: Listener = ignore,
    **options: Unpack[Options],
) -> Tried:
    """Train candidates for a panda's next day for a few epochs, all from where it is, as one program if that is faster.

    Nothing else of the panda changes, unless the best one is picked. Other arguments and errors are those of `train`.

    Args:
        candidates: the settings that each candidate changes; one that changes nothing is added.
        pick: let the next day build on the best candidate.

    Raises:
        OptionError, DefinitionError: a candidate cannot be trained.

    Examples:
        >>> caviar.panda.try_("baby", [{"learning_rate": 0.01}, {"learning_rate": 0.03}]).candidates[0].settings
    """
    from caviar.studies.panda.planning import candidate_days
    from caviar.studies.panda.train import train

    _check_count("epochs", epochs, EPOCHS)
    planned = partial(candidate_days, candidates=[{}, *candidates], epochs=epochs)
    cohort = 1 + len(candidates)
    with training_panda(name, study, allow_mismatch, on_event, planned, cohort=cohort, **options) as context:
        engine, record = context.engine, context.record
        plan = partial(planned, study=context.study)
        days = train(context, plan, _on_epoch(on_event), finish_first=False)
        left = _trained(context, is_done=all(day.state != SlotState.OPEN for day in days))
        if not left.is_done:
            return Tried(**vars(left))
        ranked = tuple(best_first(left.journal, [day.number for day in days]))
        picked = ranked[0].day if pick and ranked[0].saved else None
        if picked is not None:
            context.outage.insist(lambda: go_back(engine, record, picked, current_user(), pick=True))
        journal = context.outage.insist(lambda: read_journal(engine, record))
        return Tried(journal, True, False, ranked, picked, within_noise(ranked))


def nudge(
    name: str,
    settings: Mapping[str, Value],
    *,
    why: str | None = None,
    study: Definition = None,
    database: str | Engine | None = None,
) -> Journal:
    """Change a panda's settings, from any machine, while it is trained too: they take effect after the current epoch.

    A learning rate that is set by hand holds from then on, and its decay is counted from there.

    Args:
        settings: new values of learning_rate, momentum, batch_size, decay, dropout, weight_decay, beta1, beta2 or
            epsilon; other settings would need another network or optimizer. For a `train=` study, of any of its
            hyperparameters: `trial["lr"]` gives the new value from the next epoch on.
        why: the reason, for the journal.

    Returns:
        The journal; its `trains` names the process that trains the panda now, if any does.

    Raises:
        OptionError: a setting cannot be changed while a model is trained, or is out of its range.
        DefinitionError: the model refuses a value, or a setting has no effect.

    Examples:
        >>> caviar.panda.nudge("baby", {"learning_rate": 0.01}, why="the loss is noisy")
    """
    from caviar.studies.panda.planning import check_settings

    _check_text("--why", why or "")
    import_model(study)
    with opened_panda(name, database) as (engine, record):
        now = next_settings(read_life(engine, record))
        definition = definition_of(record)
        given = check_names(definition, settings)
        check_settings(definition, {**now.settings, **given}, given)
        add_nudge(engine, record.study_id, given, why, current_user())
        return read_journal(engine, record)


def back(name: str, to: int | None = None, *, database: str | Engine | None = None) -> WentBack:
    """Go back to the end of an earlier day, on which the next day builds; the branch that is left stays in the journal.

    Args:
        to: the number of a day whose state is kept; None for the day before the last one.

    Raises:
        PandaBusy: a process trains it now.
        UnknownDay: there is no such day, or its state is not kept.

    Examples:
        >>> caviar.panda.back("baby", to=2).journal.head
        2
    """
    with opened_panda(name, database) as (engine, record):
        free_dead_workers(engine, record)
        life = read_life(engine, record)
        day = to if to is not None else life.days[life.panda.head].parent or 0
        dropped = go_back(engine, record, day, current_user())
        return WentBack(read_journal(engine, record), day, tuple(dropped))


def note(name: str, text: str, *, database: str | Engine | None = None) -> Journal:
    """Add a remark to the last day of a panda's journal, and return the journal.

    Examples:
        >>> caviar.panda.note("baby", "dropout next, if it still overfits")
    """
    _check_text("the remark", text)
    with opened_panda(name, database) as (engine, record):
        head = read_life(engine, record).panda.head
        record_event(engine, record.study_id, EventKind.NOTE, slot=head, text=text, by=current_user())
        return read_journal(engine, record)


def log(name: str, *, database: str | Engine | None = None) -> Journal:
    """Return a panda's journal: its days with their curves, what was changed and why, and what to do next.

    Examples:
        >>> journal = caviar.panda.log("baby")
        >>> journal.last_day.verdict.word, journal.advice.why
    """
    with opened_panda(name, database) as (engine, record):
        return read_journal(engine, record)


def _check_text(what: str, text: str) -> None:
    if why := flaw(text, TEXT, allowed="\n\t"):
        raise OptionError(f"{what} {why}; give up to {TEXT:,} characters of plain text")


def _check_count(what: str, count: int, most: int) -> None:
    if not 1 <= count <= most:
        raise OptionError(f"{count} {what}: give 1 to {most:,}")


def _on_epoch(on_event: Listener) -> Callable[[DayRecord, Epoch], None]:
    return lambda day, epoch: on_event(DayEpoch(day.number, day.is_look, epoch))


def _trained(context: WorkerContext, *, is_done: bool) -> Trained:
    """Return a panda as this process leaves it.

    Raises:
        KeyboardInterrupt: Ctrl-C is why it leaves.
    """
    if context.stop.interrupted and not is_done:
        raise KeyboardInterrupt
    journal = context.outage.insist(lambda: read_journal(context.engine, context.record))
    leave_note(context.engine, context.record, steps=panda_steps(journal))
    return Trained(journal, is_done, context.stop.asked and not is_done)
